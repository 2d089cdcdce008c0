"""The thread of a process that a confinement of its other threads leaves out. Standard library only.

Landlock binds the thread that asks for it, and hides from it the environment and open files of processes that are not
bound as it is. What must see those, or start a process that is not bound, is called in this thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_threads: list[ThreadPoolExecutor] = []  # one at most


def keep_outside() -> None:
    """Have such a thread from now on, which is not bound by what this one does to itself later."""
    if not _threads:
        _threads.append(ThreadPoolExecutor(1, "outside"))
        _threads[0].submit(int).result()  # it starts now


def outside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call the function in that thread; in this one where there is none. Raises what the function raises."""
    return _threads[0].submit(function, *args, **kwargs).result() if _threads else function(*args, **kwargs)


os.register_at_fork(after_in_child=_threads.clear)  # threads are not copied
