"""What runs and caches take on the disk, and a clean-up that says first what goes and what stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from core import leftovers
from core.errors import LabError, UsageError
from core.jobs.engines.choose import observed_status
from core.runs import trash
from core.runs.listing import list_checkpoints
from core.runs.lock import lock_in_run
from core.runs.provenance import current_user
from core.runs.rights import may_act, require_right
from core.runs.run import Run, RunState
from core.runs.store import RunStore, lock_path
from core.values import instant

Choice = Literal["old checkpoints", "failed runs", "unused caches", "trash"]
CACHE_KINDS = ("arrays", "latents", "judges", "studies", "overviews", "projections", "evaluations")


@dataclass(frozen=True, kw_only=True)
class RunSize:
    """Bytes of a run by what they are for. checkpoints: (step, bytes), oldest first."""

    run_id: str
    total_bytes: int
    checkpoints: tuple[tuple[int, int], ...]
    previews_bytes: int
    log_bytes: int
    metrics_bytes: int


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """A folder of the cache. last_used: when a file in it was last read or written. used_by: active runs."""

    kind: str
    name: str
    size_bytes: int
    last_used: str
    used_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that would go. owner: whose it is; None for what belongs to nobody."""

    words: str
    path: Path
    size_bytes: int
    owner: str | None = None


@dataclass(frozen=True, kw_only=True)
class CleanupPlan:
    """What a clean-up would remove, and in words what it leaves."""

    choice: Choice
    goes: tuple[Item, ...]
    stays: tuple[str, ...]
    bytes: int


def run_sizes(store: RunStore) -> list[RunSize]:
    """What each run takes; a run whose folders have not changed is not walked again."""
    return [run_size(run) for run in store.list()]


def run_size(run: Run) -> RunSize:
    """What one run takes; it is walked again only where one of its folders has changed."""
    return _measure(run.folder, size_stamp(run))


def size_stamp(run: Run) -> tuple[float, ...]:
    """When each part of a run that may grow was last changed."""
    parts = (run.checkpoints_dir, run.previews_dir, run.metrics_path, run.log_path, run.evaluations_dir)
    return tuple(_mtime(path) for path in (run.folder, *parts))


def cache_entries(cache_dir: Path, store: RunStore | None = None) -> list[CacheEntry]:
    """Arrays, latents, judges, images of evaluations, and what the Latents and Data pages measured.

    used_by needs the store; without it nothing is known to be in use.
    """
    active = [run for run in store.list() if observed_status(run).state.is_active] if store else []
    found = []
    for kind in CACHE_KINDS:
        for folder in _folders(cache_dir / kind):
            if folder.name.startswith("."):
                continue
            found.append(
                CacheEntry(
                    kind=kind,
                    name=folder.name,
                    size_bytes=_bytes_of(folder),
                    last_used=datetime.fromtimestamp(_last_used(folder), UTC).isoformat(timespec="seconds"),
                    used_by=tuple(run.id for run in active if _uses(run, folder.name)),
                )
            )
    return found


def plan_cleanup(
    store: RunStore, cache_dir: Path, *, choice: Choice, older_than_days: float, by: str = ""
) -> CleanupPlan:
    """What would go, and what stays although one might think it goes. Removes nothing.

    by: who cleans up; what they may not act on stays.
    Raises UsageError for an unknown choice.
    """
    if choice not in get_args(Choice):
        raise UsageError(f"clean-up: must be one of {', '.join(get_args(Choice))}, got '{choice}'")
    limit = datetime.now(UTC) - timedelta(days=older_than_days)
    goes: list[Item] = []
    stays: list[str] = []
    if choice == "old checkpoints":
        _plan_checkpoints(store, limit, goes, stays)
    elif choice == "failed runs":
        _plan_failed(store, limit, goes, stays)
    elif choice == "unused caches":
        _plan_caches(store, cache_dir, limit, goes, stays)
    else:
        for each in trash.list_trash(store):
            if (instant(each.at) or limit) <= limit:
                words = f"deleted run {each.name or each.id}"
                path = store.root / trash.FOLDER / each.id
                goes.append(Item(words=words, path=path, size_bytes=each.size_bytes, owner=each.owner))
            else:
                stays.append(f"{each.name or each.id}, deleted less than {older_than_days:g} days ago")
    theirs = [item for item in goes if item.owner is not None and not may_act(item.owner, by or current_user())]
    if theirs:
        goes = [item for item in goes if item not in theirs]
        stays.append(
            f"{len(theirs)} of other people: only they and admins remove {'it' if len(theirs) == 1 else 'them'}"
        )
    return CleanupPlan(choice=choice, goes=tuple(goes), stays=tuple(stays), bytes=sum(item.size_bytes for item in goes))


def apply_cleanup(store: RunStore, plan: CleanupPlan, by: str) -> int:
    """Remove what the plan names and what still may go; the bytes that became free.

    Failed runs go to the trash. Each item is looked at again first: nothing that became active, nothing outside the
    places it was planned from, and never the newest checkpoint of a run.
    """
    freed = 0
    for item in plan.goes:
        try:
            freed += _remove(store, plan.choice, item, by)
        except (LabError, OSError):
            continue  # it is in use now, or gone already
    return freed


def _plan_checkpoints(store: RunStore, limit: datetime, goes: list[Item], stays: list[str]) -> None:
    active = kept = 0
    for run in store.list():
        if observed_status(run).state.is_active:
            active += 1
            continue
        checkpoints = list_checkpoints(run)
        kept += bool(checkpoints)
        for info in checkpoints[:-1]:
            if datetime.fromtimestamp(info.path.stat().st_mtime, UTC) <= limit:
                words = f"checkpoint of step {info.step:,} of {run.info.name or run.id}"
                owner = run.info.owner
                goes.append(Item(words=words, path=info.path, size_bytes=info.size_bytes, owner=owner))
    if kept:
        stays.append(f"the newest checkpoint of each of {kept} run{'s' if kept > 1 else ''}")
    if active:
        stays.append(f"every checkpoint of {active} active run{'s' if active > 1 else ''}")


def _plan_failed(store: RunStore, limit: datetime, goes: list[Item], stays: list[str]) -> None:
    runs = store.list()
    needed = {parent for run in runs if observed_status(run).state.is_active for parent in run.info.parents}
    for run in runs:
        status = observed_status(run)
        if status.state not in (RunState.FAILED, RunState.INTERRUPTED):
            continue
        name = run.info.name or run.id
        if run.id in needed:
            stays.append(f"{name}: an active run needs it")
        elif (ended := instant(status.heartbeat_at or run.info.created_at)) is None:
            stays.append(f"{name}: it does not say when it ended")
        elif ended > limit:
            stays.append(f"{name}: it ended too lately")
        else:
            words, num_bytes = f"run {name} ({status.state})", _bytes_of(run.folder)
            goes.append(Item(words=words, path=run.folder, size_bytes=num_bytes, owner=run.info.owner))


def _plan_caches(store: RunStore, cache_dir: Path, limit: datetime, goes: list[Item], stays: list[str]) -> None:
    for entry in cache_entries(cache_dir, store):
        words = f"{entry.kind} {entry.name}"
        if entry.used_by:
            stays.append(f"{words}: used by {entry.used_by[0]}")
        elif (instant(entry.last_used) or limit) > limit:
            stays.append(f"{words}: used lately")
        else:
            goes.append(Item(words=words, path=cache_dir / entry.kind / entry.name, size_bytes=entry.size_bytes))
    for kind in CACHE_KINDS:
        for folder in leftovers.find(cache_dir / kind, older_than_s=leftovers.HOUR_S):
            words = f"what an interrupted preparation of {kind} left"
            goes.append(Item(words=words, path=folder, size_bytes=_bytes_of(folder)))


def _remove(store: RunStore, choice: Choice, item: Item, by: str) -> int:
    if choice == "trash":
        return trash.remove_for_good(store, item.path.name, by=by)
    if item.owner is not None:
        require_right(item.owner, by, f"remove {item.words}")
    if choice == "failed runs":
        store.delete(item.path.name, by=by, is_active=lambda run: observed_status(run).state.is_active)
        return item.size_bytes
    if choice == "old checkpoints":
        run = Run(item.path.parent.parent)
        if run.folder.parent.resolve() != store.root.resolve() or observed_status(run).state.is_active:
            return 0
        lock = lock_in_run(lock_path(run), patience_s=0.3)
        if lock is None:
            return 0
        try:
            older = [info.path for info in list_checkpoints(run)[:-1]]
            if item.path not in older:
                return 0
            leftovers.remove_folder(item.path, within=run.folder)
            run.put_on_record("checkpoint removed", by=by, checkpoint=item.path.name)
            return item.size_bytes
        finally:
            lock.release()
    if item.path.parent.name not in CACHE_KINDS or item.path.is_symlink():
        return 0
    if any(_uses(run, item.path.name) for run in store.list() if observed_status(run).state.is_active):
        return 0
    leftovers.remove_folder(item.path)
    return item.size_bytes


@lru_cache(maxsize=4096)
def _measure(folder: Path, stamp: tuple[float, ...]) -> RunSize:
    run = Run(folder)
    return RunSize(
        run_id=run.id,
        total_bytes=_bytes_of(run.folder),
        checkpoints=tuple((info.step, info.size_bytes) for info in list_checkpoints(run)),
        previews_bytes=_bytes_of(run.previews_dir),
        log_bytes=_size_of(run.log_path),
        metrics_bytes=_size_of(run.metrics_path),
    )


def _uses(run: Run, name: str) -> bool:
    """A cache entry's name begins with the dataset's."""
    return name.startswith(f"{run.info.dataset.get('name', '')}-") or name == run.info.dataset.get("name")


def _files(folder: Path) -> Iterator[os.stat_result]:
    stack = [folder]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(Path(entry.path))
                    else:
                        yield entry.stat(follow_symlinks=False)
        except OSError:
            continue


def _bytes_of(folder: Path) -> int:
    return sum(stat.st_size for stat in _files(folder))


def _last_used(folder: Path) -> float:
    return max((max(stat.st_atime, stat.st_mtime) for stat in _files(folder)), default=_mtime(folder))


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return []


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
