"""What a job of Slurm runs: one attempt at a run, watched by the shim that watches it on one machine too.

`python -m core.jobs.engines.slurm_job SPEC`, by the script that `core.jobs.engines.slurm` submits. It claims the run,
so that no second job works on it, starts the worker, and decides at the end whether its job is queued again: ahead of
its time limit (SIGUSR1), after a death that a new attempt may survive, or held back where a person paused the run.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from core import atomic, reading
from core.errors import LabError
from core.jobs.engines.slurm import JobSpec, read_spec
from core.jobs.engines.slurm_commands import SlurmAway, SlurmRefused, call, read_jobs
from core.jobs.exit_reason import Ending, again, ending_of, settled, write_ending
from core.jobs.launch import surroundings, torchrun, worker_command
from core.jobs.orders import Orders
from core.jobs.request import JobRequest
from core.jobs.serving import FOLDER
from core.jobs.shim import Shim
from core.machine import attempts
from core.runs.listing import last_checkpoint_in_words, place_in_words
from core.runs.run import Run, RunState, now_iso

logger = logging.getLogger(__name__)

CLAIM = "claim.json"  # in the run folder, while a job works on the run: which one
FENCE_EVERY_S = 1.0
PATIENCE_S = 600.0  # for a controller that does not answer, before the job ends without it
ASK_EVERY_S = 5.0
PORT_BASE, PORTS = 20_000, 20_000


class JobShim(Shim):
    """A shim that also knows the signal ahead of the time limit, and ends when another job has taken its run over."""

    def __init__(self, folder: Path, attempt: int, *, grace_s: float, request: JobRequest) -> None:
        super().__init__(folder, attempt, grace_s=grace_s, limit_s=request.time_limit_s, requeues=request.requeue)
        self.is_near_limit = self.is_fenced = False
        self.looked_at = float("-inf")

    def on_limit(self, number: int, frame: FrameType | None = None) -> None:
        """Slurm says that the time is nearly over: the training saves and ends, as at a shutdown."""
        self.is_near_limit = True
        self._on_term(number, frame)

    def _reach_limit(self, *, is_alone: bool = True) -> None:
        super()._reach_limit(is_alone=is_alone)  # no locks under the runs folder

    def _look_for_requests(self) -> None:
        super()._look_for_requests()
        now = time.monotonic()
        if now - self.looked_at >= FENCE_EVERY_S:
            self.looked_at = now
            newest = attempts.current_attempt(self.folder)
            if newest not in (0, self.attempt):  # a node that Slurm gave up for lost came back
                self.is_fenced = True
                self.level, self.asked_at = 2, self.asked_at or now


def main(argv: Sequence[str] | None = None) -> int:
    """One attempt from its start to its end. Exit code 0 only for a finished run: jobs that depend on it start then."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    arguments = list(sys.argv[1:] if argv is None else argv)
    spec = read_spec(Path(arguments[0])) if len(arguments) == 1 else None
    if spec is None:
        logger.error("usage: python -m core.jobs.engines.slurm_job SPEC, a file that the lab wrote")
        return 2
    run = Run(Path(spec.run))
    if not (run.folder / "run.json").is_file():
        logger.error("the run %s is gone", run.id)
        return 1
    if not claim(run):
        return 1
    try:
        return attempt_at(run, spec)
    finally:
        with contextlib.suppress(OSError):
            if _claimed_by(run) == _identity():
                (run.folder / CLAIM).unlink()


def attempt_at(run: Run, spec: JobSpec) -> int:
    """Work on the run once."""
    last = attempts.current_attempt(run.folder)
    status = run.status()
    if status.state is RunState.FINISHED:
        return 0
    asked = attempts.stop_of(run.folder, last)
    if asked is not None and not asked.returns:  # its node failed before it could end as it was asked
        write_ending(run, replace(ending_of(run, last, words="its node failed"), may_return=False))
        return 1
    before = attempts.read_file(run.folder, attempts.ATTEMPT_FILE, last) or {}
    attempt = attempts.number_after(last)
    facts: dict[str, Any] = {
        "format": attempts.FORMAT,
        "attempt": attempt,
        "job_id": int(os.environ["SLURM_JOB_ID"]),
        "restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
        "host": socket.gethostname(),
        "boot_id": attempts.boot_id(),
        "place": attempts.place_of(run.folder),
        "started_at": now_iso(),
        "code": Path(spec.code).name,
        "environment": spec.environment,
        "last_step": before.get("last_step", -1),
        "fruitless": before.get("fruitless", 0),
    }
    (run.folder / attempts.EXIT_FILE).unlink(missing_ok=True)
    node = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    stage = f"starting its process on {node}"
    run.write_status(replace(settled(status, RunState.STARTING), stage=stage, device=f"node {node}"))
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, facts)
    shim = JobShim(run.folder, attempt, grace_s=spec.grace_s, request=spec.request)
    signal.signal(signal.SIGUSR1, shim.on_limit)
    order = Orders(run.folder.parent / FOLDER)
    known = order.known(run.id) if order.are_kept else None
    os.environ.update(surroundings(Path(spec.code), on_cpu=spec.on_cpu, more=spec.environment))
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = f"{spec.grace_s:.0f}"
    if spec.on_cpu:
        os.environ |= {"LAB_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    if known is not None:
        os.environ["LAB_SEAL"] = known.seal
    shim.run(command_of(run, spec))
    if shim.is_fenced:
        logger.error("another job has taken the run over: this one ends")
        return 1
    return _after(run, shim, facts)


def command_of(run: Run, spec: JobSpec) -> list[str]:
    """The worker, several of them on one node through torchrun, or on several nodes through srun and torchrun."""
    ranks = 1 if spec.on_cpu else max(1, spec.num_processes or spec.gpus)
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
    if nodes == 1 or spec.worker:
        return worker_command(run, ranks, spec.worker or None)
    first = call("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()[0]
    port = PORT_BASE + int(os.environ["SLURM_JOB_ID"]) % PORTS
    ranks = max(1, spec.num_processes) if spec.on_cpu else max(1, spec.gpus)
    on_each_node = ["srun", "--kill-on-bad-exit=1", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    launcher = torchrun(ranks, nodes=nodes, meeting=f"{first}:{port}", name=os.environ["SLURM_JOB_ID"])
    return [*on_each_node, *launcher, "-m", "core.jobs.worker", "--runs", str(run.folder.parent.resolve()), run.id]


def _after(run: Run, shim: JobShim, facts: dict[str, Any]) -> int:
    """Write down how the attempt ended, and have the job queued again where the run goes on."""
    ending, request = ending_of(run, shim.attempt), attempts.stop_of(run.folder, shim.attempt)
    if shim.is_near_limit and request is None and ending.state is RunState.INTERRUPTED:
        at = place_in_words(run, run.status().step)
        reason = f"saved{at} ahead of its time limit; {last_checkpoint_in_words(run)}; queued again"
        ending = Ending(state=RunState.QUEUED, reason=reason)
    elif ending.may_return:
        ending, last_step, fruitless = again(
            run, ending, last_step=int(facts["last_step"]), fruitless=int(facts["fruitless"])
        )
        newest = reading.read_object(run.folder / attempts.ATTEMPT_FILE)
        atomic.write_json(
            run.folder / attempts.ATTEMPT_FILE, {**newest, "last_step": last_step, "fruitless": fruitless}
        )
    status = run.status()
    if (status.state, status.reason) != (ending.state, ending.reason):
        write_ending(run, ending)
    run.put_on_record("released", attempt=shim.attempt, process_gone=True)
    if ending.state is RunState.QUEUED:
        _queue_again(run, ending)
    elif ending.state is RunState.STOPPED and request is not None and request.pauses:
        with contextlib.suppress(LabError):  # else it loses its place, and is submitted anew when it is resumed
            _ask("scontrol", "requeuehold", os.environ["SLURM_JOB_ID"])
    return 0 if ending.state is RunState.FINISHED else 1


def _queue_again(run: Run, ending: Ending) -> None:
    """Slurm ends this process when it does so. A run whose job cannot be queued again says so."""
    with contextlib.suppress(OSError):
        (run.folder / CLAIM).unlink()
    try:
        _ask("scontrol", "requeue", os.environ["SLURM_JOB_ID"])
    except LabError as error:
        reason = f"{ending.reason.removesuffix('; queued again')}; it could not be queued again: {error.message}"
        write_ending(run, Ending(state=RunState.INTERRUPTED, reason=reason))


def _ask(*command: str) -> str:
    """A command of Slurm, again and again while its controller does not answer. Raises LabError."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call(*command)
        except SlurmAway:
            if time.monotonic() >= deadline:
                raise
            time.sleep(ASK_EVERY_S)


def claim(run: Run) -> bool:
    """Take the run: True when this job now works on it alone. Of two jobs the first keeps it while it lives."""
    path, text = run.folder / CLAIM, json.dumps(_identity()) + "\n"
    while True:
        own = path.with_name(f".{CLAIM}.{os.environ['SLURM_JOB_ID']}.{os.getpid()}")
        own.write_text(text)
        try:
            os.link(own, path)  # whole or not at all, and only one of many, on NFS too
            return True
        except FileExistsError:
            holder = _claimed_by(run)
        except OSError:  # a file system without hard links
            with contextlib.suppress(FileExistsError):
                with path.open("x") as file:
                    file.write(text)
                return True
            holder = _claimed_by(run)
        finally:
            own.unlink(missing_ok=True)
        if holder is not None and holder != _identity() and _lives(holder):
            logger.error("job %s of Slurm works on the run already: this one ends", holder.get("job_id"))
            return False
        _drop(path, holder)


def _drop(path: Path, holder: dict[str, Any] | None) -> None:
    """Remove the claim of a job that is over; a fresh one that came in its place is put back."""
    away = path.with_name(f".{CLAIM}.old.{os.environ['SLURM_JOB_ID']}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, away)
        if _read(away) != holder:
            with contextlib.suppress(OSError):
                os.link(away, path)
        with contextlib.suppress(OSError):  # a folder that somebody put there stays aside
            away.unlink()


def _lives(holder: dict[str, Any]) -> bool:
    """Whether the job that holds a claim still works: this job's earlier start does not, as Slurm starts one at a time.

    Asks until Slurm answers: to work on a run that another job works on would spoil it.
    """
    if holder.get("job_id") == _identity()["job_id"]:
        return False
    while True:
        try:
            return any(job.job_id == holder.get("job_id") and job.is_live for job in read_jobs())
        except SlurmRefused:
            return True
        except SlurmAway:
            time.sleep(ASK_EVERY_S)


def _identity() -> dict[str, Any]:
    return {
        "job_id": int(os.environ["SLURM_JOB_ID"]),
        "restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
        "cluster": os.environ.get("SLURM_CLUSTER_NAME", ""),
    }


def _claimed_by(run: Run) -> dict[str, Any] | None:
    return _read(run.folder / CLAIM)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return reading.read_object(path)
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    sys.exit(main())
