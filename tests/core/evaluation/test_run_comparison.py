from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from core import rules
from core.__main__ import main
from core.comparison.compared_sides import Measured, Side, side_named
from core.comparison.run_comparison import RunVerdict, recipe_changes, verdict, verdicts
from core.errors import UsageError
from core.evaluation.differences import student_quantile
from core.evaluation.report import Report, write_report
from core.evaluation.verdict import judgement
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore
from tests.core.evaluation.test_report import REPORT
from tests.models import tiny_settings

ERROR = 0.02
NOW = replace(REPORT, fd_judge=1.0, fd_high=1.0 + 1.96 * ERROR, fd_low=1.0 - 1.96 * ERROR, step=30)


class Runs:
    """Trained runs, as far as a verdict looks at them: folders with settings, a status and reports."""

    def __init__(self, root: Path) -> None:
        self.store = RunStore(root / "runs")
        self.first: Run | None = None

    def add(self, seed: int, fd: float | None, *, steps: int = 30, name: str = "", **report: object) -> Run:
        settings = tiny_settings(seed=seed, **{"train_unet.steps": steps})
        run = self.store.create("unet", settings, name=name)
        run.write_status(Status(state=RunState.FINISHED, step=steps, steps_total=steps))
        if fd is not None:
            write_report(run, self.report(run, fd, **{"step": steps, **report}))
        return run

    @staticmethod
    def report(run: Run, fd: float, **changes: object) -> Report:
        moved = replace(NOW, run_id=run.id, fd_judge=fd, fd_high=fd + 1.96 * ERROR, fd_low=fd - 1.96 * ERROR)
        return replace(moved, **changes)  # type: ignore[arg-type]

    def side(self, name: str) -> Side:
        return side_named(self.store, name)

    def verdict(self, first: str, second: str) -> RunVerdict:
        return verdict(self.side(first), self.side(second))


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.mark.parametrize("df", [1.0, 2.0, 3.7, 11.2, 80.0, 5000.0, 1e9])
@pytest.mark.parametrize("share", [0.5, 0.975, 0.99375, 0.9999])
def test_the_quantile_is_that_of_students_t(df: float, share: float) -> None:
    assert student_quantile(share, df) == pytest.approx(stats.t.ppf(share, df), rel=1e-3, abs=1e-6)


def test_single_runs_get_a_verdict_on_their_weights(runs: Runs) -> None:
    good, bad = runs.add(0, 1.0, name="wide"), runs.add(1, 1.6, name="narrow")
    found = runs.verdict(good.id, bad.id)
    assert (found.word, found.of, found.measure) == ("better", "weights", "FD-judge")
    assert found.sentence.startswith("On these weights, 'wide' is better than 'narrow': FD-judge 1 against 1.6 (-0.6")
    assert runs.verdict(bad.id, good.id).word == "worse"
    close = runs.verdict(good.id, runs.add(2, 1.0).id)
    assert close.word == "cannot tell" and close.more_images and "more images" in close.sentence


def test_recipes_need_three_seeds_a_side(runs: Runs) -> None:
    first = [runs.add(seed, 1.0 + 0.01 * seed) for seed in range(3)]
    second = [runs.add(seed, 1.6 + 0.01 * seed, steps=15) for seed in range(2)]
    names = f"group:{first[0].id}", f"group:{second[0].id}"
    assert "needs 3 training seeds" in runs.verdict(*names).refusal
    runs.add(1, 1.61, steps=15)  # the same seed again is the same training
    assert "has 2" in runs.verdict(*names).refusal
    runs.add(2, None, steps=15)  # nobody measured it
    assert "has 2" in runs.verdict(*names).refusal
    runs.add(3, 1.62, steps=15)
    found = runs.verdict(*names)
    assert (found.word, found.of, found.measure, found.seeds) == ("better", "recipe", "FD-judge", (3, 3))
    assert "(3 seeds)" in found.sentence and "On these weights" not in found.sentence


def test_seeds_that_scatter_say_how_many_more_would_tell(runs: Runs) -> None:
    first = [runs.add(seed, fd, class_accuracy=0.7) for seed, fd in enumerate((0.9, 1.1, 1.3))]
    second = [runs.add(seed, fd, class_accuracy=0.7, steps=15) for seed, fd in enumerate((1.2, 1.4, 1.6))]
    found = runs.verdict(f"group:{first[0].id}", f"group:{second[0].id}")
    assert found.word == "cannot tell" and found.more_seeds and f"{found.more_seeds} more seeds" in found.sentence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"judge_hash": "c" * 64}, "another judge"),
        ({"fingerprint": "c" * 64}, "another dataset"),
        ({"num_samples": 2000}, "another number of images"),
        ({"labels": "balanced"}, "other labels"),
        ({"labels_rule": 1}, "no evaluation with an interval"),
    ],
)
def test_what_does_not_compare_is_refused_in_one_sentence(runs: Runs, changes: dict[str, object], words: str) -> None:
    found = runs.verdict(runs.add(0, 1.0, **changes).id, runs.add(1, 1.6).id)
    assert found.word == "" and words in found.refusal and "\n" not in found.refusal


def test_runs_of_another_split_do_not_compare(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "NEWEST", replace(rules.NEWEST, split=2))
    old, new = runs.add(0, 1.0), runs.add(1, 1.6)
    for version, run in (("1", old), ("2", new)):
        path = run.folder / "run.json"
        path.write_text(re.sub(r'"rules.split": "\d"', f'"rules.split": "{version}"', path.read_text()))
    assert "another split" in runs.verdict(old.id, new.id).refusal


def test_a_run_and_a_group_do_not_compare(runs: Runs) -> None:
    first, second = runs.add(0, 1.0), runs.add(1, 1.6)
    assert "single run" in runs.verdict(first.id, f"group:{second.id}").refusal


def test_reports_generated_alike_go_before_others(runs: Runs) -> None:
    first, second = runs.add(0, 1.0, num_inference_steps=20), runs.add(1, 1.6)
    assert runs.verdict(first.id, second.id).notes[0].startswith("Not generated alike")
    write_report(first, runs.report(first, 1.2))
    found = runs.verdict(first.id, second.id)
    assert not found.notes and found.differences[0].value == 1.2


def test_more_than_eight_are_refused(runs: Runs) -> None:
    run = runs.add(0, 1.0)
    with pytest.raises(UsageError, match="2 to 8"):
        verdicts([runs.side(run.id)] * 9)


@pytest.mark.parametrize("shared", [False, True])
def test_equal_recipes_are_called_better_or_worse_in_at_most_5_of_100(shared: bool) -> None:
    """Three seeds a side, whose trainings scatter twice as much as the images do; shared: all on the same noise, which
    moves each side as one, by the whole error of the images."""
    source = np.random.default_rng(0)
    run = Run(Path("/nonexistent/20260101-000000-unet-abcd"))

    def side() -> list[Measured]:
        common, own = (ERROR, 0.0) if shared else (0.0, ERROR)
        values = 1.0 + 2.0 * ERROR * source.standard_normal(3) + own * source.standard_normal(3)
        right = source.binomial(1000, 0.98, 1 if shared else 3) / 1000 + np.zeros(3)
        values += common * source.standard_normal()
        return [
            Measured(run=run, reports=(Runs.report(run, float(fd), seed=0 if shared else k, class_accuracy=float(a)),))
            for k, (fd, a) in enumerate(zip(values, right, strict=True))
        ]

    words = [judgement(recipe_changes(side(), side()), 1000).word for _ in range(400)]
    assert np.mean([word in ("better", "worse") for word in words]) <= 0.05


def test_the_command_says_it_and_json_holds_it(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [runs.add(seed, fd, steps=steps).id for seed, fd, steps in ((0, 1.0, 30), (1, 1.6, 15), (2, 1.0, 30))]
    folder = f"site.runs={runs.store.root}"
    assert main(["compare-runs", *ids, "--set", folder]) == 0
    said = capsys.readouterr().out
    assert "is worse than" in said and "train_unet.steps" in said
    assert main(["compare-runs", *ids, "--json", "--set", folder]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [each["word"] for each in facts["verdicts"]] == ["worse", "cannot tell"]
    assert facts["settings"]["train_unet.steps"] == ["30", "15", "30"]
    shutil.rmtree(runs.store.root / ids[1] / "evaluations")
    assert main(["compare-runs", *ids[:2], "--set", folder]) == 2
    assert "evaluate" in capsys.readouterr().err
