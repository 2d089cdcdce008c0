"""A report as scores and sentences: what is worse than real images is said, what is not is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.evaluation.report import ClassScore, Report
from core.evaluation.scores import confusion_of, findings, headline, mixed_up, scores_of
from tests.core.evaluation.test_report import REPORT
from tests.core.evaluation.test_vae_ceiling import CEILING

REAL = replace(
    REPORT, class_accuracy=0.9948, class_accuracy_high=0.998, fd_judge=0.25, precision=0.93, recall=0.94, copy_ratio=1.0
)
NAMES = ("ant", "bee", "cow")
CONFUSION = np.array([[18, 2, 0], [0, 20, 0], [1, 3, 16]])


def of_three(**changes: object) -> Report:
    scores = tuple(ClassScore(name=name, count=20, correct=18, accuracy=0.9, low=0.7, high=1.0) for name in NAMES)
    return replace(REAL, per_class=scores, **changes)  # type: ignore[arg-type]


def faults(report: Report, confusion: np.ndarray | None = None) -> list[str]:
    return [found.title for found in findings(report, confusion) if found.is_fault]


def test_images_as_good_as_real_ones_have_no_fault() -> None:
    assert faults(REAL) == []
    assert headline(REAL) == "99.5 % show the right class. Nothing was found wrong."
    (said,) = findings(REAL, None)
    assert said.title == "No sign of memorization by this test"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"class_accuracy": 0.9, "class_accuracy_high": 0.92}, "Some images show another class"),
        ({"recall": 0.8}, "Together they vary less than real images"),
        ({"precision": 0.8}, "Some do not look like real images"),
        ({"fd_judge": 0.4}, "As a set they differ from the training images"),
        ({"copy_ratio": 0.5}, "They lie closer to training images than new images would"),
    ],
)
def test_what_is_worse_than_real_images_is_said(changes: dict[str, float], fault: str) -> None:
    assert faults(replace(REAL, **changes)) == [fault]


@pytest.mark.parametrize("changes", [{"recall": 0.93}, {"precision": 0.92}, {"fd_judge": 0.3}, {"copy_ratio": 0.9}])
def test_a_difference_that_means_nothing_is_not_said(changes: dict[str, float]) -> None:
    assert faults(replace(REAL, **changes)) == []


@pytest.mark.parametrize(("count", "is_clear"), [(1000, False), (10_000, True)])
def test_what_chance_explains_at_that_number_of_images_is_no_fault(count: int, is_clear: bool) -> None:
    report = replace(REAL, real_recall=0.86, recall=0.83, precision_recall_count=count)
    assert bool(faults(report)) == is_clear


def test_classes_that_are_mixed_up_are_named_with_their_share() -> None:
    first, second = [found.words for found in findings(of_three(), CONFUSION) if found.is_fault][:2]
    assert first == "15.0 % of the images asked for as cow are read as bee: 3 of 20."
    assert second == "10.0 % of the images asked for as ant are read as bee: 2 of 20."
    assert mixed_up(CONFUSION) == [(2, 1), (0, 1), (2, 0)]


def test_the_confusion_comes_from_the_images_where_the_report_has_none() -> None:
    asked, seen = [0, 0, 1, 2], [0, 1, 1, 2]
    found = confusion_of(of_three(), asked, seen)
    assert found is not None
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert confusion_of(of_three()) is None
    for wrong in ([0, 3, 1, 2], [0, -1, 1, 2]):
        assert confusion_of(of_three(), asked, wrong) is None


def test_every_score_has_what_real_images_get_and_the_vae_alone() -> None:
    scores = {score.measure.field: score for score in scores_of(REPORT, CEILING)}
    assert {"class_accuracy", "fd_judge", "precision", "recall", "copy_ratio"} <= set(scores)
    accuracy, distance = scores["class_accuracy"], scores["fd_judge"]
    assert (accuracy.low, accuracy.high, accuracy.real, accuracy.count) == (0.982, 0.995, 0.9948, 1000)
    assert (distance.real, distance.spread, distance.vae) == (0.25, 0.02, CEILING.fd_judge)
    assert {name for name, score in scores.items() if score.is_below_real} == {"fd_judge", "recall"}
