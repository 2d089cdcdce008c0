"""A bounded cache that threads share: the value used longest ago goes first, and none goes while it is in use."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar, cast

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
_MISSING: Any = object()


def bytes_of(value: object) -> int:
    """Memory of the arrays in a value, however deep in records, mappings and sequences; all else counts a little."""
    num_bytes = getattr(value, "nbytes", None)
    if isinstance(num_bytes, int):
        return num_bytes
    if isinstance(value, Mapping):
        return 100 + sum(map(bytes_of, value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return sum(map(bytes_of, value))
    if is_dataclass(value) and not isinstance(value, type):
        return 1000 + sum(bytes_of(getattr(value, each.name)) for each in fields(value))
    return 100


class _Entry:
    """One value, what it weighs, who uses it, and a lock so that it is made once."""

    def __init__(self) -> None:
        self.making = threading.Lock()
        self.value = _MISSING
        self.size_bytes = 0
        self.leases = 0


class BoundedCache(Generic[Key, Value]):
    """At most `max_count` values of at most `max_bytes` together (None: no bound), as `size_of` weighs them in bytes.

    A leased value never goes; of values that are too large together the newest stays. Any number of threads may use
    one value at a time. Each key has its own lock for making its value, so that one being made keeps nobody from
    another. on_release() is called after values went.
    """

    def __init__(
        self,
        *,
        max_count: int | None = None,
        max_bytes: int | None = None,
        size_of: Callable[[Value], int] = lambda value: 0,
        on_release: Callable[[], None] = lambda: None,
    ) -> None:
        self.max_count = max_count
        self.max_bytes = max_bytes
        self._size_of = size_of
        self._on_release = on_release
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._total_bytes = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def lease(self, key: Key, make: Callable[[], Value]) -> Iterator[Value]:
        """The value of `key`, made where it is missing; it stays at least until the block ends."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            entry.leases += 1
        try:
            with entry.making:
                if entry.value is _MISSING:
                    self._fill(entry, make())
            yield cast(Value, entry.value)
        finally:
            with self._lock:
                entry.leases -= 1
                if entry.value is _MISSING and not entry.leases:  # it could not be made
                    del self._entries[key]
            self.trim()

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of `key`, made where it is missing: by one thread, for which the others of that key wait."""
        with self.lease(key, make) as value:
            return value

    def get(self, key: Key) -> Value | None:
        """The value of `key`, which counts as used now, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.value is _MISSING:
                return None
            self._entries.move_to_end(key)
            return cast(Value, entry.value)

    def put(self, key: Key, value: Value) -> Value:
        """Keep a value, or weigh one anew that has grown; returns it."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            entry.leases += 1
        self._fill(entry, value)
        with self._lock:
            entry.leases -= 1
        self.trim()
        return value

    def trim(self, max_count: int | None = None) -> None:
        """Release what nobody uses until the bounds are kept; max_count: a lower one, this time only."""
        most = self.max_count if max_count is None else max_count
        released = False
        with self._lock:
            while self._is_full(most):
                idle = (key for key, entry in self._entries.items() if not entry.leases)
                if (oldest := next(idle, _MISSING)) is _MISSING:
                    break
                self._total_bytes -= self._entries.pop(oldest).size_bytes
                released = True
        if released:
            self._on_release()

    def clear(self) -> None:
        """Release everything that nobody uses."""
        self.trim(0)

    def kept(self) -> list[Key]:
        """What is kept, used last at the end."""
        with self._lock:
            return list(self._entries)

    def leases(self, key: Key) -> int:
        """How many use a value now."""
        with self._lock:
            entry = self._entries.get(key)
            return entry.leases if entry else 0

    def _fill(self, entry: _Entry, value: Value) -> None:
        size_bytes = self._size_of(value)
        with self._lock:
            self._total_bytes += size_bytes - entry.size_bytes
            entry.value, entry.size_bytes = value, size_bytes

    def _is_full(self, most: int | None) -> bool:
        count = len(self._entries)
        too_large = self.max_bytes is not None and count > 1 and self._total_bytes > self.max_bytes
        return too_large or (most is not None and count > most)
