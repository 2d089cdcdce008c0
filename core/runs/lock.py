"""Advisory file locks. The kernel releases them when the holder dies, so a held lock is proof of life."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from core import atomic
from core.config.load import read_site

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in the place of a lock must not hold anybody up


CLAIM_S = 120.0  # a claim that is older was left by a process that died: what it guards takes less than a second


@dataclass(frozen=True)
class FileLock:
    """A lock that is held until `release` or the end of the process. Children do not inherit it.

    is_claim: the file itself is the lock, and goes when it is given back.
    """

    path: Path
    descriptor: int
    is_claim: bool = False

    def release(self) -> None:
        """Give it back."""
        if self.is_claim and _still_there(self.path, self.descriptor):
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def lock_in_run(path: Path, *, patience_s: float = 0.0) -> FileLock | None:
    """The lock on a file of a run's folder for a moment: `try_lock`, or a claim where runs lie on a shared file system,
    whose locks are not to be relied on: a file that only one process can make. Raises OSError like it."""
    if read_site()[0].engine == "local":
        return try_lock(path, patience_s=patience_s)
    claim, deadline = path.with_name(f".{path.name}.claim"), time.monotonic() + patience_s
    while True:
        try:
            descriptor = os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o660)
            return FileLock(claim, descriptor, is_claim=True)
        except FileExistsError:
            if _drop_stale(claim):
                continue
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.05)


def _drop_stale(claim: Path) -> bool:
    """Remove a claim whose maker died; whether there is none now, or another.

    Of several who try, one renames it away; none renames a fresh one.
    """
    try:
        found = claim.stat()
        if time.time() - found.st_mtime < CLAIM_S:
            return False
        away = claim.with_name(f"{claim.name}.{os.getpid()}")
        os.rename(claim, away)
        if not os.path.samestat(found, away.stat()):  # a fresh one had come in its place
            with contextlib.suppress(FileExistsError):
                os.link(away, claim)
        away.unlink()
    except FileNotFoundError:
        pass
    return True


def try_lock(path: Path, *, patience_s: float = 0.0) -> FileLock | None:
    """Take the exclusive lock on `path` (created when missing), or None while another process holds it.

    patience_s: keep trying that long. Raises OSError when the file cannot be opened.
    """
    deadline = time.monotonic() + patience_s
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        else:
            if _still_there(path, descriptor):
                return FileLock(path, descriptor)
            os.close(descriptor)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.05)


def adopt_lock(path: Path, descriptor: int) -> FileLock:
    """The lock that the launcher took and handed down; it was never free in between."""
    os.set_inheritable(descriptor, False)
    return FileLock(path, descriptor)


def is_locked(path: Path) -> bool:
    """True while a process holds the lock on `path`; a missing file is not locked. Many may ask at once.

    Also True for the lock of another account, at which this one may not look.
    """
    try:
        descriptor = os.open(path, _READ)
    except PermissionError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(path: Path) -> int:
    try:
        return atomic.open_private(path, os.O_NONBLOCK)
    except PermissionError as error:
        try:
            return os.open(path, _READ)  # another person's file: flock needs no write permission
        except FileNotFoundError:  # there is none, and none may be made
            raise error from None


def _still_there(path: Path, descriptor: int) -> bool:
    """False when the file was removed or replaced (a deleted run) between opening and locking it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
