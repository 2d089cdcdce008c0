"""Shares: whoever used least goes next within a priority, a person's own runs keep their order, and use fades."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from scipy.integrate import quad

from core.config.site import SiteSettings
from core.jobs.queue import Job, JobState, Queue
from core.jobs.recovery import set_aside_if_damaged
from core.jobs.shares import AT_ONCE_S, DAY_S, Use, charged_s, in_turn, share_of_week, used_s, uses_in
from core.jobs.turns import standing_in_words, standings, turns
from core.runs.store import RunStore
from tests.models import tiny_settings

NOW = 1.8e9
HOUR = 3600.0


class Clock:
    """Seconds since 1970, set by the test."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Queue:
    return Queue(tmp_path, clock)


def waits(run_id: str, owner: str, place: float, **facts: object) -> Job:
    return Job(run_id=run_id, owner=owner, place=place, **facts)  # type: ignore[arg-type]


def names(jobs: list[Job]) -> list[str]:
    return [job.run_id for job in jobs]


def train(queue: Queue, clock: Clock, run_id: str, owner: str, seconds: float, slots: tuple[str, ...] = ("cpu/0",)):
    """A run that holds its slots for so long."""
    assert queue.put(Job(run_id=run_id, owner=owner))
    attempt = queue.claim(run_id, slots)
    assert attempt is not None
    clock.now += seconds
    assert queue.release(run_id, attempt, JobState.ENDED)


@pytest.mark.parametrize("half_life_days", [0.5, 7.0, 90.0])
@pytest.mark.parametrize("ended_days_ago", [0.0, 3.0, 30.0])
def test_use_is_the_integral_of_what_is_left_of_each_second(half_life_days: float, ended_days_ago: float) -> None:
    end = NOW - ended_days_ago * DAY_S
    start = end - 5 * HOUR
    weight = lambda moment: 2 ** (-(NOW - moment) / (half_life_days * DAY_S))  # noqa: E731
    expected, _ = quad(weight, start, end, epsrel=1e-10)
    found = used_s([Use(owner="ana", slots=2, start=start, end=end)], NOW, half_life_days)
    assert math.isclose(found["ana"], 2 * expected, rel_tol=1e-6)


def test_who_used_less_goes_first_and_own_runs_keep_their_order() -> None:
    jobs = [waits("a1", "ana", 1), waits("a2", "ana", 2), waits("b1", "ben", 3), waits("b2", "ben", 4)]
    assert names(in_turn(jobs, {"ana": 10 * HOUR, "ben": HOUR}, NOW)) == ["b1", "b2", "a1", "a2"]
    assert names(in_turn(jobs, {}, NOW)) == ["a1", "b1", "a2", "b2"]
    assert names(in_turn(jobs, None, NOW)) == ["a1", "a2", "b1", "b2"]


def test_priority_goes_before_shares() -> None:
    jobs = [waits("a", "ana", 1, priority=3), waits("b", "ben", 2)]
    assert names(in_turn(jobs, {"ana": 100 * HOUR}, NOW)) == ["a", "b"]


def test_a_run_that_has_just_begun_counts_before_it_has_used_anything() -> None:
    began = datetime.fromtimestamp(NOW, UTC).isoformat()
    live = Job(run_id="a0", owner="ana", state=JobState.LIVE, slots=("cpu/0",), started_at=began)
    jobs = [live, waits("a1", "ana", 1), waits("b1", "ben", 2)]
    assert names(in_turn(jobs, charged_s({"ben": AT_ONCE_S / 2}, jobs, NOW), NOW)) == ["b1", "a1"]


def test_one_person_alone_is_served_by_arrival() -> None:
    jobs = [waits(f"r{place}", "ana", place, state=state) for place, state in enumerate(["queued", "paused", "queued"])]
    assert names(in_turn(jobs, {"ana": HOUR}, NOW)) == ["r0", "r1", "r2"]


def test_what_a_run_held_is_written_when_it_ends_and_counts_while_it_lives(queue: Queue, clock: Clock) -> None:
    train(queue, clock, "a", "ana", HOUR, ("GPU-1/0", "GPU-2/0"))
    assert queue.put(Job(run_id="b", owner="ben"))
    assert queue.claim("b", ["cpu/0"])
    clock.now += HOUR
    uses = uses_in(queue.uses(), queue.jobs(), clock.now, str)
    assert used_s(uses, clock.now, 1e9) == pytest.approx({"ana": 2 * HOUR, "ben": HOUR}, rel=1e-5)
    assert share_of_week(uses, "ana", clock.now) == pytest.approx(2 / 3)
    assert share_of_week(uses, "ana", clock.now + 30 * DAY_S) is None


def test_a_clock_that_was_put_back_gives_nobody_a_negative_use(queue: Queue, clock: Clock) -> None:
    train(queue, clock, "a", "ana", -HOUR)
    train(queue, clock, "b", "ben", HOUR)
    clock.now -= 10 * HOUR
    uses = uses_in(queue.uses(), queue.jobs(), clock.now, str)
    assert all(value >= 0 for value in used_s(uses, clock.now, 7.0).values())


def test_the_queue_says_whose_week_it_was(queue: Queue, clock: Clock) -> None:
    site = SiteSettings()
    train(queue, clock, "a", "ana", 61 * HOUR / 10)
    train(queue, clock, "b", "ben", 39 * HOUR / 10)
    for run_id, owner in (("a1", "ana"), ("b1", "ben"), ("c1", "cleo")):
        assert queue.put(Job(run_id=run_id, owner=owner))
    order = turns(queue, site, queue.jobs()).order
    assert names(order) == ["c1", "b1", "a1"]
    standing = standings(queue, site, order)
    assert set(standing) == {"b1", "a1"}
    words = "61 % of the last 7 days was yours: this run waits for 2 runs of others"
    assert standing_in_words(standing["a1"], "ana", "ana") == words
    assert "was ana's" in standing_in_words(standing["a1"], "ana", "ben")
    by_arrival = SiteSettings(queue_order="first_come")
    assert names(turns(queue, by_arrival, queue.jobs()).order) == ["a1", "b1", "c1"]
    assert standings(queue, by_arrival, order) == {}


def test_logins_of_one_account_share_one_use(queue: Queue, clock: Clock) -> None:
    site = SiteSettings(people={"ana@example.org": "ana"})
    train(queue, clock, "a", "ana@example.org", HOUR)
    for run_id, owner in (("a1", "ana"), ("b1", "ben")):
        assert queue.put(Job(run_id=run_id, owner=owner))
    assert names(turns(queue, site, queue.jobs()).order) == ["b1", "a1"]


def test_a_move_passes_the_runs_of_its_owner_only(queue: Queue) -> None:
    for run_id, owner in (("a1", "ana"), ("b1", "ben"), ("a2", "ana")):
        assert queue.put(Job(run_id=run_id, owner=owner))
    assert queue.move("a2", "up", among=lambda owner: owner == "ana")
    assert names(queue.jobs()) == ["a2", "b1", "a1"]


def test_a_queue_that_is_damaged_is_built_again_with_what_the_runs_say_of_its_use(tmp_path: Path) -> None:
    store, now = RunStore(tmp_path), datetime.fromtimestamp(NOW, UTC)
    run = store.create("vae", tiny_settings(), owner="ana")
    moments = (("started", 5), ("queued", 4), ("resumed", 3), ("adopted", 2.5), ("finished", 1))
    lines = [{"at": (now - timedelta(hours=ago)).isoformat(), "event": event} for event, ago in moments]
    run.events_path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    queue = Queue(tmp_path, lambda: NOW)
    assert queue.put(Job(run_id=run.id))
    queue.close()
    for path in queue.folder.glob("queue.db*"):
        path.write_bytes(b"no database" * 1000)
    set_aside_if_damaged(queue)
    uses = uses_in(queue.uses(), [], NOW, str)
    assert [(use.owner, NOW - use.start, NOW - use.end) for use in uses] == [
        ("ana", 5 * HOUR, 4 * HOUR),
        ("ana", 3 * HOUR, HOUR),
    ]


def test_what_somebody_wrote_into_the_table_of_uses_is_left_out(queue: Queue, clock: Clock) -> None:
    train(queue, clock, "a", "ana", HOUR)
    rows = [("ben", "many", 1.0, 2.0), ("ben", 1, "x", 2.0), ("ben", 10**9, 1.0, NOW), ("ben", 1, NOW, -1.0)]
    with queue.transaction() as database:
        database.executemany("insert into uses values(?, ?, ?, ?)", rows)
    assert {use.owner for use in uses_in(queue.uses(), [], clock.now, str)} == {"ana"}
