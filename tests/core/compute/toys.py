"""Answers of a process that computes, small enough for tests. Light: it starts in a moment."""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from core.compute import wire
from core.compute.question import Question, Tell
from core.errors import LabError, UsageError

SPOKEN = "tests.core.compute.toys"
COUNT: Question[[int], int] = Question(SPOKEN, "count")
FOREVER: Question[[Path], None] = Question(SPOKEN, "forever")
WHO: Question[[], int] = Question(SPOKEN, "who")
COLLECTS: Question[[], bool] = Question(SPOKEN, "collects")
REFUSE: Question[[], None] = Question(SPOKEN, "refuse")
SPLIT: Question[[], None] = Question(SPOKEN, "split")
OWN_ERROR: Question[[], None] = Question(SPOKEN, "own_error")
DIE: Question[[], None] = Question(SPOKEN, "die")
GROW: Question[[int], None] = Question(SPOKEN, "grow")
ECHO: Question[[np.ndarray], np.ndarray] = Question(SPOKEN, "echo")
HOLD_GPU: Question[[], int] = Question(SPOKEN, "hold_gpu")
BEGIN_ON_GPU: Question[[], None] = Question(SPOKEN, "begin_on_gpu")
TICK: Question[[], None] = Question(SPOKEN, "tick")
HUGE: Question[[], np.ndarray] = Question(SPOKEN, "huge")
UNSPEAKABLE: Question[[], object] = Question(SPOKEN, "unspeakable")
FEW_FILES: Question[[int], None] = Question(SPOKEN, "few_files")
NOWHERE: Question[[], None] = Question(SPOKEN, "nowhere")


class LocalError(LabError):
    """One that the other side cannot know."""


def count(tell: Tell, total: int) -> int:
    for at in range(total):
        tell("counting", at / total, np.full((3, 2), at, np.float32))
    return total


def forever(tell: Tell, mark: Path) -> None:
    with marked(mark):
        while True:
            tell("waiting", 0.5)
            time.sleep(0.01)


@contextmanager
def marked(mark: Path) -> Iterator[None]:
    mark.write_text("works")
    try:
        yield
    finally:
        mark.write_text("ended")


def who(tell: Tell) -> int:
    return os.getpid()


def collects(tell: Tell) -> bool:
    return gc.isenabled() and gc.get_freeze_count() > 0


def refuse(tell: Tell) -> None:
    raise UsageError("label: must be from 0 to 9, got 12", "choose another one")


def own_error(tell: Tell) -> None:
    raise LocalError("too steep", "flatten it")


def split(tell: Tell) -> None:
    raise ValueError("no such axis")


def die(tell: Tell) -> None:
    tell("about to", 0.0)
    os.kill(os.getpid(), 9)


def grow(tell: Tell, megabytes: int) -> None:
    held = []
    while len(held) < megabytes:
        held.append(np.ones(2**17))
    while True:
        tell("holding", 1.0)
        time.sleep(0.01)


def echo(tell: Tell, value: np.ndarray) -> np.ndarray:
    return value


def hold_gpu(tell: Tell) -> int:
    """As PyTorch looks once it has touched a GPU."""
    cuda = SimpleNamespace(is_initialized=lambda: True)
    sys.modules.setdefault("torch", SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]
    return os.getpid()


def tick(tell: Tell) -> None:
    while True:
        tell("ticking", 0.5)
        time.sleep(0.01)


def begin_on_gpu(tell: Tell) -> None:
    hold_gpu(tell)
    tick(tell)


def huge(tell: Tell) -> np.ndarray:
    """Takes addresses and no memory."""
    return np.empty(wire.MOST_BYTES + 1, np.uint8)


def unspeakable(tell: Tell) -> object:
    return lambda: None


def few_files(tell: Tell, more: int) -> None:
    """From now on this process may open so many files more."""
    used = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
