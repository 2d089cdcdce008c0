"""The Compare page: the verdict first, by link."""

from __future__ import annotations

from dataclasses import replace

from core.evaluation.report import write_report
from core.runs.run import Run
from core.runs.store import RunStore
from tests.core.evaluation.test_report import REPORT
from tests.pages.conftest import OpenPage
from tests.pages.run_folders import make_run, running, tiny_settings


def evaluated(store: RunStore, name: str, fd: float, **settings: object) -> Run:
    run = make_run(store, name=name, settings=tiny_settings(**settings))
    step = run.status().steps_total
    write_report(run, replace(REPORT, run_id=run.id, step=step, fd_judge=fd, fd_low=fd - 0.04, fd_high=fd + 0.04))
    return run


def words(app: object) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption)).replace("\\", "")  # type: ignore[attr-defined]


def test_the_verdict_comes_first_and_names_its_scope(store: RunStore, open_page: OpenPage) -> None:
    narrow, wide = evaluated(store, "narrow", 1.6), evaluated(store, "wide", 1.0)
    app = open_page("compare", runs=f"{narrow.id},{wide.id}")
    assert not app.exception and not app.error
    verdict = next(each.value for each in app.markdown if each.value.startswith("####"))
    assert "On these weights, 'wide' is better than 'narrow'" in verdict
    assert "3 seeds per side" in words(app)


def test_groups_are_compared_by_their_seeds_and_offered_for_their_runs(store: RunStore, open_page: OpenPage) -> None:
    narrow = [evaluated(store, f"narrow {seed}", 1.6 + seed / 100, seed=seed) for seed in range(3)]
    slow = {"train_unet.learning_rate": 1e-4}
    wide = [evaluated(store, f"wide {seed}", 1.0 + seed / 100, seed=seed, **slow) for seed in range(3)]
    app = open_page("compare", runs=f"{narrow[0].id},{wide[0].id}")
    (link,) = [each.proto for each in app.get("page_link") if each.proto.label.startswith("Compare their groups")]
    assert link.query_string.count("group%3A") == 2
    app = open_page("compare", runs=f"group:{narrow[0].id},group:{wide[0].id}")
    assert not app.exception and not app.error
    assert "'wide' (3 seeds) is better than 'narrow' (3 seeds)" in words(app)
    assert "On these weights" not in words(app)


def test_without_a_choice_it_says_what_to_do(store: RunStore, open_page: OpenPage) -> None:
    assert "No runs yet" in words(open_page("compare"))
    one, two = make_run(store, name="one"), make_run(store, name="two")
    app = open_page("compare", runs=f"{one.id},gone")
    assert "another run" in words(app) and any("gone" in each.value for each in app.warning)
    (link,) = [each.proto for each in open_page("compare").get("page_link") if "newest" in each.proto.label]
    assert two.id in link.query_string


def test_runs_that_do_not_compare_say_why(store: RunStore, open_page: OpenPage) -> None:
    one, two = evaluated(store, "one", 1.0), make_run(store, name="two")
    live = running(store)[0]
    app = open_page("compare", runs=f"{one.id},{two.id},{live.id}")
    assert not app.exception and not app.error
    assert words(app).count("No verdict") == 2 and "has no evaluation" in words(app)
