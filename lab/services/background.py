"""Work that takes seconds and survives leaving the page: one thread a key, shared by everybody who looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import streamlit as st

from core.bounded_cache import bytes_of
from core.errors import LabError, UsageError

KEPT, KEPT_BYTES = 32, 64 * 2**20  # of works that are done


class Tell(Protocol):
    """What a piece of work says of itself: its stage, how far it is (0 to 1), and what there is to see already."""

    def __call__(self, stage: str, fraction: float, look: Any = None) -> None:
        """Called by the work, in its thread. Raises a LabError once it was asked to stop."""


Task = Callable[[Tell, Callable[[], bool]], Any]


@dataclass(kw_only=True)
class Work:
    """One piece of work: what it is doing, how far it is, and in the end its result or its problem. look: the newest
    thing to see of it. watchers: whose it is, where it ends once nobody wants it any more (see `leave`)."""

    key: str
    stage: str = "starting"
    fraction: float = 0.0
    look: Any = None
    watchers: set[str] = field(default_factory=set)
    result: Any = None
    problem: LabError | None = None
    started: float = field(default_factory=time.monotonic)
    _done: threading.Event = field(default_factory=threading.Event)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def is_done(self) -> bool:
        """True when it ended, well or not."""
        return self._done.is_set()

    @property
    def is_cancelled(self) -> bool:
        """True when it was asked to stop."""
        return self._cancelled.is_set()

    @property
    def goes_on(self) -> bool:
        """True while it is neither done nor asked to stop."""
        return not (self.is_done or self.is_cancelled)

    def wait(self, seconds: float) -> bool:
        """Until it is done, at most so long; whether it is."""
        return self._done.wait(seconds)

    def cancel(self) -> None:
        """Ask it to stop; it ends with a problem that says so."""
        self._cancelled.set()

    def run(self, task: Task) -> None:
        """What its thread does."""
        try:
            self.result = task(self._tell, self._cancelled.is_set)
        except LabError as error:
            self.problem = error
        except Exception as error:  # in a thread nobody else would hear of it
            self.problem = LabError(f"unexpected {type(error).__name__}: {error}")
        finally:
            self._done.set()

    def _tell(self, stage: str, fraction: float, look: Any = None) -> None:
        if self.is_cancelled:
            raise LabError("it was cancelled")
        self.stage, self.fraction = stage, min(max(fraction, 0.0), 1.0)
        self.look = self.look if look is None else look


@st.cache_resource(show_spinner=False)
def _works() -> tuple[dict[str, Work], threading.Lock]:
    return {}, threading.Lock()


def begin(key: str, task: Task, *, watcher: str = "") -> Work:
    """The work of that key: the one that runs already and was not cancelled, else a new one; `watcher` wants it."""
    works, lock = _works()
    with lock:
        work = works.get(key)
        if work is None or not work.goes_on:
            work = _started(works, key, task)
        if watcher:
            work.watchers.add(watcher)
    return work


def own_key(what: str, by: str) -> str:
    """Of the work that `begin_alone` begins for this person: nobody else is told its outcome."""
    return f"{what} by {by}"


def begin_alone(what: str, by: str, task: Task, *, busy: str) -> Work:
    """A new work of this person. Raises UsageError, `busy` and whose it is, while anybody's of that `what` runs."""
    works, lock = _works()
    with lock:
        for key, work in works.items():
            if key.startswith(own_key(what, "")) and work.goes_on:
                raise UsageError(f"{busy} by {key.removeprefix(own_key(what, ''))}", "wait until it is done")
        return _started(works, own_key(what, by), task)


def _started(works: dict[str, Work], key: str, task: Task) -> Work:
    done = [name for name, found in works.items() if found.is_done]
    while len(done) > KEPT or (len(done) > 1 and sum(bytes_of(works[name].result) for name in done) > KEPT_BYTES):
        del works[done.pop(0)]
    works[key] = work = Work(key=key)
    threading.Thread(target=work.run, args=(task,), name=f"background {key}"[:60], daemon=True).start()
    return work


def leave(key: str, watcher: str) -> None:
    """This one wants it no longer; with the last of them it is cancelled."""
    works, lock = _works()
    with lock:
        work = works.get(key)
        if work is not None and watcher in work.watchers:
            work.watchers.remove(watcher)
            if not work.watchers:
                work.cancel()


def find(key: str) -> Work | None:
    """The newest work of that key, running or done."""
    return _works()[0].get(key)


def running(beginning: str) -> Work | None:
    """A work that is not done and whose key begins so."""
    works, lock = _works()
    with lock:
        return next((work for key, work in works.items() if key.startswith(beginning) and not work.is_done), None)


def forget(work: Work) -> None:
    """Its outcome was told. Another work that was begun under its key meanwhile stays."""
    works, lock = _works()
    with lock:
        if works.get(work.key) is work:
            del works[work.key]
