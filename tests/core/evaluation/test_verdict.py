from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from core.comparison.comparison_results import CELLS, CellResult
from core.comparison.grid import CellSettings
from core.errors import UsageError
from core.evaluation.report import Report, compared
from core.evaluation.verdict import Change, accuracy_change, fd_change, judgement
from tests.core.evaluation.test_report import REPORT


def change(value: float, error: float, margin: float = 1.0) -> Change:
    return Change(value=value, error=error, margin=margin)


NOTHING = change(0.0, 0.1)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ((NOTHING, NOTHING), "as good"),
        ((change(0.5, 0.1), NOTHING), "as good"),  # sure, and too little to matter
        ((change(3.0, 0.5), NOTHING), "worse"),
        ((change(-3.0, 0.5), NOTHING), "better"),
        ((change(3.0, 0.5), change(-3.0, 0.5)), "cannot tell"),
        ((change(1.0, 0.6), NOTHING), "cannot tell"),
        ((change(3.0, 0.5), change(0.5, 0.6)), "worse"),
        ((change(-3.0, 0.5), change(0.5, 0.6)), "better"),
    ],
)
def test_two_measures_become_one_of_four_words(changes: tuple[Change, ...], word: str) -> None:
    assert judgement(changes, 1000).word == word
    mirrored = [replace(each, value=-each.value) for each in changes]
    opposite = {"worse": "better", "better": "worse"}
    assert judgement(mirrored, 1000).word == opposite.get(word, word)


def test_what_is_sure_of_one_cell_is_not_of_many() -> None:
    changes = (change(1.5, 0.6), NOTHING)
    assert judgement(changes, 1000).word == "worse"
    assert judgement(changes, 1000, cells=40).word == "cannot tell"


@pytest.mark.parametrize("cells", [1, 10])
def test_equal_sets_are_called_better_or_worse_in_less_than_5_of_100(cells: int) -> None:
    found = np.random.default_rng(0).standard_normal((4000, cells, 2))

    def word(values: np.ndarray) -> str:
        changes = [change(float(value), 1.0, 0.5) for value in values]
        return judgement(changes, 1000, cells=cells).word

    wrong = [any(word(cell) in ("better", "worse") for cell in grid) for grid in found[::cells]]
    assert 0.01 < np.mean(wrong) < 0.04  # the whole of 5 would be exceeded by every second repetition


def test_as_many_images_as_it_says_would_tell() -> None:
    for value, error in ((0.4, 0.6), (0.9, 0.5), (0.0, 0.8)):
        found = judgement((change(value, error), NOTHING), 1000)
        assert found.word == "cannot tell" and found.more_images is not None
        later = error * (1000 / (1000 + found.more_images)) ** 0.5
        assert judgement((change(value, later), NOTHING), 1000).word != "cannot tell"
        sooner = error * (1000 / (1000 + 0.8 * found.more_images)) ** 0.5
        assert judgement((change(value, sooner), NOTHING), 1000).word == "cannot tell"
    assert judgement((change(1.0, 1e9), NOTHING), 1000).more_images is None


def test_margins_are_shares_of_what_the_reference_gets_wrong() -> None:
    assert accuracy_change(-0.01, 0.1, reference=0.98, num_images=1000) == change(0.01, 0.1, pytest.approx(0.005))
    assert accuracy_change(0.0, 0.1, reference=1.0, num_images=1000).margin == pytest.approx(0.00025)
    assert fd_change(0.1, 0.1, reference=0.4, floor=0.2).margin == pytest.approx(0.04)
    assert fd_change(0.1, 0.1, reference=0.1, floor=0.2).margin == pytest.approx(0.02)


@pytest.mark.parametrize(("old", "word"), [("indistinguishable", "as good"), ("unclear", "cannot tell")])
def test_the_words_of_older_comparisons_are_understood(old: str, word: str) -> None:
    base = CellSettings(sampler="unipc", num_inference_steps=4, guidance_scale=1.5, seed=0, weights="ema", step=16)
    values = {**CELLS.as_json(CellResult(index=0, settings=base)), "verdict": old}
    assert CELLS.parse(json.dumps(values).encode(), "0000.json").verdict == word


FAR = replace(REPORT, fd_low=1.2, fd_high=1.3)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "cannot tell"),  # ten errors of a thousand say little of an error rate
        ({"fd_judge": 1.9, "fd_high": 1.95}, "worse"),
        ({"fd_judge": 0.6, "fd_high": 0.65}, "better"),
        ({"class_accuracy": 0.9}, "worse"),
    ],
)
def test_two_reports_are_compared(changes: dict[str, float], word: str) -> None:
    assert compared(replace(FAR, **changes), FAR).word == word  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (replace(FAR, judge_hash="c" * 64), "another judge"),
        (replace(FAR, num_samples=2000), "another number of images"),
        (replace(FAR, labels="balanced"), "other labels"),
        (replace(FAR, labels_rule=1), "other labels"),
        (REPORT, "too few images"),
    ],
)
def test_reports_that_do_not_compare_are_refused(report: Report, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compared(report, FAR)
