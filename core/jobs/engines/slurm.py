"""The engine of a cluster: Slurm keeps the queue, and a job of Slurm is one run, however often it is queued again.

The lab keeps no queue of its own here, no SQLite file and no lock: run folders lie on a shared file system. A run is
worked on by the job that holds its claim (`core.jobs.engines.slurm_job`); who doubts asks Slurm whether that job lives.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import pwd
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from core import atomic, reading
from core.config.schema import Settings
from core.config.site import SlurmSettings
from core.errors import ConfigError, LabError, RunBusy, UsageError
from core.home import python_path
from core.jobs import frozen_code
from core.jobs.accounts import state_folder
from core.jobs.engines.protocol import NOTHING, Observation
from core.jobs.engines.slurm_commands import (
    JOB_NAME,
    Look,
    Looks,
    SlurmAway,
    SlurmJob,
    SlurmRefused,
    call,
    nodes_in,
)
from core.jobs.exit_reason import (
    Ending,
    ending_of,
    grace_s,
    in_words,
    never_started,
    settled,
    without_its_vae,
    write_ending,
)
from core.jobs.job_row import job_for
from core.jobs.orders import Orders
from core.jobs.queue_entry import NextPlace, Node, QueueEntry, SupervisorState
from core.jobs.request import OF_A_CLUSTER, JobRequest, asked_settings, keep_request, read_request
from core.jobs.serving import FOLDER
from core.machine import attempts
from core.runs.kinds import Kind
from core.runs.lock import lock_in_run
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, lock_path, storage_error
from core.values import age_s
from core.weighing import weigh_run

FILE = "slurm.json"  # in the run folder: which job it is
SPECS = "slurm"  # beside the frozen code: what a job is started with
FORMAT = 1
RELEASE_PATIENCE_S = 15.0
BEGIN_PATIENCE_S = 10.0
KILL_PATIENCE_S = 5.0
LOST_AFTER_S = 60.0  # a run that waits and that Slurm has not heard of yet is being submitted
TEND_EVERY_S = 10.0
NICE_PER_PRIORITY = 100
LOOKS = Looks()
_tended: dict[Path, float] = {}


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """slurm.json: the newest job of a run. account: the Unix account that submitted it, as which it runs."""

    job_id: int = 0
    account: str = ""
    priority: int = 0
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """What a job is started with, where only the account that submitted it can write. worker: another training."""

    run: str
    grace_s: float
    code: str
    gpus: int
    num_processes: int
    on_cpu: bool
    environment: dict[str, str] = field(default_factory=dict)
    worker: tuple[str, ...] = ()
    request: JobRequest = field(default_factory=JobRequest)
    format: int = FORMAT


class SlurmEngine:
    """Submits the runs of a folder to Slurm and finds them again there. worker: another training command, for tests."""

    def __init__(self, store: RunStore, settings: SlurmSettings, worker: Sequence[str] = ()) -> None:
        self.store, self.settings, self.worker = store, settings, tuple(worker)
        self.folder = store.root / FOLDER
        self.orders = Orders(self.folder)

    # -- the verbs of an engine

    def submit(self, runs: Sequence[Run], *, resumed_by: str = "", request: Mapping[str, Any] = NOTHING) -> None:
        """See `Engine.submit`. A U-Net's job depends on that of its VAE run."""
        deadline = time.monotonic() + RELEASE_PATIENCE_S
        while any(self._is_ending(run) for run in runs) and time.monotonic() < deadline:
            time.sleep(0.2)
        with ExitStack() as held:
            for run in runs:
                held.enter_context(self._alone(run))
            look = self._must_answer()
            asked = {run.id: read_request(run).with_changes(request) for run in runs}
            for run in runs:
                _refuse_preemptible(asked[run.id])
                self._refuse_unfit(run, asked[run.id], look)
            try:
                place = state_folder(self.folder)
                code = frozen_code.freeze(place)
            except OSError as error:
                raise storage_error(error, self.folder) from None
            submitted: list[int] = []
            before = {run.id: (run.status(), _facts_of(run), read_request(run)) for run in runs}
            try:
                for run in runs:
                    keep_request(run, asked[run.id])
                    self._submit(run, look, place, code, self._believed(run, place, asked[run.id], request))
                    submitted.append(_facts_of(run).job_id)
            except BaseException:
                for job_id in submitted:
                    with contextlib.suppress(LabError):
                        call("scancel", str(job_id))
                for run in runs:
                    with contextlib.suppress(OSError, LabError):
                        status, facts, former = before[run.id]
                        keep_request(run, former)
                        run.write_status(status)
                        _keep_facts(run, facts)
                raise
            for run in runs if resumed_by else ():
                run.put_on_record("resume requested", by=resumed_by)
        LOOKS.jobs(fresh_s=0.0)

    def ask_to_stop(self, run: Run, *, by: str, kills: bool = False, pauses: bool = False) -> None:
        """See `Engine.ask_to_stop`. Slurm decides whether this account may act on the job."""
        event = "kill requested" if kills else "pause requested" if pauses else "stop requested"
        look = LOOKS.jobs(fresh_s=0.0)
        job, status = _job_of(run, look), self.observe(run).status
        if job is not None and job.waits:
            if pauses and job.is_held:
                return
            if not status.state.is_active and not job.is_held:
                raise LabError(f"run {run.id} is not running: it is {in_words(status)}")
            _call_for(run, job, *(("scontrol", "hold") if pauses else ("scancel",)))
            run.put_on_record(event, by=by)
            LOOKS.jobs(fresh_s=0.0)
            write_ending(run, never_started(run, by=by, pauses=pauses))
            return
        if not status.state.is_active:
            raise LabError(f"run {run.id} is not running: it is {in_words(status)}")
        if job is not None and not look.problem:  # harmless, and refused for the job of another account
            _call_for(run, job, "scancel", "--batch", "--signal=CONT")
            self._wait_for_attempt(run, job)
        elif status.state is RunState.QUEUED:
            raise SlurmAway(f"run {run.id} waits, and {_lower(look.problem)}", "try again when it does")
        run.put_on_record(event, by=by)
        with self._alone(run):
            attempt, level = attempts.current_attempt(run.folder), 2 if kills else 1
            attempts.ask_to_stop(run.folder, attempt, level=level, by=by, pauses=pauses, is_alone=True)
        if kills and job is not None and not self._ends_within(run, attempt, KILL_PATIENCE_S):
            _call_for(run, job, "scancel")

    def observe(self, run: Run) -> Observation:
        """See `Engine.observe`. While Slurm does not answer, status.json is believed."""
        status = run.status()
        if status.state.is_active:
            status = self._corrected(run, status)
        return Observation(status=status, is_held=lambda: self._has_processes(run))

    def forget(self, run: Run) -> None:
        """Take a job that is held back out of Slurm's queue."""
        job = LOOKS.jobs(fresh_s=0.0).jobs.get(run.id)
        if job is not None and job.waits:
            _call_for(run, job, "scancel")

    # -- the queue, which is Slurm's

    def entries(self) -> list[QueueEntry]:
        """Jobs that live, then those that wait in Slurm's order."""
        look = LOOKS.jobs()
        known = [(job, Run(self.store.root / job.run_id)) for job in look.jobs.values() if job.is_live or job.waits]
        known = [(job, run) for job, run in known if job.run_id and (run.folder / "run.json").is_file()]
        known.sort(key=lambda each: (each[0].waits, -each[0].priority, each[0].job_id))
        found, turn = [], 0
        for job, run in known:
            turn += job.waits
            found.append(self._entry(run, job, turn if job.waits else 0, look))
        return found

    def nodes(self) -> list[Node]:
        """The nodes of the partition, or all."""
        return LOOKS.nodes_now(self.settings.partition.partition(",")[0])

    def state(self) -> SupervisorState:
        """Whether Slurm answers."""
        look = LOOKS.jobs()
        return SupervisorState(alive=not look.problem, problem=look.problem, name="Slurm")

    def place_for_next(self, settings: Settings, kind: Kind) -> NextPlace:
        """Whether a node has room and no run of the lab waits; Slurm knows better, and says so once it is submitted."""
        look = LOOKS.jobs()
        if look.problem:
            return NextPlace(at_once=False, waiting=0, lacks=look.problem)
        waiting = sum(job.waits and not job.is_held for job in look.jobs.values())
        wanted = 0 if settings.machine.device == "cpu" else self.settings.gpus
        fits = sum(node.takes_runs and node.gpus - node.used_gpus >= wanted for node in self.nodes())
        return NextPlace(at_once=fits >= self.settings.nodes and not waiting, waiting=waiting)

    def move(self, run: Run, to: str) -> None:
        """To the front of one's own jobs, where the site allows `scontrol top`; Slurm has no other places."""
        job = self._waiting(run)
        if to != "first":
            raise LabError(
                f"run {run.id} stays at its place: Slurm orders its queue by priority, and has no places to move "
                f"{'to' if to == 'last' else to}",
                "change its priority",
            )
        _call_for(run, job, "scontrol", "top")
        LOOKS.jobs(fresh_s=0.0)

    def set_priority(self, run: Run, priority: int) -> None:
        """By Slurm's nice value; it lets accounts lower their own jobs, and operators raise them."""
        job = self._waiting(run)
        _call_for(run, job, "scontrol", "update", f"Nice={-NICE_PER_PRIORITY * priority}", by_name=True)
        _keep_facts(run, replace(_facts_of(run), priority=priority))
        LOOKS.jobs(fresh_s=0.0)

    def tend(self) -> None:
        """Write down how runs ended whose job is gone, and drop the specs of runs that are."""
        if time.monotonic() - _tended.get(self.store.root, float("-inf")) < TEND_EVERY_S:
            return
        _tended[self.store.root] = time.monotonic()
        if LOOKS.jobs().problem:
            return
        for run in self.store.list():
            status = run.status()
            if not status.state.is_active:
                continue
            seen = self.observe(run).status
            with contextlib.suppress(OSError):
                if seen.state is RunState.QUEUED and status.state is not RunState.QUEUED:
                    run.write_status(seen)
                elif not seen.state.is_active:
                    write_ending(run, Ending(state=seen.state, reason=seen.reason))
        self._sweep()

    def once(self, token: str) -> list[str] | None:
        """See `Queue.once`; a file that only one process can make."""
        path = self._token_path(token)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o660))
        except FileExistsError:
            with contextlib.suppress(OSError):
                return path.read_text().split()
            return []
        except OSError as error:
            raise storage_error(error, path.parent) from None
        return None

    def done(self, token: str, run_ids: Sequence[str]) -> None:
        """See `Queue.done`."""
        with contextlib.suppress(OSError):
            if run_ids:
                atomic.write_text(self._token_path(token), " ".join(run_ids))
            else:
                self._token_path(token).unlink()

    # -- submitting

    def _submit(self, run: Run, look: Look, place: Path, code: str, request: JobRequest) -> None:
        """Have the run's job wait at Slurm: a held one goes on at its place, else it is a new one."""
        job = job_for(run, code=code)
        spec_path = self._keep_spec(run, place, code, request)
        try:
            self.orders.keep(job)
            attempts.withdraw_stop(run.folder)
            run.write_status(settled(run.status(), RunState.QUEUED))
        except OSError as error:
            raise storage_error(error, run.folder) from None
        held = _job_of(run, look)
        if held is not None and held.waits:
            _call_for(run, held, "scontrol", "release")
            return
        command = self._options(run, job.depends_on, request)
        script = "\n".join(
            (
                "#!/bin/sh",
                f"cd {shlex.quote(str(frozen_code.frozen_root(place, code)))} || exit 1",
                f"PYTHONPATH={shlex.quote(python_path(frozen_code.frozen_root(place, code)))}",
                "export PYTHONPATH",
                f"exec {shlex.quote(sys.executable)} -m core.jobs.engines.slurm_job {shlex.quote(str(spec_path))}",
                "",
            )
        )
        answer = call(*command, text=script, environment={"SBATCH_EXPORT": "ALL"})
        job_id = int(answer.strip().partition(";")[0])
        _keep_facts(run, JobFacts(job_id=job_id, account=_own_account(), priority=request.priority))

    def _options(self, run: Run, parents: Sequence[str], request: JobRequest) -> list[str]:
        """The command line of sbatch."""
        named = {
            "comment": run.id,
            "output": str(run.log_path.resolve()),
            "open-mode": "append",
            "nice": -NICE_PER_PRIORITY * request.priority if request.priority < 0 else "",
            "begin": f"now+{later:.0f}" if (later := request.starts_s - time.time()) >= 1.0 else "",
        }
        unfinished = [parent for parent in parents if not _is_finished(self.store.root / parent)]
        jobs = [_facts_of(Run(self.store.root / parent)).job_id for parent in unfinished]
        if any(jobs) and run.lacks_its_vae:
            named["dependency"] = "afterok:" + ":".join(str(job) for job in jobs if job)
            named["kill-on-invalid-dep"] = "yes"
        options = [f"--{name}={value}" for name, value in named.items() if value != ""]
        return [
            "sbatch",
            "--parsable",
            "--requeue",
            *options,
            *site_options(with_request(self.settings, request), self._gpus(run, request)),
        ]

    def _keep_spec(self, run: Run, place: Path, code: str, request: JobRequest) -> Path:
        """Write down what the job is started with; where."""
        order = job_for(run, code=code)
        spec = JobSpec(
            run=str(run.folder.resolve()),
            grace_s=grace_s(run),
            code=str(frozen_code.frozen_root(place, code)),
            gpus=self._gpus(run, request),
            num_processes=order.num_processes,
            on_cpu=order.device == "cpu",
            environment={**order.environment},
            worker=self.worker,
            request=request,
        )
        path = place / SPECS / f"{run.id}.json"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.write_json(path, {**asdict(spec), "request": spec.request.model_dump(mode="json")})
        except OSError as error:
            raise storage_error(error, path) from None
        return path

    def _believed(self, run: Run, place: Path, request: JobRequest, asked_now: Mapping[str, Any]) -> JobRequest:
        """Options of sbatch decide what runs as this account. Where accounts share the folder, any of them may have
        written job.json: what this account asks now or has submitted before is believed, and nothing else."""
        if not self.orders.are_kept:
            return request
        before = read_spec(place / SPECS / f"{run.id}.json")
        known = JobRequest() if before is None else before.request
        own = {name: getattr(known, name) for name in OF_A_CLUSTER if name not in asked_now}
        return request.model_copy(update=own)

    def _gpus(self, run: Run, request: JobRequest) -> int:
        """GPUs per node that a run is given."""
        try:
            machine = asked_settings(run, request).machine
        except LabError:  # unreadable settings: the worker says so in the run
            return self.settings.gpus
        if machine.device == "cpu":
            return 0
        return max(self.settings.gpus, machine.num_processes) if self.settings.nodes == 1 else self.settings.gpus

    def _refuse_unfit(self, run: Run, request: JobRequest, look: Look) -> None:
        status, job = run.status(), _job_of(run, look)
        if status.state is RunState.FINISHED:
            raise LabError(f"run {run.id} is finished at step {status.step:,}: there is nothing to resume")
        if job is not None and (job.is_live or (job.waits and not job.is_held)):
            words = "is being worked on" if job.is_live else "waits in the queue"
            raise RunBusy(f"run {run.id} {words} already, as job {job.job_id} of Slurm", "watch it, or stop it first")
        with contextlib.suppress(ConfigError):  # settings that cannot be read: the worker says so
            if run.kind.worker:
                weigh_run(asked_settings(run, request), run.kind).refuse()

    def _must_answer(self) -> Look:
        look = LOOKS.jobs(fresh_s=0.0)
        if look.problem:
            raise SlurmAway(look.problem)
        return look

    def _is_ending(self, run: Run) -> bool:
        """True while its run is over and its job is not."""
        job = _job_of(run, LOOKS.jobs(fresh_s=0.2))
        return job is not None and job.is_live and not self.observe(run).status.state.is_active

    # -- looking

    def _corrected(self, run: Run, status: Status) -> Status:
        """An active state against what Slurm says of the run's job."""
        look = LOOKS.jobs()
        job = _job_of(run, look)
        if look.problem:
            return status
        if job is None or not (job.is_live or job.waits):
            if (age_s(status.heartbeat_at) or 0.0) < LOST_AFTER_S and (job is None or status.state is RunState.QUEUED):
                look = LOOKS.jobs(fresh_s=0.3)
                job = _job_of(run, look)
                if job is None and not look.problem:  # it is being submitted, or was this moment
                    return run.status()
            if look.problem or (job is not None and (job.is_live or job.waits)):
                return run.status()
            status = run.status()  # it may have ended between the two looks
            return self._ended(run, status, job) if status.state.is_active else status
        attempt = attempts.current_attempt(run.folder)
        if job.waits and status.state is not RunState.QUEUED:
            words = f"queued again by Slurm: it waits for {job.why}"
            return settled(status, RunState.QUEUED, words)
        if job.is_live and status.state is not RunState.QUEUED and attempts.stop_of(run.folder, attempt):
            return replace(status, state=RunState.STOPPING)
        return status

    def _ended(self, run: Run, status: Status, job: SlurmJob | None) -> Status:
        """What became of an active run whose job is over."""
        if status.state is RunState.QUEUED:
            for parent in run.info.parents if run.lacks_its_vae else ():
                folder = self.store.root / parent
                state = self.observe(Run(folder)).status.state if (folder / "run.json").is_file() else None
                if state is None or (not state.is_active and state is not RunState.FINISHED):
                    ending = without_its_vae(parent, state)
                    return settled(status, ending.state, ending.reason)
        ending = ending_of(run, words=_words_of(job))
        if ending.state is RunState.QUEUED:  # it should have continued, and its job is gone
            ending = replace(ending, state=RunState.INTERRUPTED)
        return settled(status, ending.state, ending.reason)

    def _has_processes(self, run: Run) -> bool:
        """Whether a process of the run may live: its job does, and its attempt has not written its end."""
        attempt = attempts.current_attempt(run.folder)
        if attempt and attempts.read_file(run.folder, attempts.EXIT_FILE, attempt) is not None:
            return False
        look = LOOKS.jobs()
        job = _job_of(run, look)
        if look.problem:
            return run.status().state.is_active
        return job is not None and job.is_live

    def _entry(self, run: Run, job: SlurmJob, place: int, look: Look) -> QueueEntry:
        status, facts = self.observe(run).status, _facts_of(run)
        owner = run.info.owner
        where = job.nodes if job.is_live else "any node"
        device = where if job.user in ("", owner) else f"{where}, as the account {job.user}"
        slots: tuple[str, ...] = ()
        if job.is_live:
            with contextlib.suppress(LabError):
                slots = tuple(f"node {name}:0" for name in nodes_in(job.nodes))
        start_s = job.start_at - time.time() if job.waits and job.start_at > time.time() else None
        started = attempts.read_file(run.folder, attempts.ATTEMPT_FILE, attempts.current_attempt(run.folder)) or {}
        live_state = str(status.state) if status.state.is_active else str(RunState.RUNNING)
        return QueueEntry(
            run=run,
            state="paused" if job.is_held else str(RunState.QUEUED) if job.waits else live_state,
            place=place,
            priority=facts.priority,
            owner=owner,
            device=device,
            slots=slots,
            waits_for=f"Slurm. {look.problem}" if look.problem else job.why if job.waits else "",
            expected_start_s=0.0 if job.is_live else None if job.is_held else start_s,
            expected_end_s=status.eta_s if job.is_live else None,
            started_at=str(started.get("started_at") or "") if job.is_live else "",
        )

    def _waiting(self, run: Run) -> SlurmJob:
        """The run's job, which waits. Raises LabError when it does not."""
        job = _job_of(run, self._must_answer())
        if job is None or not job.waits:
            raise LabError(f"run {run.id} is not queued: it is {in_words(self.observe(run).status)}")
        return job

    def _wait_for_attempt(self, run: Run, job: SlurmJob) -> None:
        """A job that began this moment has not said yet which attempt it is."""
        deadline = time.monotonic() + BEGIN_PATIENCE_S
        while time.monotonic() < deadline:
            number = attempts.current_attempt(run.folder)
            facts = attempts.read_file(run.folder, attempts.ATTEMPT_FILE, number) or {}
            if facts.get("job_id") == job.job_id and attempts.read_file(run.folder, attempts.EXIT_FILE, number) is None:
                return
            if not run.status().state.is_active:
                raise LabError(f"run {run.id} is not running: it is {in_words(run.status())}")
            time.sleep(0.1)
        _call_for(run, job, "scancel")  # its node does not even begin: nothing is lost

    def _ends_within(self, run: Run, attempt: int, seconds: float) -> bool:
        """Whether an attempt writes down its end in time: its shim kills it, where Slurm would ask it to save first."""
        deadline = time.monotonic() + seconds
        while attempts.read_file(run.folder, attempts.EXIT_FILE, attempt) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)
        return True

    @contextlib.contextmanager
    def _alone(self, run: Run) -> Iterator[None]:
        """Of several who act on a run one at a time. Raises RunBusy, LabError."""
        try:
            lock = lock_in_run(lock_path(run), patience_s=RELEASE_PATIENCE_S)
        except OSError as error:
            raise storage_error(error, run.folder) from None
        if lock is None:
            raise RunBusy(f"run {run.id}: another process acts on it", "try again in a moment")
        try:
            yield
        finally:
            lock.release()

    def _token_path(self, token: str) -> Path:
        return self.folder / "starts" / hashlib.sha256(token.encode()).hexdigest()[:32]

    def _sweep(self) -> None:
        """Drop what only runs that are gone needed."""
        needed, day_ago = set(), time.time() - 86400.0
        with contextlib.suppress(OSError, LabError):
            place = state_folder(self.folder)
            for path in (place / SPECS).glob("*.json"):
                spec = read_spec(path)
                if spec is not None and not (self.store.root / path.stem).is_dir():
                    path.unlink()
                elif spec is not None:
                    needed.add(Path(spec.code).name)
            frozen_code.sweep(place, needed, older_than=day_ago)
            for path in (self.folder / "starts").glob("*"):
                if path.stat().st_mtime < day_ago:
                    path.unlink()


def site_options(settings: SlurmSettings, gpus: int) -> list[str]:
    """The options of sbatch that the site's settings mean, with the site's own last."""
    named = {
        "job-name": JOB_NAME,
        "signal": f"B:USR1@{settings.save_ahead_s}",
        "nodes": settings.nodes,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "gres": f"gpu:{gpus}" if gpus else "",
        "time": settings.time_limit,
    }
    return [*(f"--{name}={value}" for name, value in named.items() if value != ""), *settings.directives]


def with_request(settings: SlurmSettings, request: JobRequest) -> SlurmSettings:
    """The site's settings with what a request says in their place; Slurm's own limit lies behind the lab's."""
    named: dict[str, Any] = {
        name: getattr(request, name) for name in ("partition", "account", "qos") if getattr(request, name)
    }
    if request.time_limit_s is not None:
        named["time_limit"] = str(math.ceil((request.time_limit_s + settings.save_ahead_s) / 60) + 1)
    return settings.model_copy(update={**named, "directives": (*settings.directives, *request.directives)})


def _refuse_preemptible(request: JobRequest) -> None:
    """Raises UsageError for what Slurm decides itself."""
    if request.preemptible is not None:
        raise UsageError(
            "--preemptible: Slurm decides by partition and QOS which jobs it interrupts", "name one with --partition"
        )


def try_settings(settings: SlurmSettings) -> str:
    """What Slurm says of a job with these settings, which it does not take in: '' where it would. Raises SlurmAway."""
    try:
        call("sbatch", "--test-only", *site_options(settings, settings.gpus), text="#!/bin/sh\n")
    except SlurmRefused as error:
        return error.message
    return ""


def read_spec(path: Path) -> JobSpec | None:
    """What a job is started with; None where it cannot be read."""
    try:
        return reading.read_record(path, JobSpec)
    except (OSError, reading.Unreadable):
        return None


def _own_account() -> str:
    """The Unix account of this process, as Slurm names it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _facts_of(run: Run) -> JobFacts:
    try:
        return reading.read_record(run.folder / FILE, JobFacts)
    except (OSError, reading.Unreadable):
        return JobFacts()


def _keep_facts(run: Run, facts: JobFacts) -> None:
    try:
        atomic.write_json(run.folder / FILE, asdict(facts))
    except FileNotFoundError:  # it was deleted meanwhile
        return
    except OSError as error:
        raise storage_error(error, run.folder) from None


def _job_of(run: Run, look: Look) -> SlurmJob | None:
    return look.jobs.get(run.id)


def _call_for(run: Run, job: SlurmJob, *command: str, by_name: bool = False) -> str:
    """A command for a run's job. Raises SlurmAway, and LabError which names whose job it is when that is refused."""
    name, *rest = command
    try:
        if by_name:
            return call(name, rest[0], f"JobId={job.job_id}", *rest[1:])
        return call(name, *rest, str(job.job_id))
    except SlurmRefused as error:
        if _own_account() == job.user:
            raise LabError(f"run {run.id}: {error.message}") from None
        raise LabError(
            f"run {run.id}: its job {job.job_id} belongs to the account {job.user}, and {_own_account()} "
            f"asked: {error.message}",
            f"ask {job.user}",
        ) from None


def _words_of(job: SlurmJob | None) -> str:
    """Why a job is over, of what Slurm says."""
    if job is None:
        return "Slurm knows its job no more"
    for state, words in (
        ("CANCELLED", "its job was cancelled in Slurm"),
        ("TIMEOUT", "its job was ended at its time limit before it had saved"),
        ("DEADLINE", "its job was ended at its deadline"),
        ("NODE_FAIL", "its node failed"),
        ("BOOT_FAIL", "its node did not start"),
        ("PREEMPTED", "its job had to make room for another"),
        ("OUT_OF_MEMORY", "its job needed more memory than Slurm gave it"),
    ):
        if state in job.states:
            return words
    return "its job ended without a word"


def _is_finished(folder: Path) -> bool:
    return Run(folder).status().state is RunState.FINISHED


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if not text.startswith("Slurm") else text
