"""What an account ordered in a shared runs folder is what starts; only what lies out of the others' reach counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.config.load import settings_from
from core.errors import LabError
from core.jobs import accounts, worker
from core.jobs.job_row import folders_of, job_for
from core.jobs.orders import CHANGED, SEAL_VARIABLE, UNKNOWN, Broken, Orders
from core.jobs.queue import Job, Queue
from core.machine import attempts
from core.runs.run import Run, RunState
from core.runs.store import RunStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv(accounts.STATE_VARIABLE, str(tmp_path / "state"))
    root = tmp_path / "runs"
    root.mkdir()
    root.chmod(0o2770)
    return RunStore(root)


def created(store: RunStore) -> Run:
    return store.create("vae", settings_from({"machine": {"device": "cpu"}}), owner="ana")


def test_a_row_counts_for_its_place_in_the_queue_and_for_nothing_else(store: RunStore) -> None:
    run, orders = created(store), Orders(Queue(store.root).folder)
    job = job_for(run, code="abc")
    orders.keep(job)
    theirs = replace(job, environment={"LAB_DATA": "/x"}, code="../x", num_processes=8, device="cuda", priority=3)
    assert orders.bound(theirs) == replace(job, priority=3)
    assert not orders.is_mine(replace(job, uid=job.uid + 1))


def test_what_nobody_ordered_does_not_start(store: RunStore) -> None:
    run, orders = created(store), Orders(Queue(store.root).folder)
    with pytest.raises(Broken, match=UNKNOWN):
        orders.bound(job_for(run))


@pytest.mark.parametrize("name", ["config.yaml", "request.json", "run.json"])
def test_what_decides_the_work_is_sealed(store: RunStore, name: str) -> None:
    run, orders = created(store), Orders(Queue(store.root).folder)
    orders.keep(job_for(run))
    path = run.folder / name
    before = path.read_text() if path.exists() else "{}"
    path.write_text(before.replace('"kind": "vae"', '"kind": "unet"') if name == "run.json" else before + "\n# more")
    with pytest.raises(Broken, match=CHANGED):
        orders.bound(job_for(Run(run.folder)))


def test_a_name_or_a_note_changes_no_work(store: RunStore) -> None:
    run, orders = created(store), Orders(Queue(store.root).folder)
    orders.keep(job_for(run))
    store.rename(run.id, "another name")
    assert orders.bound(job_for(run)).run_id == run.id


def test_another_folder_in_its_place_is_refused(store: RunStore, tmp_path: Path) -> None:
    run, orders = created(store), Orders(Queue(store.root).folder)
    orders.keep(job_for(run))
    run.folder.rename(tmp_path / "moved")
    (tmp_path / "moved").joinpath("copy").mkdir()
    for path in (tmp_path / "moved").glob("*.*"):
        (tmp_path / "moved" / "copy" / path.name).write_bytes(path.read_bytes())
    run.folder.symlink_to(tmp_path / "moved" / "copy")
    assert not orders.is_in_place(run)
    with pytest.raises(Broken, match=CHANGED):
        orders.bound(replace(Job(run_id=run.id), device="cpu"))


def test_a_worker_reads_the_settings_that_were_ordered_or_does_nothing(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = created(store)
    orders = Orders(Queue(store.root).folder)
    orders.keep(job_for(run))
    monkeypatch.setenv(SEAL_VARIABLE, orders.seal(job_for(run))[SEAL_VARIABLE])
    run.config_path.write_text(run.config_path.read_text().replace("seed: 0", "seed: 1"))
    trained: list[str] = []
    assert worker.main(["--runs", str(store.root), run.id], trainers={"vae": lambda run, **_: trained.append(run.id)})
    assert (run.status().state, run.status().reason, trained) == (RunState.FAILED, CHANGED, [])


def test_folders_come_from_the_order_and_not_from_what_the_group_can_write(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, orders = created(store), Orders(Queue(store.root).folder)
    monkeypatch.setenv("LAB_DATA", "/mine")
    orders.keep(job_for(run))
    monkeypatch.delenv("LAB_DATA")
    theirs = '{"attempt": 1000000001, "environment": {"LAB_DATA": "/theirs"}}'
    (run.folder / attempts.ATTEMPT_FILE).write_text(theirs)
    assert folders_of(run)["LAB_DATA"] == "/mine"
    store.root.chmod(0o755)
    assert folders_of(run)["LAB_DATA"] == "/theirs", "where one account works, its attempts are believed"


def test_a_place_that_others_may_write_keeps_no_order(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    with pytest.raises(LabError, match=r"other accounts may write there.*LAB_STATE"):
        Orders(Queue(store.root).folder).keep(job_for(created(store)))


def test_where_one_account_works_there_are_no_orders(store: RunStore, tmp_path: Path) -> None:
    store.root.chmod(0o755)
    run, orders = created(store), Orders(Queue(store.root).folder)
    job = replace(job_for(run), environment={"LAB_DATA": "/x"}, code="abc")
    orders.keep(job)
    assert orders.bound(job) == job and orders.is_mine(replace(job, uid=-1)) and orders.seal(job) == {}
    assert not (tmp_path / "state").exists()


def test_a_link_in_the_place_of_the_queue_is_refused(store: RunStore, tmp_path: Path) -> None:
    Queue(store.root).put(Job(run_id="a"))
    Queue(store.root).path.rename(tmp_path / "another.db")
    Queue(store.root).path.symlink_to(tmp_path / "another.db")
    with pytest.raises(LabError, match="is a link, and no queue is kept behind a link"):
        Queue(store.root).jobs()
