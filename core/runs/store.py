"""The runs folder: create, find, list and delete run folders."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import stat
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core import atomic, leftovers, reading
from core.bounded_cache import BoundedCache
from core.config.frozen import dump_settings
from core.config.load import read_site
from core.config.schema import Settings
from core.errors import LabError, RunBusy, RunNotFound, StorageFull, UsageError, is_full_disk, quoted
from core.home import PROGRAM
from core.permissions import refusal, share_with
from core.rules import NEWEST, Rules
from core.runs.kinds import KINDS
from core.runs.lock import lock_in_run
from core.runs.provenance import code_revision, current_user, package_versions
from core.runs.rights import require_member
from core.runs.run import FORMAT, FORMAT_KEY, Run, RunInfo, RunState, Status, now_iso
from core.runs.trash import put_into_trash

MAX_NAME_LENGTH = 120
MAX_REMEMBERED = 5_000  # run.json files, about 2 kB each
CLOCK_TICK_NS = 1_000_000_000  # a file younger than this may change again without its time telling
Runs = list[Run]
_Identity = tuple[int, int, int]  # mtime_ns, size, inode
_remembered: BoundedCache[str, tuple[_Identity, RunInfo | None, str]] = BoundedCache(max_count=MAX_REMEMBERED)


class RunStore:
    """All runs under one folder, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(
        self,
        kind: str,
        settings: Settings,
        *,
        name: str = "",
        owner: str = "",
        parents: Sequence[str] = (),
        preset: str = "",
        dataset: dict[str, Any] | None = None,
        branched_from: str = "",
        branched_step: int = 0,
        steps_total: int | None = None,
        rules: Rules | None = None,
        sweep: str = "",
        more_files: Mapping[str, bytes] | None = None,
    ) -> Run:
        """A new queued run with frozen settings; the folder appears whole or not at all.

        branched_from, branched_step: the run and step it goes on from. steps_total: of a comparison, its cells; a
        training takes it from its settings. rules: those of the run it goes on from; a new one takes the newest.
        sweep: the sweep that it is part of. more_files: other contents, by relative path.
        Raises UsageError for an unusable name, NotAllowed for an owner who is not a member, StorageFull or LabError
        when the folder cannot be written.
        """
        title = check_name(name)
        owner = owner or current_user()
        require_member(owner, "start a run")
        revision = code_revision()
        versions = {**package_versions(rules or NEWEST), FORMAT_KEY: str(FORMAT)}
        for _ in range(100):
            run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{kind}-{uuid.uuid4().hex[:4]}"
            if (self.root / run_id).exists():
                continue
            created_at = now_iso()
            info = RunInfo(
                id=run_id,
                kind=kind,
                name=title,
                owner=owner,
                created_at=created_at,
                parents=tuple(parents),
                branched_from=branched_from,
                branched_step=branched_step,
                preset=preset,
                dataset=dataset or {"name": settings.data.name},
                revision=revision,
                versions=versions,
                sweep=sweep,
            )
            steps = KINDS[kind].training_in(settings).steps if steps_total is None else steps_total
            status = Status(step=branched_step, steps_total=steps, heartbeat_at=created_at)
            event = {"at": created_at, "event": "created", "by": owner}
            files = {
                "config.yaml": dump_settings(settings).encode(),
                "run.json": _json_bytes(asdict(info)),
                "status.json": _json_bytes(asdict(status)),
                "events.jsonl": (json.dumps(event) + "\n").encode(),
                **(more_files or {}),
            }
            self._write_new(run_id, files)
            return Run(self.root / run_id)
        raise LabError(f"{self.root}: no free run id was found", "try again")

    def get(self, text: str) -> Run:
        """The run of that id; a prefix, a suffix or a name is accepted when it fits one run only.

        `text` is compared with the folders that exist and never becomes part of a path. Raises RunNotFound.
        """
        text = text.strip().rstrip("/")
        folders = self._folders()
        for folder in folders:
            if folder.name == text:
                run = Run(folder)
                run_info(run)
                return run
        runs = self.list()
        exact = [run for run in runs if run.info.name and run.info.name == text]
        matches = exact or [run for run in runs if len(text) >= 3 and _fits(run.id, text)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            some = ", ".join(run.id for run in matches[:4])
            raise RunNotFound(
                f"run '{quoted(text)}' fits {len(matches)} runs: {some}",
                f"give more of the id; the ids: {PROGRAM} runs",
            )
        raise RunNotFound(f"run '{quoted(text)}' does not exist", self._tip(text, runs))

    def list(self) -> Runs:
        """All readable runs, newest first. Never raises for a broken folder: see `broken`."""
        runs = [Run(folder) for folder in self._folders()]
        return sorted(
            (run for run in runs if not _problem(run)), key=lambda run: (run.info.created_at, run.id), reverse=True
        )

    def broken(self) -> Sequence[tuple[Path, str]]:
        """Folders that are no readable run, with the reason."""
        pairs = [(folder, _problem(Run(folder))) for folder in self._folders()]
        return [(folder, problem) for folder, problem in pairs if problem]

    def children(self, run_id: str) -> Runs:
        """Runs that name `run_id` as a parent, newest first."""
        return [run for run in self.list() if run_id in run.info.parents]

    def rename(self, run_id: str, name: str) -> Run:
        """Give a run another name; the id stays. Raises UsageError for an unusable name."""
        run = self.get(run_id)
        path = run.folder / "run.json"
        atomic.write_json(path, {**reading.read_object(path), "name": check_name(name)})  # a newer lab's keys stay
        return Run(run.folder)

    def give(self, run_id: str, owner: str) -> Run:
        """Make the run another owner's; nothing else of it changes."""
        run = self.get(run_id)
        path = run.folder / "run.json"
        atomic.write_json(path, {**reading.read_object(path), "owner": owner})  # a newer lab's keys stay
        return Run(run.folder)

    def delete(self, run_id: str, *, by: str = "", is_active: Callable[[Run], bool] | None = None) -> None:
        """Move a run to the trash, see core.runs.trash; a linked run folder only loses its link.

        is_active: says whether a run is being worked on, beyond its lock; the default believes status.json.
        Raises RunBusy while the run is alive or an unfinished U-Net run still needs it.
        """
        run = self.get(run_id)
        active = is_active or (lambda other: other.status().state.is_active)
        if active(run):
            raise RunBusy(f"run {run.id} is {run.status().state}", "stop it first")
        needed_by = [child.id for child in self.children(run.id) if active(child)]
        if needed_by:
            raise RunBusy(f"run {run.id} is needed by {needed_by[0]}, which is not done", "stop that run first")
        stranded = [child.id for child in self.children(run.id) if _lacks_its_vae(child)]
        if stranded:
            raise RunBusy(
                f"run {run.id} is needed by {stranded[0]}, which is not finished and has no copy of its VAE yet",
                "resume or delete that run first",
            )
        if run.folder.is_symlink():
            leftovers.remove_folder(run.folder)
            return
        lock = lock_in_run(lock_path(run), patience_s=0.5)
        if lock is None:
            raise RunBusy(f"run {run.id} is being worked on by a process", "stop it first")
        try:
            put_into_trash(self.root, run, by or current_user())
        except OSError as error:
            raise storage_error(error, self.root) from None
        finally:
            lock.release()

    def discard(self, run: Run) -> None:
        """Remove a run that was created a moment ago and never started."""
        with contextlib.suppress(OSError):  # it is gone already
            leftovers.remove_folder(run.folder)

    def _folders(self) -> Sequence[Path]:
        try:
            with os.scandir(self.root) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
        except OSError:
            return []
        return [self.root / name for name in names]

    def _write_new(self, run_id: str, files: dict[str, bytes]) -> None:
        try:
            atomic.make_folder(self.root)
            share_with(self.root, read_site()[0].group)
            atomic.write_folder(self.root / run_id, files)
        except OSError as error:
            raise storage_error(error, self.root) from None

    def _tip(self, text: str, runs: Runs) -> str:
        names = [run.id for run in runs] + [run.info.name for run in runs if run.info.name]
        close = difflib.get_close_matches(text, names, n=1, cutoff=0.6)
        if close:
            return f"did you mean {close[0]}?"
        return f"the newest is {runs[0].id}" if runs else f"there are no runs in {self.root}"


def lock_path(run: Run) -> Path:
    """The file whose lock a worker holds for as long as it works on the run."""
    return run.folder / "lock"


def run_info(run: Run) -> RunInfo:
    """run.json, checked. Raises RunNotFound when it is missing, damaged or no run's."""
    problem = _problem(run)
    if problem:
        raise RunNotFound(f"run {run.id} cannot be read: {problem}")
    return run.info


def check_name(name: str) -> str:
    """A run's name without outer blanks. Raises UsageError when it is too long or has control characters."""
    title = name.strip()
    if len(title) > MAX_NAME_LENGTH:
        raise UsageError(f"name: longer than {MAX_NAME_LENGTH} characters, got {len(title)}")
    if not title.isprintable():
        raise UsageError("name: has characters that cannot be printed")
    return title


def storage_error(error: OSError, where: Path) -> LabError:
    """An OSError while writing as one sentence: StorageFull when the disk or the quota is full, else whose it is."""
    if is_full_disk(error):
        return StorageFull(f"{where}: the disk or the quota is full", "free some space")
    if found := refusal(error, where):
        return found
    return LabError(f"{where}: cannot be written: {error.strerror or error}", "set site.runs or LAB_RUNS")


def _lacks_its_vae(run: Run) -> bool:
    """True for a U-Net run that could not go on without its VAE run."""
    return run.lacks_its_vae and run.status().state is not RunState.FINISHED


def _problem(run: Run) -> str:
    """What is wrong with run.json, '' for nothing; then `run.info` is at hand. Read again only when the file changed.

    What was read is shared by all stores and threads of this process.
    """
    path = run.folder / "run.json"
    key = str(path)
    try:
        found = path.stat()
    except PermissionError as error:
        return str(refusal(error, path))
    except (OSError, ValueError):
        return "no run.json"
    if not stat.S_ISREG(found.st_mode):
        return "no run.json"
    identity = (found.st_mtime_ns, found.st_size, found.st_ino)
    known = _remembered.get(key)
    if known is None or known[0] != identity:
        known = (identity, *_read(run))
        if time.time_ns() - found.st_mtime_ns > CLOCK_TICK_NS:
            _remembered.put(key, known)
    _, info, problem = known
    if info is not None:
        run.__dict__["info"] = info  # as its cached property does
    return problem


def _read(run: Run) -> tuple[RunInfo | None, str]:
    """run.json from the disk, and what is wrong with it."""
    run.__dict__.pop("info", None)
    try:
        return run.info, ""
    except RunNotFound as error:
        return None, error.message.partition(": ")[2]


def _fits(run_id: str, text: str) -> bool:
    return run_id.startswith(text) or run_id.endswith(text)


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
