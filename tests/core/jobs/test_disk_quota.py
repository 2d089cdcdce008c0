"""What each person uses of the disk, and the quota of the site."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.load import load_config
from core.config.site import SiteSettings
from core.jobs import disk_quota, service
from core.jobs.disk_quota import OverQuota, refuse_over_quota, use_by_person, use_of
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore
from tests.core.jobs import standin_worker

MEGABYTE = 10**6


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def run_of(store: RunStore, owner: str, megabytes: float) -> Run:
    run = store.create("vae", load_config(), owner=owner)
    run.write_status(Status(state=RunState.FINISHED))
    run.log_path.write_bytes(b"\0" * int(megabytes * MEGABYTE))
    return run


def site(quota_mb: float) -> SiteSettings:
    return SiteSettings(disk_quota_gb=quota_mb / 1000, people={"ana@example.org": "ana"})


def test_each_person_is_told_what_their_runs_and_their_trash_take(store: RunStore) -> None:
    large, small = run_of(store, "ana", 3), run_of(store, "ana@example.org", 2)
    run_of(store, "ben", 1)
    store.delete(small.id, by="ana")
    ana, ben = use_by_person(store, site(5))
    assert (ana.person, ben.person) == ("ana", "ben")
    assert ana.runs == pytest.approx(3 * MEGABYTE, rel=0.02)
    assert ana.trash == pytest.approx(2 * MEGABYTE, rel=0.02)
    assert [run_id for run_id, _ in ana.largest] == [large.id]
    assert ana.what_to_remove == f"the trash (2.0 MB) or run {large.id} (3.0 MB)"
    assert (ben.is_near, ben.is_over, ben.trash) == (False, False, 0)


@pytest.mark.parametrize(("megabytes", "near", "over"), [(3, False, False), (4.1, True, False), (5, True, True)])
def test_who_comes_near_the_quota_is_told_before_it_is_reached(
    store: RunStore, megabytes: float, near: bool, over: bool
) -> None:
    run_of(store, "ana", megabytes)
    use = use_of(store, site(5), "ana")
    assert use is not None
    assert (use.is_near, use.is_over) == (near, over)
    assert use_of(store, site(0), "ana") is None
    (without,) = use_by_person(store, site(0))
    assert (without.is_near, without.is_over) == (False, False)


def test_old_checkpoints_are_what_goes_first(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_quota, "SMALL", 0.0)
    run = run_of(store, "ana", 5)
    for step in (1, 2):
        standin_worker.save(run, step)
    (use,) = use_by_person(store, site(5))
    assert use.what_to_remove.startswith("old checkpoints (")


def test_a_run_over_the_quota_is_refused_in_one_sentence_and_leaves_nothing(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = run_of(store, "ana", 5)
    monkeypatch.setattr(service, "read_site", lambda: (site(5), ""))
    words = (
        rf"^disk: ana uses 5.0 MB of a quota of 5.0 MB: no new run starts; remove run {mine.id} \(5.0 MB\): on Machine"
    )
    with pytest.raises(OverQuota, match=words):
        service.start_runs(store, lambda made: made.append(store.create("vae", load_config(), owner="ana")))
    assert [run.id for run in store.list()] == [mine.id]
    refuse_over_quota(store, site(5), "ben")
