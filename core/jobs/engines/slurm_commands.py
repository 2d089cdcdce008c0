"""Slurm's own commands, each bounded in time: what it says of jobs and nodes, and its refusals as sentences."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import LabError, quoted
from core.jobs.queue_entry import Node

JOB_NAME = "latent-diffusion-lab"  # of every job of the lab; which run it is stands in the job's comment
TIMEOUT_S = 5.0  # without an answer from its controller, a command of Slurm goes on asking
FRESH_S = 1.5  # a look at the queue serves all screens of a server for so long
AGAIN_S = 10.0  # a controller that did not answer is not asked sooner
LIVE = {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
HELD = ("JobHeldUser", "JobHeldAdmin", "job_requeued_in_held_state")
_COLUMNS = "%i|%T|%r|%u|%N|%S|%p|%k"  # where squeue cannot write JSON
_SILENT = re.compile(
    r"unable to contact|connection (refused|timed out|failure)|socket timed out|could not establish", re.I
)
_NOISE = re.compile(r"^\w+: (error|fatal): |^slurm_[\w ]+ error: ")
_DEAD_NODE = re.compile(r"down|drain|fail|maint|not_?responding|unknown|reboot|power|inval|\*", re.I)
_REASONS = (  # Slurm's word for why a job waits → what it waits for
    (r"None|Priority", "runs before it in Slurm's order"),
    (r"Resources|Nodes required|ReqNodeNotAvail|Reserved", "free GPUs or nodes"),
    (r"Dependency$", "its VAE run"),
    (r"DependencyNeverSatisfied", "its VAE run, which did not finish"),
    (r"BeginTime", "its earliest start, which Slurm sets after it was queued again"),
    (r"JobHeldUser|job_requeued_in_held_state", "its owner to resume it"),
    (r"JobHeldAdmin", "an administrator of Slurm to release it"),
    (r"PartitionTimeLimit", "a shorter time limit: its own is above that of the partition"),
    (r"PartitionNodeLimit|PartitionConfig", "a partition that has as many nodes as it asks for"),
    (r"PartitionDown|PartitionInactive", "its partition, which takes no jobs now"),
    (r"(Assoc|QOS).*", "others of its account to end: a limit of Slurm is reached"),
    (r"NodeDown|.*[Nn]ode.*(DOWN|fail).*", "a node that is down"),
    (r"Licenses", "licenses"),
    (r"Reservation", "its reservation to begin"),
)


class SlurmAway(LabError):
    """Slurm's controller does not answer, or its commands are not installed."""


class SlurmRefused(LabError):
    """Slurm said no, in its own words."""


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """One job of the lab. states: Slurm's words. start_at: expected or real start, seconds since 1970, 0 unknown."""

    job_id: int
    run_id: str
    states: frozenset[str]
    reason: str
    user: str
    nodes: str
    start_at: float
    priority: int

    @property
    def is_live(self) -> bool:
        """Whether a process of it may live."""
        return bool(self.states & LIVE)

    @property
    def waits(self) -> bool:
        """Whether it will be started, again or for the first time."""
        return not self.is_live and bool(self.states & WAITING)

    @property
    def is_held(self) -> bool:
        """Whether somebody holds it back with its place kept."""
        return self.waits and self.reason in HELD

    @property
    def why(self) -> str:
        """What it waits for, in words."""
        for pattern, words in _REASONS:
            if re.fullmatch(pattern, self.reason.split(",")[0].strip()):
                return words
        return f"Slurm, which says: {quoted(self.reason, 80)}"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What Slurm said at `at` (monotonic seconds): the newest job of each run. problem: why it says nothing, or ''."""

    jobs: Mapping[str, SlurmJob]
    at: float
    problem: str = ""


def call(*command: str, text: str = "", environment: Mapping[str, str] | None = None) -> str:
    """What a command of Slurm prints. Raises SlurmAway, SlurmRefused."""
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            env={**os.environ, **(environment or {}), "LC_ALL": "C", "SLURM_TIME_FORMAT": "%s"},
        )
    except subprocess.TimeoutExpired:
        raise SlurmAway(f"Slurm does not answer: {command[0]} took more than {TIMEOUT_S:g} s", _WAIT) from None
    except OSError as error:
        raise SlurmAway(f"Slurm: {command[0]} cannot be run here: {error.strerror}", "see docs/scaling.md") from None
    if done.returncode:
        said = [_NOISE.sub("", line).strip() for line in done.stderr.splitlines() if line.strip()]
        words = quoted("; ".join(dict.fromkeys(said)) or f"exit code {done.returncode}", 300)
        if _SILENT.search(done.stderr):
            raise SlurmAway(f"Slurm does not answer: {words}", _WAIT)
        raise SlurmRefused(f"Slurm refuses ({command[0]}): {words}")
    return done.stdout


_WAIT = "runs that train continue; try again when its controller is back"


class Looks:
    """The lab's jobs and the cluster's nodes as of a moment ago, shared by all threads of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last = Look(jobs={}, at=float("-inf"))
        self.nodes: tuple[float, list[Node]] = (float("-inf"), [])

    def jobs(self, *, fresh_s: float | None = None) -> Look:
        """A look not older than that (FRESH_S);
        while nobody answers, the last one with the reason. Waits for one command."""
        fresh_s = FRESH_S if fresh_s is None else fresh_s
        if self._is_fresh(fresh_s):
            return self.last
        with self.lock:
            if not self._is_fresh(fresh_s):
                try:
                    self.last = Look(jobs=_newest(read_jobs()), at=time.monotonic())
                except LabError as error:
                    self.last = Look(jobs=self.last.jobs, at=time.monotonic(), problem=str(error))
            return self.last

    def nodes_now(self, partition: str) -> list[Node]:
        """The nodes of a partition ('' all), at most some seconds old; none while nobody answers."""
        if self.jobs().problem:
            return []
        with self.lock:
            if time.monotonic() - self.nodes[0] >= FRESH_S:
                try:
                    self.nodes = (time.monotonic(), read_nodes(partition))
                except LabError:
                    self.nodes = (time.monotonic(), [])
            return self.nodes[1]

    def _is_fresh(self, fresh_s: float) -> bool:
        return time.monotonic() - self.last.at < (AGAIN_S if self.last.problem else fresh_s)


def read_jobs() -> list[SlurmJob]:
    """All jobs of the lab that Slurm still knows. Raises SlurmAway, SlurmRefused."""
    chosen = ("squeue", f"--name={JOB_NAME}", "--states=all")
    try:
        answer = call(*chosen, "--json")
        return [_from_json(job) for job in json.loads(answer)["jobs"]]
    except SlurmAway:
        raise
    except (SlurmRefused, ValueError, KeyError, TypeError):  # this Slurm has no JSON, or one of another shape
        lines = call(*chosen, "--noheader", f"--format={_COLUMNS}").splitlines()
    rows = (line.split("|", 7) for line in lines if line.count("|") >= 7)
    return [
        SlurmJob(
            job_id=int(job_id),
            run_id=run_id.strip(),
            states=frozenset({state}),
            reason=reason,
            user=user,
            nodes=nodes,
            start_at=float(start) if start.isdigit() else 0.0,
            priority=int(float(priority) * 1e9) if priority.replace(".", "").isdigit() else 0,
        )
        for job_id, state, reason, user, nodes, start, priority, run_id in rows
        if job_id.isdigit()
    ]


def _from_json(job: Mapping[str, Any]) -> SlurmJob:
    states = job["job_state"]
    return SlurmJob(
        job_id=int(job["job_id"]),
        run_id=str(job.get("comment") or ""),
        states=frozenset([states] if isinstance(states, str) else map(str, states)),
        reason=str(job.get("state_reason") or "None"),
        user=str(job.get("user_name") or ""),
        nodes=str(job.get("nodes") or ""),
        start_at=float(_number(job.get("start_time"))),
        priority=int(_number(job.get("priority"))),
    )


def _number(value: Any) -> float:
    """A number as Slurm up to 22.05 writes it, or as newer ones do: {'set': true, 'infinite': false, 'number': 5}."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") and not value.get("infinite") else 0
    return float(value) if isinstance(value, int | float) else 0.0


def _newest(jobs: Sequence[SlurmJob]) -> dict[str, SlurmJob]:
    """The job of each run: one that lives or waits before one that is over, then the newest."""
    return {job.run_id: job for job in sorted(jobs, key=lambda job: (job.is_live or job.waits, job.job_id))}


def read_nodes(partition: str = "") -> list[Node]:
    """Every node of a partition, or of all, by name. Raises SlurmAway, SlurmRefused."""
    found: dict[str, Node] = {}
    chosen = [f"--partition={partition}"] if partition else []
    for line in call("sinfo", "--Node", "--noheader", *chosen, f"--Format={_NODE_COLUMNS}").splitlines():
        name, state, gres, used = (line[start : start + width].strip() for start, width in _WIDTHS)
        if name:
            found[name] = Node(
                name=f"node {name}",
                state=state.replace("*", ", not responding"),
                gpus=_gpus(gres),
                used_gpus=_gpus(used),
                takes_runs=not _DEAD_NODE.search(state) and state != "allocated",
            )
    return list(found.values())


_NODE_COLUMNS = "NodeList:120,StateLong:60,Gres:120,GresUsed:120"
_WIDTHS = ((0, 120), (120, 60), (180, 120), (300, 120))


def _gpus(gres: str) -> int:
    """GPUs in Slurm's words for generic resources: 'gpu:a100:4(S:0-1),gpu:2'."""
    return sum(int(number) for number in re.findall(r"\bgpu(?::[^:,()]+)?:(\d+)", gres))


def nodes_in(text: str) -> list[str]:
    """Slurm's short form of several nodes, 'n[1-2],n5', as names. Raises SlurmAway, SlurmRefused."""
    if "[" not in text:
        return [name for name in text.split(",") if name]
    return call("scontrol", "show", "hostnames", text).split()
