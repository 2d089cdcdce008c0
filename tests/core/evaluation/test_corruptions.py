"""Faults that are put into real images: each does what it says, and what the test of the measures makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.evaluation.corruptions import FAULTS, Sample
from core.evaluation.measure_test_results import FaultTest, MeasureTest, Seen, in_words, keep_test, kept_test

LABELS = np.repeat([0, 1, 2], [60, 20, 20])


@pytest.fixture
def sample() -> Sample:
    """Images whose brightness is their class; copies are a little brighter."""
    pictures = np.broadcast_to((50 + 60 * LABELS)[:, None, None, None], (100, 8, 8, 1)).astype(np.uint8)
    pictures = pictures + np.arange(100, dtype=np.uint8)[:, None, None, None] % 20
    pictures[:, 3:5, 3:5] += 30
    return Sample(pictures=pictures, copies=pictures + 5, labels=LABELS, source=np.random.default_rng(0))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_keeps_number_shape_and_type(name: str, sample: Sample) -> None:
    before = sample.pictures.copy()
    pictures, labels = FAULTS[name](sample)
    assert (pictures.shape, pictures.dtype, labels.shape) == (before.shape, np.uint8, LABELS.shape)
    assert np.array_equal(sample.pictures, before), "it works on a copy"
    changes = not (np.array_equal(pictures, before) and np.array_equal(labels, LABELS))
    assert changes == (name != "Real images")


def test_a_class_that_is_missing_is_nowhere_in_the_images(sample: Sample) -> None:
    pictures, labels = FAULTS["A class missing"](sample)
    assert pictures[:, 0, 0, 0].min() >= 110
    assert np.array_equal(labels, LABELS)


def test_few_images_stand_for_all_and_show_the_classes_asked_for(sample: Sample) -> None:
    pictures, _ = FAULTS["Few images repeated"](sample)
    flat = pictures.reshape(100, -1)
    assert len(np.unique(flat, axis=0)) == 5
    assert ((flat[:, 0] - 50) // 60).tolist() == LABELS.tolist()


def test_shuffled_labels_leave_the_set_of_images_as_it_is(sample: Sample) -> None:
    pictures, _ = FAULTS["Labels shuffled"](sample)
    assert sorted(map(bytes, pictures)) == sorted(map(bytes, sample.pictures))


def test_disguised_copies_are_near_the_copies_and_not_them(sample: Sample) -> None:
    pictures, _ = FAULTS["Copies, disguised"](sample)
    difference = np.abs(pictures.astype(float) - sample.copies).mean(axis=(1, 2, 3))
    assert difference.max() < 25.0
    assert (difference > 0.0).sum() >= 60


def found(*faults: FaultTest) -> MeasureTest:
    return MeasureTest(
        created_at="2026-01-01T00:00:00+00:00",
        data_set="mnist",
        fingerprint="a" * 64,
        judge_hash="b" * 64,
        num_images=100,
        seed=0,
        faults=faults,
        elapsed_s=1.0,
    )


def fault(name: str, *sees: bool, is_none: bool = False) -> FaultTest:
    return FaultTest(name=name, seen=tuple(Seen(title="x", value=1.0, sees=each) for each in sees), is_none=is_none)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (
            (fault("Real", False, is_none=True), fault("Blur", True, False)),
            "Every fault is seen by at least one measure; untouched images pass.",
        ),
        (
            (fault("Real", True, is_none=True), fault("Blur", True)),
            "Every fault is seen by at least one measure; untouched images do not pass.",
        ),
        ((fault("Real", False, is_none=True), fault("Blur", False)), "No measure sees: blur; untouched images pass."),
    ],
)
def test_what_the_test_says_in_words(faults: tuple[FaultTest, ...], words: str) -> None:
    assert in_words(found(*faults)) == words


def test_a_test_lies_beside_its_judge_and_another_judge_has_none(tmp_path: Path) -> None:
    one = found(fault("Real", False, is_none=True))
    assert kept_test(tmp_path, one.judge_hash) is None
    keep_test(tmp_path, one)
    assert kept_test(tmp_path, one.judge_hash) == one
    assert kept_test(tmp_path, "c" * 64) is None
    keep_test(tmp_path, replace(one, seed=1))
    assert kept_test(tmp_path, one.judge_hash) == replace(one, seed=1)
