"""A classifier of scikit-learn finds the share of right labels, whatever it gets wrong itself."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

from benchmarks.foreign_classifier import opinion, pixels_of
from core.data.arrays import Split


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.3])
def test_the_share_of_right_labels_is_found_by_a_classifier_that_errs_itself(wrong: float) -> None:
    digits = load_digits()
    images = (digits.images[..., None] * 15.9).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    learn, known, test = order[:500], order[500:1200], order[1200:]
    classifier = GaussianNB(var_smoothing=0.01).fit(pixels_of(images[learn]), labels[learn])
    asked = labels[test].copy()
    changed = np.arange(len(test)) < round(wrong * len(test))
    asked[changed] = (asked[changed] + 3) % 10
    found = opinion(classifier, Split(images=images[known], labels=labels[known]), images[test], asked)
    assert found.real < 0.93, "it errs itself"
    assert found.low <= 1.0 - changed.mean() <= found.high
    assert found.plain < found.accuracy == pytest.approx(1.0 - changed.mean(), abs=0.05)
