"""What an account asked for when it queued a run, kept where no other account can write: see `core.jobs.accounts`.

A row of a shared queue says whose turn it is. Code, environment and command line of a process come from the order, and
the order is sealed: another run folder, or other settings in it, and nothing starts. Where the lab has one account, its
rows are believed and there are no orders.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from core import atomic, reading
from core.config.frozen import settings_digest
from core.errors import LabError
from core.jobs.accounts import is_shared, state_folder
from core.jobs.confinement import SEAL_VARIABLE
from core.jobs.queue import Job
from core.runs.run import Run

FOLDER = "orders"  # in the account's state folder
REQUEST_FILE = "request.json"  # what a measuring run is asked beside its settings
CHANGED = "its folder or settings were changed after it was queued; resume it to accept them"
UNKNOWN = "nobody of its account has queued it in this shared folder; resume it to start it"


@dataclass(frozen=True, kw_only=True)
class Order:
    """The columns of a row that decide how its processes start. place: device and inode of its folder."""

    run_id: str
    seal: str
    place: tuple[int, int]
    device: str
    num_processes: int
    code: str = ""
    depends_on: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


class Broken(LabError):
    """A row that its account's order does not cover: nothing is started for it."""


class Orders:
    """This account's orders for one runs folder; without any effect where that is not shared."""

    def __init__(self, queue_folder: Path) -> None:
        self.queue_folder, self.runs = queue_folder, queue_folder.parent

    @property
    def are_kept(self) -> bool:
        """Whether rows are not believed here."""
        return is_shared(self.runs)

    def is_mine(self, job: Job) -> bool:
        """Whether this account starts and ends the run."""
        return not self.are_kept or job.uid == os.geteuid()

    def keep(self, job: Job) -> None:
        """Remember what this account queues now. Raises OSError, LabError."""
        if not self.are_kept:
            return
        run = Run(self.runs / job.run_id)
        order = Order(
            run_id=job.run_id,
            seal=seal_of(run, settings_digest(run.config_path)),
            place=place_of(run),
            device=job.device,
            num_processes=job.num_processes,
            code=job.code,
            depends_on=job.depends_on,
            environment=dict(job.environment),
        )
        path = self._path(job.run_id)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        atomic.write_json(path, asdict(order))

    def known(self, run_id: str) -> Order | None:
        """The newest order for a run, if this account gave one. Raises LabError as `state_folder` does."""
        try:
            order = reading.read_record(self._path(run_id), Order)
        except (OSError, reading.Unreadable):
            return None
        return order if order.run_id == run_id else None

    def bound(self, job: Job) -> Job:
        """The row with what its order says in the place of what others may have written. Raises Broken."""
        if not self.are_kept:
            return job
        run, order = Run(self.runs / job.run_id), self.known(job.run_id)
        if order is None:
            raise Broken(UNKNOWN)
        try:
            is_whole = seal_of(run, settings_digest(run.config_path)) == order.seal
        except (LabError, OSError):
            is_whole = False
        if not is_whole:
            raise Broken(CHANGED)
        return replace(
            job,
            device=order.device,
            num_processes=order.num_processes,
            code=order.code,
            depends_on=order.depends_on,
            environment=order.environment,
        )

    def is_in_place(self, run: Run) -> bool:
        """Whether the run's folder is the one that was queued; a link that nobody ordered is not."""
        if not self.are_kept:
            return True
        order = self.known(run.id)
        try:
            return not run.folder.is_symlink() if order is None else place_of(run) == order.place
        except OSError:
            return False

    def seal(self, job: Job) -> dict[str, str]:
        """What its worker checks once more, as environment; {} where rows are believed."""
        order = self.known(job.run_id) if self.are_kept else None
        return {SEAL_VARIABLE: order.seal} if order else {}

    def sweep(self) -> set[str]:
        """Forget orders for runs that are gone; names of the code that the others need."""
        needed: set[str] = set()
        if not self.are_kept:
            return needed
        for path in (state_folder(self.queue_folder) / FOLDER).glob("*.json"):
            if (self.runs / path.stem).is_dir():
                order = self.known(path.stem)
                needed |= {order.code} if order else set()
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
        return needed

    def _path(self, run_id: str) -> Path:
        return state_folder(self.queue_folder) / FOLDER / f"{Path(run_id).name}.json"


def place_of(run: Run) -> tuple[int, int]:
    """Device and inode of the run's folder. Raises OSError when it is gone."""
    found = run.folder.stat()
    return found.st_dev, found.st_ino


def seal_of(run: Run, settings: str) -> str:
    """Of what decides the work of a run: its folder, its kind, its settings (their digest) and its request.

    Raises RunNotFound, OSError.
    """
    request = b""
    with contextlib.suppress(FileNotFoundError):
        request = reading.read_bytes(run.folder / REQUEST_FILE)
    parts = (*map(str, place_of(run)), run.info.kind, settings, hashlib.sha256(request).hexdigest())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def check_seal(run: Run) -> None:
    """In a worker: what it was started for is what it has read. Raises LabError."""
    seal = os.environ.get(SEAL_VARIABLE, "")
    if seal and seal_of(run, run.settings_digest) != seal:
        raise Broken(CHANGED)
