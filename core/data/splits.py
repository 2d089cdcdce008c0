"""Which pictures are trained on and which are held out: pure functions of labels, fraction and seed."""

from __future__ import annotations

import numpy as np

from core.data.raw import RawSet
from core.errors import DataUnavailable
from core.rules import NEWEST, check
from core.seeding import derive


def holdout_indices(
    labels: np.ndarray, fraction: float, seed: int, *, where: str = "data", rule: int = NEWEST.split
) -> tuple[np.ndarray, np.ndarray]:
    """(train, heldout): two disjoint ascending index arrays that cover every picture, stratified by class.

    rule: version of the rule, see core.rules; this is version 1.
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
