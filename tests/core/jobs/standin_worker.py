"""The real worker with a stand-in for training, so that tests of processes take milliseconds, not minutes.

The run's name says what it does: 'fail', 'full', 'crash', 'deaf' (ignores every request to stop), else it counts.
"""

import errno
import os
import signal
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

from core import atomic
from core.errors import NonFiniteError
from core.jobs.worker import main
from core.runs.run import RunState


def train(run, *, data_dir, cache_dir, store_root, should_stop, on_step=None):
    """Count to the number of steps, 20 ms each, a checkpoint a step."""
    name, total = run.info.name, run.train_settings.steps
    if "fail" in name:
        raise NonFiniteError("the loss was not finite", "lower the learning rate")
    if "full" in name:
        raise OSError(errno.ENOSPC, "No space left on device")
    if "crash" in name:
        raise ZeroDivisionError("a mistake in the code")
    if "deaf" in name:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        should_stop = bool
    print("hello from training", run.id)
    print("GPUs to use:", os.environ.get("CUDA_VISIBLE_DEVICES"))
    atomic.append_line(store_root / "spans.txt", f"{run.id} {time.monotonic()}")
    done = run.status().step
    try:
        for step in range(done + 1, total + 1):
            time.sleep(0.02)
            folder = run.checkpoints_dir / f"step-{step:08d}"
            folder.mkdir(parents=True, exist_ok=True)
            atomic.write_json(folder / "manifest.json", {"step": step, "files": {}})
            run.write_status(replace(run.status(), state=RunState.RUNNING, step=step, stage="training"))
            if should_stop():
                return SimpleNamespace(state=RunState.STOPPED, step=step, reason="stopped")
    finally:
        atomic.append_line(store_root / "spans.txt", f"{run.id} {time.monotonic()}")
    return SimpleNamespace(state=RunState.FINISHED, step=total, reason="")


if __name__ == "__main__":
    sys.exit(main(trainers={"vae": train, "unet": train}))
