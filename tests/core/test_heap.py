"""A process that serves returns what it freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.home import code_root

# Blocks of half a megabyte, each followed by a small one that stays, as kept records lie between arrays
FILL_AND_FREE = """
import ctypes, sys
import psutil
from core.machine.heap import return_freed_memory
if sys.argv[1] == "returns":
    return_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.free(libc.malloc(16_000_000))  # glibc takes this for the size of what it will see again
before = psutil.Process().memory_info().rss
large, small = [], []
for _ in range(200):
    large.append(libc.malloc(500_000))
    ctypes.memset(large[-1], 1, 500_000)
    small.append(libc.malloc(1000))
for block in large:
    libc.free(block)
print((psutil.Process().memory_info().rss - before) // 1_000_000)
"""


def kept_mb(how: str) -> int:
    words = [sys.executable, "-c", FILL_AND_FREE, how]
    return int(subprocess.run(words, cwd=code_root(), capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_what_was_freed_between_what_stays_is_returned() -> None:
    assert kept_mb("returns") < 10
    assert kept_mb("keeps") > 50, "the C library returns it by itself: the setting is not needed"
