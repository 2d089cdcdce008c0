"""Folders that appear and go in one step, and what is left of them when a process dies meanwhile.

Nobody who lists a folder sees what begins with a dot: there a folder is being made (`.tmp-…`) or removed (`.trash-…`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from core import atomic

HOUR_S, DAY_S = 3600.0, 24 * 3600.0  # no folder is a day in the making
PATTERNS = (".tmp-*", ".trash-*", ".removed-*", ".damaged-*", ".*.tmp")  # the last three by older versions, and files


@contextlib.contextmanager
def built_beside(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that is gone at the end unless it was renamed; sweeps what dead builders left."""
    atomic.make_folder(target.parent)
    sweep(target.parent)
    temporary = _hidden(target, "tmp")
    atomic.make_folder(temporary)
    try:
        yield temporary
        if target.is_dir() and not temporary.is_dir():  # whoever made its files, its group may write them too
            atomic.follow_tree(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: Path, target: Path, *, is_whole: Callable[[Path], bool] = Path.is_dir) -> None:
    """Rename a folder into place. Of two builders the first wins; one that is not whole makes room. Raises OSError."""
    atomic.fsync_dir(temporary)
    try:
        os.rename(temporary, target)
    except OSError:
        if is_whole(target):
            return
        remove_folder(target)
        os.rename(temporary, target)
    atomic.fsync_dir(target.parent)


def remove_folder(target: Path, *, within: Path | None = None) -> None:
    """The one way a folder goes: out of sight in one rename, then its files. An entry is what it is called, never what
    it points to: a link only loses the link, and no link inside is followed, whoever swaps a folder for one meanwhile.

    within: the folder above it that may itself be reached through links (the parent by default); on the way down from
    there a link is refused. Raises OSError when it is not there, lies behind a link or outside, or cannot be written;
    files that cannot be removed stay out of sight.
    """
    place = target.parent if within is None else within
    *way, name = _way_down(place, target)
    with _opened(place, way) as parent:
        away = _hidden(target, "trash").name
        os.rename(name, away, src_dir_fd=parent, dst_dir_fd=parent)
        if stat.S_ISDIR(os.stat(away, dir_fd=parent, follow_symlinks=False).st_mode):
            shutil.rmtree(away, ignore_errors=True, dir_fd=parent)
        else:
            os.unlink(away, dir_fd=parent)
    sweep(target.parent)


def _way_down(place: Path, target: Path) -> tuple[str, ...]:
    """The names that lead from `place` to `target`. Raises OSError when they lead out of it or nowhere."""
    way = target.relative_to(place).parts if target.is_relative_to(place) else ()
    if not way or ".." in way:
        raise OSError(errno.EINVAL, f"it does not lie in {place}", str(target))
    return way


@contextlib.contextmanager
def _opened(place: Path, way: Sequence[str]) -> Iterator[int]:
    """A descriptor of the folder that `way` leads to. Raises OSError, also for a link on the way."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(place, flags)
    try:
        for name in way:
            if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                raise OSError(errno.ELOOP, f"'{name}' is a link, and nothing is removed behind a link", str(place))
            below = os.open(name, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def find(parent: Path, *, older_than_s: float = DAY_S) -> list[Path]:
    """What folders and files that were being made or removed left in `parent`, unchanged for so long."""
    limit = time.time() - older_than_s
    return [path for pattern in PATTERNS for path in parent.glob(pattern) if _changed_at(path) <= limit]


def sweep(parent: Path, *, older_than_s: float = DAY_S) -> None:
    """Remove what `find` finds. older_than_s: 0 only where nobody else writes."""
    for path in find(parent, older_than_s=older_than_s):
        with contextlib.suppress(OSError):  # somebody else was faster, or it cannot be removed
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _hidden(target: Path, word: str) -> Path:
    return target.with_name(f".{word}-{target.name[:40]}-{uuid.uuid4().hex[:8]}")


def _changed_at(path: Path) -> float:
    """When it or what lies directly in it changed last; now, where that cannot be seen."""
    try:
        inside = [] if path.is_symlink() or not path.is_dir() else list(path.iterdir())
        return max(each.lstat().st_mtime for each in (path, *inside))
    except OSError:
        return time.time()
