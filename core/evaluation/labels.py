"""Which classes the images of an evaluation show: as often as in the training split, or all equally often.

Images in other proportions than the reference's are far from it however good they are, so a distance of them measures
the balance as well. The floor is therefore drawn with the same labels. Never imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.seeding import derive

if TYPE_CHECKING:
    from core.config.schema import LabelChoice

LABELS_RULE = 2  # 1: classes in turn whatever the reference, and a floor that is one draw in other proportions


def class_counts(shares: Sequence[float] | np.ndarray, count: int) -> np.ndarray:
    """How many of `count` images show each class, (K,) int64, by largest remainder; ties go to the first class.

    shares: (K,) not negative, of any sum above 0. Source: Hamilton's method of apportionment.
    """
    exact = np.asarray(shares, dtype=np.float64) * count / np.sum(shares)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    missing = count - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts


def asked_labels(choice: LabelChoice, reference: np.ndarray, num_classes: int, count: int, seed: int) -> np.ndarray:
    """Labels (count,) int64 of the images to generate. reference: labels of the training split.

    'balanced': class i mod K for image i. 'proportions': the reference's shares exactly, spread evenly, so that every
    beginning has about the shares of the whole; `seed` decides which class comes where.
    """
    if choice == "balanced":
        return np.arange(count) % num_classes
    counts = class_counts(np.bincount(reference, minlength=num_classes), count)
    labels = np.repeat(np.arange(num_classes), counts)
    starts = np.random.default_rng(derive(seed, "evaluation-labels")).random(num_classes)
    places = [(np.arange(number) + start) / number for number, start in zip(counts, starts, strict=True)]
    return labels[np.argsort(np.concatenate(places), kind="stable")]


def drawn_rows(labels: np.ndarray, counts: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """Places of `counts[k]` images of each class k among `labels` (N,), all that there are where they are fewer.

    No place twice; a choice of (seed, purpose), class by class.
    """
    found = []
    for label, count in enumerate(counts):
        places = np.flatnonzero(labels == label)
        order = np.random.default_rng(derive(seed, f"{purpose}-{label}")).permutation(len(places))
        found.append(places[order[:count]])
    return np.concatenate(found)
