"""Kill anything of the lab at any moment, and see that nothing is lost, doubled or left behind.

`python -m benchmarks.kills [--kills 200] [--real]`
Each round kills one or two of: supervisor, shim, worker (all of its group), server and the process that computes for
it, with SIGKILL, while runs train. Then the lab is looked at as a page does, and has to be whole again: one supervisor,
one shim and one worker per live run, a server with one process that computes. At the end every run is finished, each
has ended once, its checkpoints only grew, and no process of the lab is left. The training is the stand-in of the tests,
which counts steps and saves as a real one does; --real trains a small VAE instead.
Results: benchmarks/results/kills-<date>.json.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import keep
from benchmarks.server import Server
from core.config.load import settings_from
from core.jobs.engines.choose import observed_status
from core.jobs.engines.local import LocalEngine
from core.jobs.queue import JobState
from core.jobs.serving import facts_of, is_served
from core.jobs.start_supervisor import start_supervisor
from core.machine import attempts
from core.machine.processes import is_alive
from core.runs.listing import list_checkpoints
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.endings import end_lab, shim_pids

STANDIN = Path(__file__).resolve().parents[1] / "tests" / "core" / "jobs" / "standin_worker.py"
VICTIMS = ("supervisor", "shim", "worker", "compute", "server")
LIVE, PATIENCE_S = 2, 180.0
Pids = list[int]


def environment_of(pid: int) -> dict[str, str]:
    """What a process has in its environment; nothing for one that is gone."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def processes() -> Pids:
    """Everybody who lives; zombies are dead."""
    found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in found if attempts.living_stat(pid) is not None]


class Lab:
    """A runs folder with LIVE runs that train, and on demand a server. steps: of each run."""

    def __init__(self, folder: Path, *, steps: int, real: bool = False, serves: bool = True) -> None:
        self.store, self.steps, self.real = RunStore(folder / "runs"), steps, real
        os.environ |= {
            "LAB_RUNS": str(self.store.root),
            "LAB_DATA": str(folder / "data"),
            "LAB_CACHE": str(folder / "cache"),
            "STANDIN_LOG": str(folder / "standin.jsonl"),
            "STANDIN_STEP_S": "0.05",
        }
        self.log = folder / "standin.jsonl"
        self.worker = None if real else [sys.executable, str(STANDIN)]
        self.engine = LocalEngine(self.store, self.worker)
        self.queue = self.engine.queue
        self.server = Server(folder, dict(os.environ)) if serves else None
        self.newest: dict[str, int] = {}
        self.runs: list[Run] = []

    def submit(self) -> None:
        """As many runs as shall live at a time."""
        for _ in range(LIVE - sum(not self.is_over(run) for run in self.runs)):
            small = {"name": "digits", "image_size": 16}
            train = {"steps": self.steps, "batch_size": 8}
            machine = {"device": "cpu", "stop_grace_s": 5.0, "num_threads": 1}
            sections = {"data": small, "train_vae": train, "machine": machine, "logging": {"save_every_steps": 5}}
            values: dict[str, Any] = {**sections, "vae": {"block_out_channels": [8, 16]}}
            self.runs.append(self.store.create("vae", settings_from(values), owner="ana"))
            self.engine.submit([self.runs[-1]])

    def is_over(self, run: Run) -> bool:
        """True when the queue has let go of it."""
        job = self.queue.job(run.id)
        return job is not None and job.state is JobState.ENDED

    def live(self) -> list[Run]:
        """Runs that train now, by the queue."""
        return [self.store.get(job.run_id) for job in self.queue.jobs(JobState.LIVE)]

    def workers(self, run: Run) -> Pids:
        """Processes of the run, whichever attempt they belong to."""
        return [pid for pid in processes() if attempts.run_of(pid) == run.id]

    def computing(self) -> Pids:
        """Processes that compute for a server of this runs folder."""
        found = ((pid, environment_of(pid)) for pid in processes())
        return [
            pid
            for pid, has in found
            if attempts.COMPUTE_VARIABLE in has and has.get("LAB_RUNS") == str(self.store.root)
        ]

    def pids_of(self, victim: str) -> Pids:
        """Who is to be killed by that name; a worker takes its whole group along."""
        if victim == "supervisor":
            process = facts_of(self.queue.folder).process
            return [process.pid] if process and is_alive(process) else []
        if victim == "server":
            return [self.server.process.pid] if self.server and self.server.is_alive() else []
        if victim == "compute":
            return self.computing()
        of = shim_pids if victim == "shim" else lambda folder: self.workers(Run(folder))
        return [pid for run in self.live() for pid in of(run.folder)][:1]

    def kill(self, victims: Sequence[str]) -> int:
        """SIGKILL to all of them at once; how many processes there were."""
        pids = [(victim, pid) for victim in victims for pid in self.pids_of(victim)]
        for victim, pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if victim == "worker" else os.kill)(pid, signal.SIGKILL)
        if "server" in victims and self.server:
            self.server.kill()  # which also reaps it
        while any(attempts.living_stat(pid) is not None for _, pid in pids):
            time.sleep(0.005)
        return len(pids)

    def look(self) -> None:
        """What any page does: have a supervisor."""
        start_supervisor(self.store, self.worker)

    def problems(self) -> list[str]:
        """What is not as it should be right now; more than one of anything is never right."""
        found = [] if is_served(self.queue.folder) else ["nobody serves the queue"]
        for run in self.live():
            counts = {"shims": len(shim_pids(run.folder)), "workers": len(self.workers(run))}
            found += [f"{run.id} has {count} {what}" for what, count in counts.items() if count != 1]
        if len(self.live()) == 0:
            found.append("nothing trains")
        if self.server and (not self.server.is_alive() or len(self.computing()) > 1):
            found.append(f"server {self.server.is_alive()}, {len(self.computing())} computing")
        if self.server is None and self.computing():
            found.append("a process computes for nobody")
        return found

    def is_whole(self) -> bool:
        """No problem, and every live run has come further than at the last kill. One that has ended is replaced."""
        self.submit()
        steps = {run.id: run.status().step for run in self.live()}
        return not self.problems() and all(step > self.newest.get(run, 0) for run, step in steps.items())

    def lost(self) -> list[str]:
        """Runs whose newest checkpoint is older than one that was seen before."""
        bad = []
        for run in self.runs:
            kept = max((found.step for found in list_checkpoints(run)), default=0)
            if kept < self.newest.get(f"kept {run.id}", 0):
                bad.append(f"{run.id} lost a checkpoint: {kept}")
            self.newest[f"kept {run.id}"] = kept
            self.newest[run.id] = run.status().step
        return bad

    def marks(self) -> list[dict[str, Any]]:
        """What the stand-in has noted: starts and ends."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@contextlib.contextmanager
def opened(folder: Path, **options: Any) -> Iterator[Lab]:
    """A lab that is ended with all its processes, and this process's environment as it was."""
    before = dict(os.environ)
    lab = Lab(folder, **options)
    try:
        yield lab
    finally:
        if lab.server:
            lab.server.kill()
        end_lab(lab.store)
        os.environ.clear()
        os.environ |= before


def wait(condition: Callable[[], bool], lab: Lab, patience_s: float = PATIENCE_S) -> float:
    """Seconds until it holds. Raises RuntimeError, with what is wrong, when it takes too long."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > patience_s:
            states = {run.id: str(observed_status(run).state) for run in lab.runs}
            raise RuntimeError(f"not whole again: {lab.problems()} {states} {lab.queue.jobs()}")
        lab.look()
        time.sleep(0.05)
    return time.monotonic() - started


def rounds(victims: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Each alone, then every pair, again and again."""
    return itertools.cycle([*((victim,) for victim in victims), *itertools.combinations(victims, 2)])


def measure(lab: Lab, kills: int, victims: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Kill that many processes, let everything finish, and say what was seen. Raises RuntimeError for what was not."""
    chance, done, healed, wrong = random.Random(seed), Counter[str](), list[float](), list[str]()
    each = rounds(victims)
    while sum(done.values()) < kills:
        lab.submit()
        if lab.server and not lab.server.is_alive():
            lab.server.start()
        wait(lab.is_whole, lab)
        wrong += lab.lost()
        time.sleep(chance.uniform(0.0, 0.3))
        for victim in (names := next(each)):
            done[victim] += lab.kill([victim]) if len(names) == 1 else 0
        if len(names) > 1:
            count = lab.kill(names)
            done[" and ".join(names)] += count
        if lab.server and not lab.server.is_alive():  # what computed for it has to go with it
            wait(lambda: not lab.computing(), lab)
            lab.server.start()
        healed.append(wait(lab.is_whole, lab))
        print(f"\r{sum(done.values())} killed, whole again after {healed[-1]:.1f} s  ", end="", flush=True)
    print()
    wait(lambda: all(lab.is_over(run) for run in lab.runs), lab)
    wrong += lab.lost()
    ends = Counter(mark["run"] for mark in lab.marks() if mark["word"] == "end")
    wrong += [f"{run.id} is {run.status()}" for run in lab.runs if run.status().state is not RunState.FINISHED]
    odd = [run for run in lab.runs if not 1 <= ends[run.id] <= 1 + returns(run)]
    wrong += [] if lab.real else [f"{run.id} ended {ends[run.id]} times" for run in odd]
    if lab.server:
        lab.server.kill()
        wait(lambda: not lab.computing(), lab)
    orphans = [pid for run in lab.runs for pid in [*lab.workers(run), *shim_pids(run.folder)]]
    wrong += [f"process {pid} is left" for pid in orphans]
    return {
        "killed": dict(done),
        "kills": sum(done.values()),
        "runs": len(lab.runs),
        "whole_again_s": {"median": round(sorted(healed)[len(healed) // 2], 2), "worst": round(max(healed), 2)},
        "wrong": wrong,
    }


def returns(run: Run) -> int:
    """How often it came back by itself: killed after it had noted its end, it notes that again."""
    return [event["event"] for event in run.events()].count("queued")


def main() -> int:
    """Measure and keep. Returns 1 when anything was lost, doubled or left behind."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--steps", type=int, default=400, help="of each run")
    parser.add_argument("--real", action="store_true", help="train a small VAE instead of the stand-in")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as name,
        opened(Path(name), steps=options.steps, real=options.real) as lab,
    ):
        result = measure(lab, options.kills, VICTIMS)
    keep("kills", result, "-real" if options.real else "")
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
