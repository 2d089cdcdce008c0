"""Deleted runs, kept for a while: `<runs>/.trash/<run id>/`, and beside it `<run id>.json` with who and when.

Moving there and back is one rename; killed anywhere, the run is here or there, whole.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from core import atomic, leftovers, reading
from core.errors import LabError, RunBusy, RunNotFound, quoted
from core.permissions import refusal
from core.runs.rights import require_right
from core.runs.run import Run, now_iso
from core.values import Count, instant

FOLDER = ".trash"
FORMAT = 1  # of the facts beside a deleted run


class RunsFolder(Protocol):
    """What this module needs of the store that calls it."""

    root: Path


@dataclass(frozen=True, kw_only=True)
class Trashed:
    """A deleted run: what it was, who deleted it when, and when it goes for good ('' when it is kept)."""

    id: str = ""
    name: str = ""
    kind: str = ""
    owner: str = ""
    by: str = ""
    at: str = ""
    size_bytes: Count = 0
    expires_at: str = ""


def put_into_trash(root: Path, run: Run, by: str) -> None:
    """Move a run folder to the trash; the caller holds its lock and has checked that nobody needs it."""
    info = run.info
    trash = root / FOLDER
    atomic.make_folder(trash, parents=False)
    if trash.is_symlink():
        raise LabError(f"{trash}: is a link, and nothing is removed behind a link", "make it a folder")
    target = trash / run.id
    if target.exists():  # an older one of that id, brought back as a copy meanwhile
        _remove(target)
    facts = {
        "format": FORMAT,
        "by": by,
        "at": now_iso(),
        "name": info.name,
        "kind": info.kind,
        "owner": info.owner,
        "size_bytes": _size(run.folder),
    }
    atomic.write_json(trash / f"{run.id}.json", facts)
    run.folder.rename(target)
    atomic.fsync_dir(root)
    if target.is_symlink():  # the folder was swapped for a link meanwhile
        _remove(target)
        return
    Run(target).put_on_record("deleted", by=by)


def list_trash(store: RunsFolder, *, keep_days: float | None = None) -> list[Trashed]:
    """What can be brought back, newest first. keep_days: as `site.trash_days`, to say when each goes for good."""
    found = []
    for folder in _folders(store):
        try:
            facts = reading.read_record(store.root / FOLDER / f"{folder.name}.json", Trashed)
        except (OSError, reading.Unreadable):
            facts = Trashed(size_bytes=_size(folder))
        at = facts.at or datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat()
        expires_at = "" if keep_days is None else _later(at, keep_days)
        found.append(replace(facts, id=folder.name, at=at, expires_at=expires_at))
    return sorted(found, key=lambda trashed: trashed.at, reverse=True)


def restore(store: RunsFolder, run_id: str, *, by: str) -> Run:
    """Bring a run back, by its id, a part of it, or its name. Raises RunNotFound, NotAllowed, and
    RunBusy when it is there again."""
    folder = _find(store, run_id)
    _require_right(store, folder.name, by, "restore")
    target = store.root / folder.name
    if target.exists():
        raise RunBusy(f"run {folder.name} exists again", "delete or rename that folder first")
    try:
        folder.rename(target)
    except OSError as error:
        raise refusal(error, folder) or error from None
    atomic.fsync_dir(store.root)
    with contextlib.suppress(OSError):  # without its run it goes with the next sweep
        (store.root / FOLDER / f"{folder.name}.json").unlink(missing_ok=True)
    run = Run(target)
    run.put_on_record("restored", by=by)
    return run


def remove_for_good(store: RunsFolder, run_id: str, *, by: str) -> int:
    """Remove one run from the trash; bytes that became free. Raises RunNotFound, NotAllowed."""
    folder = _find(store, run_id)
    _require_right(store, folder.name, by, "remove")
    size = _size(folder)
    _remove(folder)
    return size


def empty_trash(store: RunsFolder, *, older_than_days: float = 0.0, only: Collection[str] | None = None) -> int:
    """Remove what was deleted longer ago than that, and what interruptions left; bytes that became free.

    only: ids; the others stay. A run that somebody restored or removed meanwhile is no error.
    """
    limit = datetime.now(UTC) - timedelta(days=older_than_days)
    freed = 0
    for trashed in list_trash(store):
        if (only is None or trashed.id in only) and (instant(trashed.at) or datetime.now(UTC)) <= limit:
            freed += trashed.size_bytes
            _remove(store.root / FOLDER / trashed.id)
    for half_removed in (store.root / FOLDER).glob(".trash-*"):
        with contextlib.suppress(OSError):
            leftovers.remove_folder(half_removed, within=store.root)
    leftovers.sweep(store.root / FOLDER, older_than_s=leftovers.HOUR_S)  # another process may be writing there
    for facts in (store.root / FOLDER).glob("*.json"):
        with contextlib.suppress(OSError):
            if not facts.with_suffix("").exists() and facts.stat().st_mtime < time.time() - leftovers.HOUR_S:
                facts.unlink()
    leftovers.sweep(store.root, older_than_s=leftovers.HOUR_S)
    return freed


def _require_right(store: RunsFolder, run_id: str, by: str, act: str) -> None:
    owner = next((each.owner for each in list_trash(store) if each.id == run_id), "")
    require_right(owner, by, f"{act} run {run_id}")


def _find(store: RunsFolder, text: str) -> Path:
    """The trashed folder of that id, or of the run of that name; the text never becomes part of a path."""
    folders = _folders(store)
    text = text.strip()
    named = [found.id for found in list_trash(store) if text and found.name == text]
    matches = [folder for folder in folders if folder.name == text] or [
        folder
        for folder in folders
        if folder.name in named or (len(text) >= 3 and (folder.name.startswith(text) or folder.name.endswith(text)))
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RunNotFound(f"'{quoted(text)}' fits {len(matches)} deleted runs", "give more of the id")
    hint = f"there is {', '.join(folder.name for folder in folders[:5])}" if folders else "the trash is empty"
    raise RunNotFound(f"deleted run '{quoted(text)}' does not exist", hint)


def _folders(store: RunsFolder) -> list[Path]:
    trash = store.root / FOLDER
    try:
        entries = [] if trash.is_symlink() else sorted(trash.iterdir())
    except OSError:
        return []
    return [path for path in entries if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")]


def _remove(folder: Path) -> None:
    """Out of sight in one step, then removed; one that is gone already is no error."""
    try:
        leftovers.remove_folder(folder, within=folder.parent.parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise refusal(error, folder) or LabError(f"{folder}: cannot be removed: {error.strerror}") from None
    folder.with_name(f"{folder.name}.json").unlink(missing_ok=True)


def _size(folder: Path) -> int:
    """Bytes of all files; a hard-linked file counts once."""
    seen: dict[tuple[int, int], int] = {}
    for path in folder.rglob("*"):
        try:
            stat = path.lstat()
        except OSError:
            continue
        if not path.is_dir():
            seen[(stat.st_dev, stat.st_ino)] = stat.st_size
    return sum(seen.values())


def _later(at: str, days: float) -> str:
    return ((instant(at) or datetime.now(UTC)) + timedelta(days=days)).isoformat(timespec="seconds")
