"""Where a process of a shared runs folder may write, held by the kernel. Standard library and `outside` only.

Members of the group can put a link in the place of a run's folder, or of a folder in it, at any moment. Landlock binds
what a process may write to folders as they are when it starts, whatever names lead to later.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path

from core.machine.outside import keep_outside

SEAL_VARIABLE = "LAB_SEAL"  # in the environment of processes in a runs folder that other accounts may write
FOLDERS = ("LAB_DATA", "LAB_CACHE", "LAB_IMPORTS")  # a worker's own, beside the runs folder
SYSTEM = ("/dev", "/proc")
CACHES = (".cache", ".nv")  # of libraries, in the account's home
FEWEST = 3  # version of Landlock that knows renaming between folders and cutting files short: Linux 6.2
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, on every architecture
_VERSION, _BENEATH, _NO_NEW_PRIVILEGES = 1, 1, 38
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_WRITE = _WRITE_FILE | sum(1 << bit for bit in range(4, 14)) | _TRUNCATE  # to make, remove and rename as well


def version() -> int:
    """Of Landlock in this kernel; 0 where it has none."""
    return max(0, _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)))


def confine(runs: Path, *, sees_others: bool = False) -> bool:
    """From now on this process, which has one thread, and what it starts write in the runs folder, its own folders and
    temporary ones alone. Whether it is so: False where the folder is one account's, and where the kernel cannot.

    sees_others: `core.machine.outside` keeps a thread that still sees processes which are bound otherwise.
    """
    if not os.environ.get(SEAL_VARIABLE) or version() < FEWEST:
        return False
    if sees_others:
        keep_outside()
    named = [os.environ[name] for name in FOLDERS if os.environ.get(name)]
    for folder in named:
        with contextlib.suppress(OSError):
            Path(folder).mkdir(parents=True, exist_ok=True)
    home = os.environ.get("HOME", "")
    caches = [f"{home}/{name}" for name in CACHES] if home.startswith("/") else []
    return _restrict([str(runs), *named, tempfile.gettempdir(), *SYSTEM, *caches])


def confine_thread(runs: Path) -> bool:
    """From now on this thread and what it starts write in the runs folder and temporary ones alone. Whether it is so.

    What `core.machine.outside` calls is not bound.
    """
    if version() < FEWEST:
        return False
    keep_outside()
    return _restrict([str(runs), tempfile.gettempdir(), *SYSTEM])


def _restrict(folders: Iterable[str]) -> bool:
    rules = _call(_CREATE, struct.pack("=Q", _WRITE), ctypes.c_size_t(8), ctypes.c_uint32(0))
    if rules < 0:
        return False
    try:
        for folder in folders:
            with contextlib.suppress(OSError):
                descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                rule = struct.pack("=Qi", _WRITE, descriptor)
                _call(_ADD, ctypes.c_int(rules), ctypes.c_int(_BENEATH), rule, ctypes.c_uint32(0))
                os.close(descriptor)
        ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return _call(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0)) == 0
    finally:
        os.close(rules)


def _call(number: int, *arguments: object) -> int:
    """What the system call returns, -1 for an error."""
    return int(ctypes.CDLL(None).syscall(ctypes.c_long(number), *arguments))
