"""Leases: a model is never released while somebody draws with it, is loaded once, and idle ones are bounded."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from core.bounded_cache import BoundedCache, bytes_of


class Model:
    """A stand-in that knows whether it was released."""


def test_a_leased_model_is_never_released_whoever_else_comes() -> None:
    shelf = BoundedCache(max_count=1)
    with shelf.lease("a", Model) as first:
        for other in ("b", "c", "d"):
            with shelf.lease(other, Model):
                assert "a" in shelf.kept()
        with shelf.lease("a", Model) as again:
            assert again is first
            assert shelf.leases("a") == 2
    assert len(shelf.kept()) == 1


def test_the_one_used_longest_ago_goes_first() -> None:
    shelf = BoundedCache(max_count=2)
    for name in ("a", "b", "a", "c"):
        with shelf.lease(name, Model):
            pass
    assert shelf.kept() == ["a", "c"]


def test_a_model_that_ten_sessions_want_is_loaded_once() -> None:
    shelf, loads, found = BoundedCache(max_count=2), [], []
    start = threading.Barrier(10)

    def _load() -> Model:
        loads.append(1)
        return Model()

    def _session() -> None:
        start.wait()
        with shelf.lease("a", _load) as model:
            found.append(model)

    threads = [threading.Thread(target=_session) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert len(set(map(id, found))) == 1


def test_one_that_loads_keeps_nobody_from_another() -> None:
    shelf, loading, done = BoundedCache(max_count=2), threading.Event(), threading.Event()

    def _slow() -> Model:
        loading.set()
        assert done.wait(600)
        return Model()

    def _session() -> None:
        with shelf.lease("slow", _slow):
            pass

    thread = threading.Thread(target=_session)
    thread.start()
    assert loading.wait(600)
    with shelf.lease("quick", Model):
        done.set()
    thread.join()
    assert set(shelf.kept()) == {"slow", "quick"}


def test_a_failed_load_leaves_nothing_and_is_tried_again() -> None:
    shelf = BoundedCache(max_count=2)

    def _fail() -> Model:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"), shelf.lease("a", _fail):
        pass
    assert shelf.kept() == []
    with shelf.lease("a", Model) as model:
        assert isinstance(model, Model)


def test_an_error_while_drawing_gives_the_lease_back() -> None:
    shelf, freed = BoundedCache(max_count=0, on_release=lambda: freed.append(1)), []
    with pytest.raises(KeyError), shelf.lease("a", Model):
        raise KeyError
    assert shelf.kept() == []
    assert freed == [1]


def test_values_too_large_together_go_oldest_first_and_the_newest_stays() -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(max_bytes=10, size_of=len)
    for name in ("a", "b", "c"):
        cache.put(name, bytes(4))
    assert cache.kept() == ["b", "c"]
    cache.put("d", bytes(11))
    assert cache.kept() == ["d"]


def test_a_value_that_has_grown_is_weighed_anew() -> None:
    cache: BoundedCache[str, bytearray] = BoundedCache(max_bytes=10, size_of=len)
    grown = bytearray(4)
    cache.put("other", bytearray(4))
    cache.put("grown", grown)
    grown += bytes(4)
    cache.put("grown", grown)
    assert cache.kept() == ["grown"]
    cache.put("small", bytearray(2))
    assert cache.kept() == ["grown", "small"]


def test_what_is_asked_for_counts_as_used_and_what_is_missing_is_none() -> None:
    cache: BoundedCache[str, str] = BoundedCache(max_count=2)
    for name in ("a", "b"):
        cache.put(name, name.upper())
    assert cache.get("a") == "A"
    cache.put("c", "C")
    assert (cache.kept(), cache.get("b")) == (["a", "c"], None)


def test_arrays_are_weighed_however_deep_they_lie() -> None:
    array = np.zeros(5_000)
    for value in (array, [array], {"a": array}, {1: (array, "words")}):
        assert array.nbytes <= bytes_of(value) <= array.nbytes + 1000
