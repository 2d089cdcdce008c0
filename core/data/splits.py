"""Which pictures are trained on and which are held out: pure functions of labels, fraction and seed."""

from __future__ import annotations

import numpy as np

from core.data.raw import RawSet
from core.errors import DataUnavailable
from core.rules import NEWEST, check
from core.seeding import derive

VALIDATION_SHARE, MOST_VALIDATION = 1 / 12, 5_000


def holdout_indices(
    labels: np.ndarray, fraction: float, seed: int, *, where: str = "data", rule: int = NEWEST.split
) -> tuple[np.ndarray, np.ndarray]:
    """(train, heldout): two disjoint ascending index arrays that cover every picture, stratified by class.

    rule: version of the rule, see core.rules; all do the same here.
    Each class gives its share, at least one picture and never its last. Raises DataUnavailable when no class has two.
    """
    check("split", rule)
    held: list[np.ndarray] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        order = np.random.default_rng(derive(seed, "holdout", int(label))).permutation(members)
        held.append(order[:count])
    heldout = np.sort(np.concatenate(held)) if held else np.empty(0, dtype=np.int64)
    if not len(heldout):
        raise DataUnavailable(f"{where}: no class has two images, so none can be held out", "add some images")
    kept = np.ones(len(labels), dtype=bool)
    kept[heldout] = False
    return np.flatnonzero(kept), heldout


def validation_indices(labels: np.ndarray, *, rule: int = NEWEST.split) -> np.ndarray:
    """Those of the training images that validate and are not learned from, ascending; none where rule is 1.

    A twelfth of each class, 5,000 in all at most but for rounding, the same for every seed: runs validate on equal
    images. A class with fewer than three gives none.
    """
    check("split", rule)
    if rule == 1:
        return np.empty(0, dtype=np.int64)
    kept = [np.empty(0, dtype=np.int64)]
    for label, count in enumerate(validation_counts(np.bincount(labels)).tolist()):
        members = np.flatnonzero(labels == label)
        kept.append(np.random.default_rng(derive(0, "validation split", label)).permutation(members)[:count])
    return np.sort(np.concatenate(kept))


def validation_counts(counts: np.ndarray) -> np.ndarray:
    """How many of each class validate in a new run, of its training images (K,)."""
    share = min(VALIDATION_SHARE, MOST_VALIDATION / max(1, int(counts.sum())))
    return np.where(counts > 2, np.maximum(1, np.round(share * counts)), 0).astype(np.int64)


def limited_indices(indices: np.ndarray, limit: int | None, seed: int, *, rule: int = NEWEST.split) -> np.ndarray:
    """At most `limit` of the indices, chosen at random once for the seed, in ascending order; None = all."""
    check("split", rule)
    if limit is None or limit >= len(indices):
        return indices
    chosen = np.random.default_rng(derive(seed, "train_limit")).permutation(len(indices))[:limit]
    return indices[np.sort(chosen)]


def check_labels(raw: RawSet, *, where: str) -> None:
    """Refuse sets that cannot be trained on. Raises DataUnavailable naming the class or the label."""
    if len(raw.train.labels) < 2:
        raise DataUnavailable(f"{where}: {len(raw.train.labels)} image is too few", "at least two are needed")
    classes = len(raw.class_names)
    for split in (raw.train, raw.heldout):
        if split is not None and not 0 <= split.labels.min() <= split.labels.max() < classes:
            raise DataUnavailable(
                f"{where}: labels must be 0 to {classes - 1}, got {split.labels.min()} to {split.labels.max()}"
            )
    counts = np.bincount(raw.train.labels, minlength=classes)
    if not counts.all():
        empty = int(np.argmin(counts))
        raise DataUnavailable(f"{where}: class {empty} ('{raw.class_names[empty]}') has no images")
