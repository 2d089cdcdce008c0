"""Loaded models, shared by all sessions: nobody's model is released while it draws. Knows nothing of PyTorch."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any


class _Place:
    """One model: who is at work with it, and a lock so that it is loaded once."""

    def __init__(self) -> None:
        self.loading = threading.Lock()
        self.model: Any = None
        self.leases = 0


class ModelShelf:
    """At most `most` models that nobody uses are kept, the one used longest ago goes first; a leased one never goes.

    A model's forward pass changes nothing in it, so any number of sessions may draw with one at the same time; each
    model has its own lock for loading only, and one that loads keeps nobody from drawing with another.
    """

    def __init__(self, *, most: int, on_release: Callable[[], None] = lambda: None) -> None:
        self.most = most
        self._on_release = on_release
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def lease(self, key: Hashable, load: Callable[[], Any]) -> Iterator[Any]:
        """The model of `key`, loaded by `load` when it is not on the shelf; it stays at least until the block ends."""
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            place.leases += 1
        try:
            with place.loading:
                if place.model is None:
                    place.model = load()
            yield place.model
        finally:
            with self._lock:
                place.leases -= 1
            self.trim()

    def trim(self, most: int | None = None) -> None:
        """Release models that nobody uses until at most `most` (default: the shelf's own bound) are left."""
        bound = self.most if most is None else most
        released = False
        with self._lock:
            for key in [key for key, place in self._places.items() if not place.leases]:
                empty = self._places[key].model is None
                if empty or len(self._places) > bound:
                    released = released or not empty
                    del self._places[key]
        if released:
            self._on_release()

    def kept(self) -> list[Hashable]:
        """Keys on the shelf, the one used last at the end."""
        with self._lock:
            return list(self._places)

    def leases(self, key: Hashable) -> int:
        """How many are at work with a model."""
        with self._lock:
            place = self._places.get(key)
            return place.leases if place else 0
