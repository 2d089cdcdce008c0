"""`python -m core.compute.worker`: answers the questions that arrive over its standard input, each in a thread.

It ends when its server hangs up or dies, whatever it computes then.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from core import errors
from core.compute import wire
from core.compute.question import Answer, Progress, Question, Tell
from core.errors import LabError

_IMPORTING = threading.Lock()  # two threads in the first import of diffusers break it


def main() -> None:
    """Until the control socket closes. A question comes as one end of a socket pair of its own."""
    control = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    try:
        while (found := socket.recv_fds(control, 1, 1))[0]:
            for descriptor in found[1]:  # none where this process has no room for one more: its asker sees it closed
                threading.Thread(target=answer, args=(socket.socket(fileno=descriptor),)).start()
    finally:  # whatever it meets, nobody waits for one that takes no questions
        os._exit(0)


class Teller:
    """Sends progress to whoever asked."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __call__(self, stage: str, fraction: float, look: Any = None) -> None:
        """Raises HungUp when nobody listens any more."""
        if self.is_cancelled():
            raise wire.HungUp
        wire.send(self._sock, (Progress(stage=stage, fraction=fraction, look=look), uses_gpu()))

    def is_cancelled(self) -> bool:
        """Whether nobody listens any more."""
        return wire.has_hung_up(self._sock)


def answer(sock: socket.socket) -> None:
    """One question to its end: progress, then the answer or one LabError, each with whether a GPU is in use."""
    with sock, contextlib.suppress(wire.HungUp):
        try:
            question, request, named = wire.receive(sock)
            value = function_of(question)(Teller(sock), *request, **named)
            wire.send(sock, (Answer(value=value), uses_gpu()))
        except wire.HungUp:
            return
        except LabError as error:
            known = getattr(errors, type(error).__name__, None) is type(error)
            wire.send(sock, (error if known else LabError(error.message, error.hint), uses_gpu()))
        except Exception as error:
            traceback.print_exc()  # into the server's own log
            wire.send(sock, (LabError(f"unexpected {type(error).__name__}: {error}"), uses_gpu()))


def import_ahead(tell: Tell, module: str) -> None:
    """So that the first question does not wait for it."""
    _imported(module)


def function_of(question: Question[..., Any]) -> Callable[..., Any]:
    """The function itself; its module is imported by one thread at a time."""
    return getattr(_imported(question.module), question.name)


def _imported(name: str) -> ModuleType:
    with _IMPORTING:
        if name not in sys.modules:
            gc.disable()  # looking for garbage meanwhile takes a fifth of the time
            try:
                importlib.import_module(name)
            finally:
                gc.freeze()  # what was imported stays
                gc.enable()
        return sys.modules[name]


def uses_gpu() -> bool:
    """Whether this process holds a context on a GPU."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


if __name__ == "__main__":
    from core.compute import worker  # under one name, whoever imports it

    worker.main()
