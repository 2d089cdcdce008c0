"""A disk of a few megabytes that is really full: a tmpfs, where the tests may mount one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FILLER = "filler"


@contextlib.contextmanager
def mounted(folder: Path, size_bytes: int) -> Iterator[Path]:
    """An empty disk of that size. Skips the test where nothing can be mounted."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, *, leave_bytes: int = 0) -> None:
    """Fill it up but for so many bytes."""
    found = os.statvfs(disk)
    descriptor = os.open(disk / FILLER, os.O_RDWR | os.O_CREAT)
    has = os.fstat(descriptor).st_blocks * 512
    os.posix_fallocate(descriptor, 0, has + found.f_bavail * found.f_frsize - leave_bytes)
    os.close(descriptor)


def make_room(disk: Path) -> None:
    """Take back what `fill` took."""
    (disk / FILLER).unlink(missing_ok=True)
