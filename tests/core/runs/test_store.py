import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from core import atomic
from core.config.load import settings_from
from core.errors import LabError, RunBusy, RunNotFound, StorageFull, UsageError
from core.runs.lock import is_locked, try_lock
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, lock_path

SETTINGS = settings_from({"train_vae": {"steps": 7}, "train_unet": {"steps": 9}})


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "deep" / "runs")


def finish(run):
    run.write_status(Status(state=RunState.FINISHED))


def test_a_new_run_says_who_what_when_and_with_which_code(store):
    run = store.create("unet", SETTINGS, name=" first ", owner="ana", parents=("parent",), preset="quick")
    assert (run.info.name, run.info.owner, run.info.parents, run.info.preset) == ("first", "ana", ("parent",), "quick")
    assert run.info.versions["torch"][0].isdigit()
    assert run.status() == Status(steps_total=9, heartbeat_at=run.info.created_at)
    assert [event["event"] for event in run.events()] == ["created"]
    assert run.settings == SETTINGS
    assert run.folder == store.root / run.id


def test_the_owner_is_lab_user_when_not_given(store, monkeypatch):
    monkeypatch.setenv("LAB_USER", "bo")
    assert store.create("vae", SETTINGS).info.owner == "bo"


def test_an_empty_or_missing_runs_folder_is_no_error(store):
    assert store.list() == []
    assert store.broken() == []
    assert not store.root.exists()


def test_runs_are_listed_newest_first(store):
    ids = [store.create("vae", SETTINGS).id for _ in range(3)]
    assert [run.id for run in store.list()] == ids[::-1]


@pytest.mark.parametrize("part", [slice(None), slice(-4, None), slice(0, 15)])
def test_a_run_is_found_by_id_or_a_unique_part_of_its_ends(store, part):
    run = store.create("vae", SETTINGS)
    assert store.get(run.id[part]) == run


def test_a_run_is_found_by_its_name_when_only_one_has_it(store):
    run = store.create("vae", SETTINGS, name="my digits")
    assert store.get("my digits") == run
    store.create("vae", SETTINGS, name="my digits")
    with pytest.raises(RunNotFound, match="fits 2 runs"):
        store.get("my digits")


@pytest.mark.parametrize(
    "text", ["../outside", "..", ".", "", "/", "a/../../outside", "\0", "x" * 5000, ".hidden", "*", "vae\n"]
)
def test_hostile_ids_find_nothing(store, text):
    run = store.create("vae", SETTINGS)
    outside = store.root.parent / "outside"
    outside.mkdir()
    (outside / "run.json").write_text((run.folder / "run.json").read_text())
    (store.root / ".hidden").mkdir()
    with pytest.raises(RunNotFound) as caught:
        store.get(text)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_a_misspelt_id_gets_a_suggestion(store):
    run = store.create("vae", SETTINGS)
    with pytest.raises(RunNotFound, match=f"did you mean {run.id}"):
        store.get(run.id[:-1] + "x")


@pytest.mark.parametrize(
    "contents", [None, "", "{", "[]", "{}", '{"id": 1}', "\x00\xff", "null", '{"parents": null}', "kind", "dataset"]
)
def test_a_broken_folder_is_told_and_does_not_hide_the_others(store, contents):
    good, bad = store.create("vae", SETTINGS), store.create("vae", SETTINGS)
    path = bad.folder / "run.json"
    if contents is None:
        path.unlink()
    elif contents == "kind":
        path.write_text(json.dumps({**json.loads(path.read_text()), "kind": "../evil"}))
    elif contents == "dataset":
        path.write_text(json.dumps({**json.loads(path.read_text()), "dataset": ["mnist"]}))
    else:
        path.write_text(contents)
    assert store.list() == [good]
    assert [folder for folder, reason in store.broken() if reason] == [bad.folder]
    with pytest.raises(RunNotFound):
        store.get(bad.id)


def test_a_folder_with_unreadable_settings_is_listed_and_its_settings_are_refused(store):
    run = store.create("vae", SETTINGS)
    run.config_path.write_text("a: &x 1")
    assert store.list() == [run]
    with pytest.raises(LabError):
        _ = Run(run.folder).settings


@pytest.mark.parametrize("name", ["x" * 121, "a\nb", "\x1b[31mred"])
def test_an_unusable_name_creates_nothing(store, name):
    with pytest.raises(UsageError, match="name"):
        store.create("vae", SETTINGS, name=name)
    assert not store.root.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="cannot be written"):
        RunStore(tmp_path / "file" / "runs").create("vae", SETTINGS)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(store, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="the disk or the quota is full"):
        store.create("vae", SETTINGS)
    assert list(store.root.iterdir()) == []


def test_renaming_keeps_the_id(store):
    run = store.create("vae", SETTINGS, name="old")
    assert store.rename(run.id, "new").info.name == "new"
    assert store.get("new").id == run.id


def test_delete_leaves_only_the_trash(store):
    run = store.create("vae", SETTINGS)
    finish(run)
    store.delete(run.id)
    assert [path.name for path in store.root.iterdir()] == [".trash"]


def test_an_active_run_is_not_deleted(store):
    run = store.create("vae", SETTINGS)
    with pytest.raises(RunBusy, match="is queued; stop it first"):
        store.delete(run.id)
    assert run.folder.exists()


def test_a_vae_is_not_deleted_while_an_active_unet_needs_it(store):
    vae = store.create("vae", SETTINGS)
    finish(vae)
    unet = store.create("unet", SETTINGS, parents=(vae.id,))
    with pytest.raises(RunBusy, match=f"needed by {unet.id}"):
        store.delete(vae.id)
    finish(unet)
    store.delete(vae.id)
    assert store.list() == [unet]


def test_a_run_whose_lock_is_held_is_not_deleted(store):
    run = store.create("vae", SETTINGS)
    finish(run)
    lock = try_lock(lock_path(run))
    with pytest.raises(RunBusy, match="being worked on"):
        store.delete(run.id)
    lock.release()
    store.delete(run.id)


def test_deleting_a_linked_run_leaves_what_it_points_to(store, tmp_path):
    run = store.create("vae", SETTINGS)
    finish(run)
    elsewhere = tmp_path / run.id
    run.folder.rename(elsewhere)
    run.folder.symlink_to(elsewhere)
    store.delete(run.id)
    assert store.list() == []
    assert (elsewhere / "run.json").exists()


def test_a_lock_is_seen_by_others_and_its_file_may_be_missing(tmp_path):
    path = tmp_path / "lock"
    assert not is_locked(path)
    lock = try_lock(path)
    assert is_locked(path)
    assert try_lock(path) is None
    lock.release()
    assert not is_locked(path)


def test_a_lock_on_a_file_that_was_replaced_is_not_one(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    real = os.open

    def open_then_replace(target, *others):
        descriptor = real(target, *others)
        path.unlink()
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_then_replace)
        assert try_lock(path) is None


def test_the_store_never_loads_torch():
    code = "import sys, core.runs.store, core.runs.metrics, core.runs.listing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def aged(run):
    """As if run.json had been written a while ago: what is younger than a tick of the clock is never remembered."""
    os.utime(run.folder / "run.json", ns=(10**18, 10**18))


def reads(monkeypatch):
    """Names of the run folders whose run.json is read from now on."""
    found, real = [], Run.info.func

    def counted(run):
        found.append(run.id)
        return real(run)

    monkeypatch.setattr(Run.info, "func", counted)
    return found


def test_a_run_that_has_not_changed_is_read_once(store, monkeypatch):
    runs = [store.create("vae", SETTINGS) for _ in range(3)]
    for run in runs:
        aged(run)
    store.list()
    found = reads(monkeypatch)
    assert store.list() == runs[::-1]
    assert RunStore(store.root).get(runs[0].id[-4:]).info.id == runs[0].id
    assert found == []


def test_a_run_that_another_process_changed_is_read_again(store, monkeypatch):
    one, two = store.create("vae", SETTINGS, name="aaa"), store.create("vae", SETTINGS)
    aged(one)
    aged(two)
    store.list()
    path = one.folder / "run.json"
    atomic.write_text(path, path.read_text().replace("aaa", "bbb"))
    aged(one)  # same size, same time: only the file is another
    found = reads(monkeypatch)
    assert [run.info.name for run in store.list()] == ["", "bbb"]
    assert found == [one.id]


def test_a_run_that_breaks_and_is_mended_is_seen_each_time(store):
    run = store.create("vae", SETTINGS)
    good = (run.folder / "run.json").read_text()
    aged(run)
    for text, count in ((good, 1), ("{", 0), (good, 1)):
        atomic.write_text(run.folder / "run.json", text)
        aged(run)
        assert len(store.list()) == count
        assert len(store.broken()) == 1 - count


def test_runs_are_listed_by_many_threads_while_they_change(store):
    runs = [store.create("vae", SETTINGS) for _ in range(5)]

    def work(number):
        for turn in range(20):
            if number == 0:
                store.rename(runs[0].id, f"turn {turn}")
            assert len(store.list()) == 5

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
