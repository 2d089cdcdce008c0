"""A command of `python -m core` in a process of its own, so that the server stays small and answers meanwhile.
It ends with the server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import psutil

from core.bound_child import bound_child
from core.config.schema import project_root
from lab.services import background
from lab.services.background import Tell

POLITE = 10  # of Unix' niceness: what people look at comes first
ERROR = "error: "
PYTHON: Sequence[str] = (sys.executable,)


def run_child(arguments: Sequence[str], tell: Tell, cancelled: Callable[[], bool], *, polite: bool = False) -> str:
    """Run it to its end, pass its progress on ('words, a tab, 0 to 1' on stderr); '' or what went wrong, in words.

    polite: it gives way to everything else on the machine.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project_root())}
    with bound_child(
        [*PYTHON, "-m", "core", *arguments],
        cwd=project_root(),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        if polite:
            with contextlib.suppress(psutil.Error, OSError):
                psutil.Process(child.pid).nice(POLITE)
        problem = _listen(child, tell, cancelled)
    return problem or f"it ended with code {child.returncode}" if child.returncode else ""


def _listen(child: subprocess.Popen[str], tell: Tell, cancelled: Callable[[], bool]) -> str:
    """Pass on the progress; the last error it told, or ''."""
    problem = ""
    assert child.stderr is not None
    stopper = background.begin(f"stopper-{child.pid}", lambda *_: _stop_when(child, cancelled))
    try:
        for line in child.stderr:
            stage, _, fraction = line.rstrip().rpartition("\t")
            if stage:
                with contextlib.suppress(ValueError):
                    tell(stage[:1].upper() + stage[1:], float(fraction))
            elif line.startswith(ERROR):
                problem = line.removeprefix(ERROR).strip()
        child.wait()
    finally:  # `tell` raises when the work was cancelled
        stopper.wait(2.0)
        background.forget(stopper)
    return "it was cancelled" if cancelled() else problem


def _stop_when(child: subprocess.Popen[str], cancelled: Callable[[], bool]) -> None:
    while child.poll() is None:
        if cancelled():
            child.kill()
            return
        try:
            child.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
