"""Runs through the real queue, supervisor and shim, with a stand-in for the training."""

from __future__ import annotations

from core.jobs import service
from core.runs.run import RunState


def test_a_queued_run_is_started_and_finishes(box):
    run = box.create(steps=6)
    box.submit(run)
    (status,) = box.wait_until_judged(run)
    assert status.state is RunState.FINISHED
    assert status.step == 6
    assert box.queue.leases() == {}


def test_one_place_is_given_to_one_run_at_a_time_in_order(box):
    runs = [box.create(steps=5) for _ in range(3)]
    box.submit(*runs)
    box.wait_until_judged(*runs)
    marks = sorted(box.marks("start") + box.marks("end"), key=lambda mark: mark["at"])
    assert [mark["run"] for mark in marks] == [run.id for run in runs for _ in range(2)]


def test_a_stop_saves_and_says_who_asked(box, monkeypatch):
    run = box.create(steps=5000)
    box.submit(run)
    box.wait_for_step(run, 3)
    status = service.stop_run(box.store, run.id, by="ben", engine=box.engine)
    assert status.state is RunState.STOPPED
    assert status.reason.startswith("stopped by ben at step")
    assert "checkpoint" in status.reason
    assert box.pids(run) == []
