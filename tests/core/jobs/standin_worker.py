"""A worker that trains nothing: it counts steps, saves like a real one, and does to itself what a test asks for.

Driven by the environment: STANDIN_STEP_S seconds a step, STANDIN_SAVE_EVERY steps, STANDIN_IGNORE_TERM,
STANDIN_CHILDREN data workers, STANDIN_DIE=exit3|segv|raise|silent at step 2, STANDIN_LOG a file to which starts and
ends are appended, STANDIN_HURRY a file: once it is there, the next step is the last.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from core import atomic
from core.jobs import worker
from core.runs.listing import list_checkpoints
from core.runs.run import RunState

STEP_S = float(os.environ.get("STANDIN_STEP_S", "0.02"))
SAVE_EVERY = int(os.environ.get("STANDIN_SAVE_EVERY", "5"))
HURRY = Path(os.environ.get("STANDIN_HURRY", "/nowhere"))


def note(word, run):
    path = os.environ.get("STANDIN_LOG")
    if path:
        facts = {
            "run": run.id,
            "word": word,
            "at": time.time(),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "pid": os.getpid(),
            "attempt": os.environ.get("LAB_ATTEMPT"),
        }
        atomic.append_line(Path(path), json.dumps(facts))


def save(run, step):
    data = b"weights of step %d" % step
    files = {"unet/model.safetensors": data, "state.json": json.dumps({"step": step}).encode()}
    manifest = {
        "step": step,
        "files": {
            name: {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()} for name, body in files.items()
        },
    }
    atomic.make_folder(run.checkpoints_dir)
    target = run.checkpoints_dir / f"step-{step:08d}"
    if not target.exists():
        atomic.write_folder(target, {**files, "manifest.json": json.dumps(manifest).encode()})


def train(run, *, data_dir, cache_dir, store_root, should_stop):
    note("start", run)
    total = run.train_settings.steps
    for _ in range(int(os.environ.get("STANDIN_CHILDREN", "0"))):
        subprocess.Popen(
            [sys.executable, "-c", "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
        )
    if os.environ.get("STANDIN_IGNORE_TERM"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    found = list_checkpoints(run)
    step = found[-1].step if found else 0
    run.write_status(replace(run.status(), state=RunState.RUNNING, step=step, stage="training"))
    while step < total:
        time.sleep(STEP_S)
        step = total if HURRY.exists() else step + 1
        if step == 2 and (how := os.environ.get("STANDIN_DIE")):
            if how == "raise":
                raise RuntimeError("something unexpected")
            if how == "segv":
                os.kill(os.getpid(), signal.SIGSEGV)
            os._exit({"exit3": 3, "silent": 0}[how])
        if step % SAVE_EVERY == 0 or step == total:
            save(run, step)
        run.write_status(
            replace(run.status(), state=RunState.RUNNING, step=step, steps_total=total, elapsed_s=step * STEP_S)
        )
        if not os.environ.get("STANDIN_IGNORE_TERM") and should_stop():
            save(run, step)
            return SimpleNamespace(state=RunState.STOPPED, step=step, reason="", peak=None)
    note("end", run)
    return SimpleNamespace(state=RunState.FINISHED, step=step, reason="", peak=None)


def main(argv=None):
    return worker.main(argv, trainers={"vae": train, "unet": train})


if __name__ == "__main__":
    sys.exit(main())
