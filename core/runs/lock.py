"""Advisory file locks. The kernel releases them when the holder dies, so a held lock is proof of life."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from core import atomic

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in the place of a lock must not hold anybody up


@dataclass(frozen=True)
class FileLock:
    """A lock that is held until `release` or the end of the process. Children do not inherit it."""

    path: Path
    descriptor: int

    def release(self) -> None:
        """Give it back."""
        os.close(self.descriptor)


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
