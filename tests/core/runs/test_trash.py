"""Deleted runs can be brought back whole; nothing leaves the runs folder by name alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from core.errors import RunBusy, RunNotFound
from core.runs import trash
from core.runs.run import RunState
from core.runs.store import RunStore


@pytest.fixture
def ended(tmp_path, tiny):
    from dataclasses import replace

    store = RunStore(tmp_path / "runs")
    run = store.create("vae", tiny(), name="first", owner="ana")
    run.write_status(replace(run.status(), state=RunState.STOPPED))
    (run.folder / "previews").mkdir()
    (run.folder / "previews" / "a.npz").write_bytes(b"x" * 1000)
    return store, run


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("events.jsonl", "lock")
    }


def test_a_deleted_run_comes_back_as_it_was(ended):
    store, run = ended
    before = contents(run.folder)
    store.delete(run.id, by="ben")
    assert store.list() == []
    (found,) = trash.list_trash(store, keep_days=7)
    assert (found.id, found.name, found.by, found.owner) == (run.id, "first", "ben", "ana")
    assert found.size_bytes >= 1000
    assert found.expires_at > found.at
    back = trash.restore(store, run.id[-4:], by="ana")
    assert contents(back.folder) == before
    assert [event["event"] for event in back.events()][-2:] == ["deleted", "restored"]
    assert trash.list_trash(store) == []


def test_a_deleted_run_is_found_by_its_name(ended):
    store, run = ended
    store.delete(run.id)
    assert trash.restore(store, "first", by="ana").id == run.id


@pytest.mark.parametrize("text", ["../..", "/etc", "", ".", "..", "x\x1b[31m" + "y" * 500])
def test_a_text_that_names_no_deleted_run_is_refused(ended, text):
    store, run = ended
    store.delete(run.id)
    with pytest.raises(RunNotFound) as error:
        trash.restore(store, text, by="ana")
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_run_whose_id_exists_again_stays_in_the_trash(ended):
    store, run = ended
    store.delete(run.id)
    run.folder.mkdir()
    with pytest.raises(RunBusy):
        trash.restore(store, run.id, by="ana")
    assert [found.id for found in trash.list_trash(store)] == [run.id]


def test_emptying_spares_what_is_younger(ended):
    store, run = ended
    store.delete(run.id)
    assert trash.empty_trash(store, older_than_days=1) == 0
    assert trash.list_trash(store)
    assert trash.empty_trash(store) >= 1000
    assert trash.list_trash(store) == []
    assert list((store.root / ".trash").iterdir()) == []


@pytest.mark.parametrize("cut", ["atomic.write_json", "Path.rename"])
def test_a_delete_that_is_killed_leaves_the_run_here_or_there(ended, cut):
    store, run = ended
    program = (
        "import os, sys, pathlib\nfrom core import atomic\nfrom core.runs.store import RunStore\n"
        "def die(*a, **k): os._exit(9)\n"
        + ("atomic.write_json = die\n" if cut.startswith("atomic") else "pathlib.Path.rename = die\n")
        + f"RunStore(pathlib.Path({str(store.root)!r})).delete({run.id!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": "."}, check=False)
    assert done.returncode == 9
    assert [each.id for each in store.list()] == [run.id]
    assert trash.list_trash(store) == []
    store.delete(run.id)
    assert [found.id for found in trash.list_trash(store)] == [run.id]


def test_deleting_a_copy_with_an_id_that_is_in_the_trash_keeps_who_and_when(ended):
    store, run = ended
    shutil.copytree(run.folder, store.root / "copy")
    store.delete(run.id, by="ana")
    (store.root / "copy").rename(run.folder)
    store.delete(run.id, by="ben")
    (found,) = trash.list_trash(store)
    assert (found.id, found.by, found.name) == (run.id, "ben", "first")


def test_emptying_also_clears_what_interruptions_left(ended):
    store, run = ended
    store.delete(run.id)
    for folder in (store.root / ".trash" / ".trash-x", store.root / ".tmp-x"):
        folder.mkdir()
        os.utime(folder, (0, 0))
    trash.empty_trash(store)
    assert [path.name for path in store.root.rglob("*")] == [".trash"]


def test_facts_without_a_folder_are_no_deleted_run_and_go_in_time(ended):
    store, run = ended
    store.delete(run.id)
    orphan = store.root / ".trash" / "20260101-000000-vae-0000.json"
    orphan.write_text("{}")
    assert [found.id for found in trash.list_trash(store)] == [run.id]
    os.utime(orphan, (0, 0))
    trash.empty_trash(store, older_than_days=1)
    assert not orphan.exists()


@pytest.mark.parametrize("facts", ["", "[]", '{"at": 3, "by": null, "size_bytes": "x", "name": ["a"]}'])
def test_a_deleted_run_with_damaged_facts_is_listed_and_comes_back(ended, facts):
    store, run = ended
    store.delete(run.id)
    (store.root / ".trash" / f"{run.id}.json").write_text(facts)
    (found,) = trash.list_trash(store, keep_days=7)
    assert found.size_bytes >= 1000
    trash.restore(store, run.id, by="ana")
    assert [each.id for each in store.list()] == [run.id]


def test_emptying_leaves_alone_what_another_process_is_writing(ended):
    store, run = ended
    store.delete(run.id)
    written = store.root / ".trash" / ".another.json.0badcafe.tmp"
    written.write_text("{")
    trash.empty_trash(store)
    assert written.exists()
