"""What an engine is: it turns a request for work into a process somewhere, and finds that process again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.runs.run import ProcessIdentity, Run, Status


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """Runs to be put in together, for example a VAE and the U-Net that waits for it.

    resumed_by: who asked to go on with runs that were started before; empty for new ones. priority: higher goes first.
    """

    run_ids: tuple[str, ...]
    resumed_by: str = ""
    priority: int = 0


@dataclass(frozen=True, kw_only=True)
class JobHandle:
    """A submitted job. process: None when the engine runs it on another machine."""

    engine: str
    run_ids: tuple[str, ...]
    process: ProcessIdentity | None = None


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One place where a job can run."""

    device: str
    is_busy: bool


class Engine(Protocol):
    """The outcome of a job is read from its run folders, never from an exit code alone."""

    def submit(self, spec: JobSpec) -> JobHandle:
        """Start the job or put it in the queue. Raises RunBusy when one of its runs is being worked on."""
        ...

    def status(self, handles: Sequence[JobHandle]) -> list[dict[str, Status]]:
        """For each job the observed status of each of its runs."""
        ...

    def stop(self, handle: JobHandle, force: bool = False) -> bool:
        """Ask the job's process to save and end, or with `force` kill it. False when it was not reached."""
        ...

    def requeue(self, handle: JobHandle) -> JobHandle:
        """Submit what of the job is not finished."""
        ...

    def logs(self, handle: JobHandle) -> list[Path]:
        """The log of each run."""
        ...

    def capacity(self) -> list[Slot]:
        """The places there are."""
        ...

    def reconcile(self) -> list[Run]:
        """Write down what happened to jobs whose process died; idempotent. Returns the runs that changed."""
        ...
