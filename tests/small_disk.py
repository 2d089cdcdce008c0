"""A disk of a few megabytes that is really full: a tmpfs, where the tests may mount one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FILLER = "filler"
MB = 2**20


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
    """Fill it up but for so many bytes, also while others write to it: it writes until nothing more fits."""
    descriptor = os.open(disk / FILLER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for chunk in (b"x" * MB, b"x"):
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, chunk)
    os.ftruncate(descriptor, os.fstat(descriptor).st_size - leave_bytes)
    os.close(descriptor)


def make_room(disk: Path) -> None:
    """Take back what `fill` took."""
    (disk / FILLER).unlink(missing_ok=True)
