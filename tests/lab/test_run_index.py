"""What all sessions share about the runs folder: read again only when changed, never older than a second."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import RunNotFound
from core.machine import attempts
from core.machine.attempts import boot_id
from core.runs.run import ProcessIdentity, Run, RunState
from core.runs.store import RunStore
from lab.services.run_index import LISTED_FOR_S, RunIndex
from tests.pages.run_folders import make_run


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def index(store: RunStore, clock: Clock) -> RunIndex:
    return RunIndex(store.root, clock)


def ids(index: RunIndex) -> list[str]:
    return [run.id for run, _ in index.pairs()]


def test_an_index_lists_what_the_store_lists(store: RunStore, index: RunIndex) -> None:
    assert ids(index) == []
    for kind in ("vae", "unet", "vae"):
        make_run(store, kind)
    (store.root / "no run").mkdir()
    (store.root / ".hidden").mkdir()
    assert ids(index) == [run.id for run in store.list()]
    assert list(index.broken()) == [(path.name, reason) for path, reason in store.broken()]


def test_nothing_is_read_twice_that_has_not_changed(
    store: RunStore, index: RunIndex, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(store)
    make_run(store, state=RunState.QUEUED)
    before = index.pairs()
    monkeypatch.setattr(Path, "read_text", None)
    clock.now_s += 10 * LISTED_FOR_S
    assert index.pairs() == before
    assert index.pairs()[0][0] is before[0][0]


def test_a_listing_within_the_second_looks_at_no_run(store: RunStore, index: RunIndex, clock: Clock) -> None:
    run = make_run(store, state=RunState.QUEUED)
    index.pairs()
    run.write_status(replace(run.status(), state=RunState.FINISHED))
    clock.now_s += 0.9 * LISTED_FOR_S
    assert index.pairs()[0][1].state is RunState.QUEUED
    clock.now_s += 0.2 * LISTED_FOR_S
    assert index.pairs()[0][1].state is RunState.FINISHED


def test_one_run_is_always_as_it_is_now(store: RunStore, index: RunIndex) -> None:
    run = make_run(store, state=RunState.QUEUED)
    assert index.pair(run.id)[1].state is RunState.QUEUED
    run.write_status(replace(run.status(), state=RunState.FINISHED, step=7))
    assert index.pair(run.id)[1].step == 7


def test_a_new_a_renamed_and_a_deleted_run_are_seen_at_once(store: RunStore, index: RunIndex) -> None:
    first = make_run(store)
    assert ids(index) == [first.id]
    second = make_run(store)
    assert set(ids(index)) == {first.id, second.id}
    store.rename(first.id, "Another name")
    assert index.pair(first.id)[0].info.name == "Another name"
    shutil.rmtree(second.folder)
    assert ids(index) == [first.id]
    with pytest.raises(RunNotFound, match="does not exist"):
        index.pair(second.id)


def test_a_dead_process_is_not_believed_and_nothing_is_written(store: RunStore, index: RunIndex) -> None:
    run = make_run(store)
    gone = ProcessIdentity(boot_id=boot_id(), pid=2**22 - 1, start_ticks=1)
    run.write_status(replace(run.status(), state=RunState.RUNNING, process=gone))
    before = run.status_path.read_bytes()
    assert index.pairs()[0][1].state is RunState.INTERRUPTED
    assert index.pair(run.id)[1].state is RunState.INTERRUPTED
    assert run.status_path.read_bytes() == before


def test_a_run_that_is_alive_is_looked_at_each_time(store: RunStore, index: RunIndex, clock: Clock) -> None:
    run = make_run(store, state=RunState.RUNNING)
    assert index.pairs()[0][1].state is RunState.RUNNING
    attempts.ask_to_stop(run.folder, attempts.current_attempt(run.folder), level=1, by="ana", pauses=False)
    clock.now_s += 2 * LISTED_FOR_S
    assert index.pairs()[0][1].state is RunState.STOPPING


def test_changed_settings_on_disk_are_read_again(store: RunStore, index: RunIndex) -> None:
    run = make_run(store)
    assert index.pair(run.id)[0].settings.seed == 0
    text = run.config_path.read_text()
    run.config_path.write_text(text.replace("seed: 0", "seed: 12", 1))
    assert index.pair(run.id)[0].settings.seed == 12


def test_a_run_that_breaks_moves_to_the_broken_ones(store: RunStore, index: RunIndex, clock: Clock) -> None:
    run = make_run(store)
    index.pairs()
    (run.folder / "run.json").write_text("{torn")
    clock.now_s += 2 * LISTED_FOR_S
    assert ids(index) == []
    assert [name for name, _ in index.broken()] == [run.id]
    with pytest.raises(RunNotFound):
        index.pair(run.id)


@pytest.mark.parametrize("text", ["", ".", "..", "../..", "/etc", "\x00", "x" * 5000])
def test_what_is_no_id_is_not_found(text: str, store: RunStore, index: RunIndex) -> None:
    make_run(store)
    index.pairs()
    with pytest.raises(RunNotFound):
        index.pair(text)


def test_a_prefix_of_an_id_finds_its_run(store: RunStore, index: RunIndex) -> None:
    run = make_run(store)
    assert index.pair(run.id[:-2])[0] == Run(run.folder)


def test_a_status_that_cannot_be_read_does_not_stop_a_listing(store: RunStore, index: RunIndex) -> None:
    run = make_run(store)
    run.status_path.write_text(json.dumps([1]))
    assert index.pairs()[0][1].state is RunState.INTERRUPTED
