"""Real trainings that make room for others, and whether they end as if nobody had come.

`python -m benchmarks.interruptions [--rounds 20] [--steps 400]`. One small VAE is trained alone, and then once per
round: at a step drawn by chance, another person queues a short run, for which the training is saved and queued again by
the supervisor of one CPU slot, in this process. It continues by itself. Weights, their average and the optimizer's
state of its last checkpoint have to equal those of the training alone, bit for bit. One rule is switched off, that a
run in its last minute stays: these trainings take seconds.
Results: benchmarks/results/interruptions-<date>.json.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import keep
from core.config.load import load_config
from core.jobs import preemption
from core.jobs.engines.local import LocalEngine
from core.jobs.making_room import INTERRUPTED
from core.jobs.queue import JobState
from core.runs.listing import list_checkpoints
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.endings import end_lab
from tests.models import TINY
from tests.supervisor_thread import SupervisorThread

SITE = "site:\n  preemptible: true\n  preempt_every_minutes: 0.1\n"
PATIENCE_S = 600.0


class Machine:
    """A lab with one CPU slot and a supervisor of its own. worker: another command line of the training, for tests."""

    def __init__(self, folder: Path, worker: Sequence[str] | None = None) -> None:
        (folder / "config.yaml").write_text(SITE)
        os.environ |= {
            "LAB_HOME": str(folder),
            "LAB_RUNS": str(folder / "runs"),
            "LAB_DATA": str(folder / "data"),
            "LAB_CACHE": str(folder / "cache"),
        }
        self.store = RunStore(folder / "runs")
        self.engine = LocalEngine(self.store, worker)
        self.supervisor = SupervisorThread(self.store, worker or [])

    def queue(self, owner: str, steps: int, **request: Any) -> Run:
        """Queue a small VAE's training."""
        run = self.store.create("vae", load_config(overrides={**TINY, "train_vae.steps": steps}), owner=owner)
        self.engine.submit([run], request=request)
        return run

    def wait(self, run: Run, step: int | None = None) -> None:
        """Until it has done so many steps, or is over."""
        deadline = time.monotonic() + PATIENCE_S
        while not (self.is_over(run) or (step is not None and run.status().step >= step)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{run.id}: {run.status()}")
            time.sleep(0.02)

    def is_over(self, run: Run) -> bool:
        """Whether the queue has let go of it."""
        job = self.engine.queue.job(run.id)
        return job is not None and job.state is JobState.ENDED


def result_of(run: Run) -> dict[str, str]:
    """A hash of each file of the last checkpoint: weights, their average, and the optimizer's state."""
    if run.status().state is not RunState.FINISHED:
        raise RuntimeError(f"{run.id} is {run.status()}")
    newest = list_checkpoints(run)[-1].path
    return {
        str(path.relative_to(newest)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(newest.rglob("*.safetensors"))
    }


def play(
    folder: Path, *, rounds: int, steps: int, seed: int = 0, worker: Sequence[str] | None = None
) -> dict[str, Any]:
    """The training alone, then the rounds; the figures."""
    chance, machine, usual = random.Random(seed), Machine(folder, worker), preemption.NEARLY_DONE_S
    preemption.NEARLY_DONE_S = float("-inf")
    try:
        alone = machine.queue("ana", steps, preemptible=False)
        machine.wait(alone)
        expected, found = result_of(alone), []
        for _ in range(rounds):
            at, began = chance.randrange(5, steps // 2), time.monotonic()
            long = machine.queue("ana", steps)
            machine.wait(long, at)
            short = machine.queue("ben", 3, time_limit_s=200.0)
            machine.wait(short)
            machine.wait(long)
            events = [event for event in long.events() if event["event"] in (INTERRUPTED, "resumed")]
            found.append(
                {
                    "asked_at_step": at,
                    "interruptions": sum(event["event"] == INTERRUPTED for event in events),
                    "resumed_from": [event["from_step"] for event in events if event["event"] == "resumed"],
                    "short_run": str(short.status().state),
                    "equal": result_of(long) == expected,
                    "files": len(expected),
                    "seconds": round(time.monotonic() - began, 1),
                }
            )
            print(found[-1], file=sys.stderr, flush=True)
        return {"steps": steps, "rounds": found, "equal": sum(each["equal"] for each in found)}
    finally:
        preemption.NEARLY_DONE_S = usual
        shims = machine.supervisor.close()
        end_lab(machine.store)
        for shim in shims:
            shim.wait()


def main() -> None:
    """Play, keep the figures; exit code 1 where one training ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="interruptions-") as folder:
        found = play(Path(folder), rounds=arguments.rounds, steps=arguments.steps)
    keep("interruptions", found)
    interrupted = all(each["interruptions"] for each in found["rounds"])
    sys.exit(0 if interrupted and found["equal"] == arguments.rounds else 1)


if __name__ == "__main__":
    main()
