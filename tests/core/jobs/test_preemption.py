"""Who makes room for whom: by rows alone, then through the real queue, supervisor and shim, and in the simulation."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from benchmarks.fair_queue import simulate
from benchmarks.interruptions import play
from core.jobs import service
from core.jobs.making_room import INTERRUPTED, made_room
from core.jobs.preemption import LiveRun, plan, short_ones
from core.jobs.queue import Job, JobState
from core.jobs.queue_view import queue_view
from core.jobs.request import JobRequest
from core.jobs.shares import in_turn
from core.jobs.slots import Choice, Device, choose
from core.machine import attempts
from core.runs.run import RunState
from tests import forked
from tests.core.jobs.conftest import ENDLESS

NOW, EVERY_S, HOUR = 1.8e9, 600.0, 3600.0


def waits(run_id: str, owner: str, **facts: object) -> Job:
    return Job(run_id=run_id, owner=owner, **facts)  # type: ignore[arg-type]


def lives(run_id: str, owner: str, slot: int = 0, *, may: bool = True, priority: int = 0, **facts: object) -> LiveRun:
    job = Job(run_id=run_id, owner=owner, state=JobState.LIVE, slots=(f"GPU-{slot}/0",), priority=priority)
    return LiveRun(job=job, may_be_interrupted=may, **facts)  # type: ignore[arg-type]


def planned(
    waiting: list[Job],
    live: list[LiveRun],
    *,
    used: dict[str, float] | None = None,
    short: dict[str, float] | None = None,
    gpus: int = 1,
) -> list[tuple[str, str]]:
    devices = [Device(name=f"GPU-{n}", title=f"GPU {n}", visible=str(n), capacity=1) for n in range(gpus)]

    def start(job: Job, taken: Collection[str], reserved: Collection[str], gone: Collection[str]) -> Choice:
        return choose(job.device, job.num_processes, devices, taken, reserved)

    found = plan(waiting, live, start, used=used or {}, short=short or {}, now=NOW, every_s=EVERY_S)
    return [(each.job.run_id, each.waiting.run_id) for each in found]


USED = {"ana": 10 * HOUR, "ben": HOUR}


def test_who_used_less_interrupts_whoever_used_more_and_not_the_other_way_round() -> None:
    assert planned([waits("b", "ben")], [lives("a", "ana")], used=USED) == [("a", "b")]
    assert planned([waits("a2", "ana")], [lives("b", "ben")], used=USED) == []
    assert planned([waits("a2", "ana")], [lives("a", "ana")], used=USED) == []


def test_nobody_is_interrupted_for_a_difference_of_less_than_an_interval() -> None:
    used = {"ana": HOUR, "ben": HOUR - EVERY_S / 2}
    assert planned([waits("b", "ben")], [lives("a", "ana")], used=used) == []


@pytest.mark.parametrize(
    "facts",
    [
        {"may": False},
        {"priority": 1},
        {"interrupted_at": NOW - EVERY_S / 2},
        {"left_s": 30.0},
        {"is_ending": True},
    ],
)
def test_a_run_that_is_not_preemptible_urgent_interrupted_lately_or_nearly_done_stays(facts: dict[str, object]) -> None:
    assert planned([waits("b", "ben")], [lives("a", "ana", **facts)], used=USED) == []


def test_a_person_takes_no_more_slots_than_another_keeps() -> None:
    live = [lives(f"a{n}", "ana", n) for n in range(4)]
    waiting = [waits(f"b{n}", "ben", place=n) for n in range(4)]
    assert [run for _, run in planned(waiting, live, used=USED, gpus=4)] == ["b0", "b1"]


def test_a_short_run_interrupts_whoever_has_more_left_also_its_own_owners() -> None:
    assert planned([waits("s", "ana")], [lives("a", "ana", left_s=HOUR)], short={"s": 100.0}) == [("a", "s")]
    assert planned([waits("s", "ana")], [lives("a", "ana", left_s=150.0)], short={"s": 100.0}) == []


def test_a_slot_that_becomes_free_anyway_needs_no_second_interruption() -> None:
    live = [lives("a0", "ana", 0, is_ending=True), lives("a1", "ana", 1)]
    assert planned([waits("b0", "ben")], live, used=USED, gpus=2) == []
    assert planned([waits("b0", "ben"), waits("c", "cleo")], live, used=USED, gpus=2) == [("a1", "c")]


def test_a_run_on_several_gpus_interrupts_only_what_makes_enough_room() -> None:
    live = [lives("a0", "ana", 0), lives("a1", "ana", 1)]
    assert planned([waits("b", "ben", num_processes=2, device="cuda")], live, used=USED, gpus=2) == []


def test_short_runs_go_first_but_not_those_of_whoever_had_most_of_the_machine() -> None:
    jobs = [waits("long", "ben", place=1), waits("short", "ben", place=2), waits("cut", "ana", place=3)]
    takes_s = {"long": HOUR, "short": 60.0, "cut": 60.0}
    short = short_ones(jobs, USED, lambda job: takes_s[job.run_id])
    assert short == {"short": 60.0}
    assert [job.run_id for job in in_turn(jobs, USED, NOW, first=short)] == ["short", "long", "cut"]
    alone = [waits("a", "ana"), waits("s", "ana")]
    assert short_ones(alone, {"ana": HOUR}, lambda job: 60.0) == {"a": 60.0, "s": 60.0}


def test_a_sample_of_the_simulation_is_fair_and_first_come_first_served_is_not() -> None:
    fair, arrival = (simulate(1, 40, way).figures() for way in ("interrupted", "first come"))
    assert fair["worst_over_median"] <= 1.5
    assert fair["short_within_60_s"] == fair["short_runs"] > 0
    assert fair["interruptions"] > 0 and fair["overhead"] < 0.02
    assert arrival["short_within_60_s"] < arrival["short_runs"]


@pytest.mark.slow
def test_a_run_makes_room_for_another_persons_and_continues_by_itself(box) -> None:
    long = box.create(steps=ENDLESS)
    box.submit(long, request={"preemptible": True})
    box.wait_for_step(long, 3)
    short = box.store.create("vae", box.settings(steps=4), owner="ben")
    box.submit(short, request={"time_limit_s": 200.0})  # a limit under five minutes announces it as short
    box.wait(lambda: box.queue.job(short.id).state is JobState.LIVE)
    assert (box.queue.job(long.id).state, long.status().state) == (JobState.QUEUED, RunState.QUEUED)
    assert long.status().reason.startswith("interrupted for a run of ben at step ")
    assert made_room(long) == "interrupted for a run of ben; continues by itself"
    (event,) = [event for event in long.events() if event["event"] == INTERRUPTED]
    assert (event["by"], event["for_run"]) == ("ben", short.id) and event["reason"].startswith("a short run")
    box.wait_until_judged(short)
    assert short.status().state is RunState.FINISHED
    box.wait(lambda: len(box.marks("start")) == 3, words="it did not continue")
    assert [event["event"] for event in long.events() if event["event"] == "resumed"] == ["resumed"]
    other = box.store.create("vae", box.settings(steps=4), owner="ben")
    box.wait_for(long, RunState.RUNNING)
    box.submit(other, request={"time_limit_s": 200.0})  # sooner than the interval allows: it waits
    service.stop_run(box.store, long.id, by="ana", engine=box.engine)
    box.wait_until_judged(long, other)
    assert long.status().state is RunState.STOPPED and long.status().reason.startswith("stopped by ana")
    assert len([event for event in long.events() if event["event"] == INTERRUPTED]) == 1


def test_a_stop_of_a_run_that_was_interrupted_and_waits_ends_it(box) -> None:
    run = box.create()
    assert box.queue.put(Job(run_id=run.id, owner="ana", request=JobRequest(preemptible=True)))
    attempt = box.queue.claim(run.id, ["cpu/0"])
    assert attempt is not None
    (run.folder / attempts.ATTEMPT_FILE).write_text(f'{{"attempt": {attempt}}}')
    attempts.ask_to_stop(run.folder, attempt, level=1, by="ben", cause=attempts.ROOM, returns=True)
    assert box.queue.release(run.id, attempt, JobState.QUEUED)
    assert queue_view(box.store)[0].made_room.startswith("interrupted for a run of ben")
    box.engine.ask_to_stop(run, by="ana")
    assert run.status().state is RunState.STOPPED


@pytest.mark.slow
def test_a_training_that_made_room_ends_bit_equal_to_one_that_did_not(
    tmp_path: Path, forks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LAB_HOME", "LAB_RUNS", "LAB_DATA", "LAB_CACHE"):
        monkeypatch.setenv(name, "")  # put back afterwards
    found = play(tmp_path, rounds=1, steps=60, worker=forked.command("-m", "core.jobs.worker"))
    assert found["equal"] == 1 and found["rounds"][0]["interruptions"] == 1
