"""How the C library keeps memory that was freed."""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
LARGE = 256 * 1024  # bytes of a block that is a mapping of its own, returned when it is freed
HEAPS = 2


def return_freed_memory() -> None:
    """For a process of many threads that lives for months: few heaps, and large blocks outside them.

    Else each thread of glibc may get a heap, an array that was freed leaves a hole where small blocks settle, and the
    process grows for as long as it serves (docs/log.md). Does nothing where the C library is another.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((M_ARENA_MAX, HEAPS), (M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, LARGE)):
            mallopt(parameter, value)
