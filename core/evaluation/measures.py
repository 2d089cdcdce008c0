"""What the judge finds about a set of pictures: one function per measure, in one list."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.errors import UsageError
from core.evaluation.judge import Judge, split_features
from core.evaluation.labels import drawn_rows
from core.evaluation.metrics import (
    FrechetReference,
    copy_ratio,
    frechet_distance,
    precision_recall,
    wilson_interval,
)
from core.evaluation.report import ClassScore, Measures
from core.seeding import derive

if TYPE_CHECKING:
    from core.data.arrays import ImageSet

MAX_NEIGHBOUR_PICTURES = 10_000
FLOOR_DRAWS, FLOOR_PURPOSE = 10, "evaluation-heldout"
MOST_OF_HELDOUT = 0.9
MAX_COPY_PICTURES = 2_000  # a median needs no more, and each is compared with the whole training split

OnProgress = Callable[[str, float], None]
Look = tuple[torch.Tensor, np.ndarray]  # of a batch: features (·, D), and the class (·,) that the judge sees in each


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the judge saw: features (·, D) of generated and of all real pictures, and its guesses (N,).

    labels (N,): the classes asked for; heldout_labels: those of the held-out pictures. classes: their names.
    neighbours: k. seed: draws every choice of rows.
    """

    features: torch.Tensor
    train: torch.Tensor
    heldout: torch.Tensor
    labels: np.ndarray
    heldout_labels: np.ndarray
    guesses: np.ndarray
    classes: tuple[str, ...]
    neighbours: int
    seed: int

    @property
    def pairs(self) -> int:
        """How many generated pictures are compared with as many of the training split."""
        return min(len(self.features), len(self.train), MAX_NEIGHBOUR_PICTURES)

    @property
    def generated_sample(self) -> torch.Tensor:
        """`pairs` generated rows."""
        return choose_rows(self.features, self.pairs, self.seed, "evaluation-generated")

    @property
    def counts(self) -> np.ndarray:
        """How many pictures were asked of each class (K,)."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @property
    def real_sample(self) -> torch.Tensor:
        """Held-out rows with the labels asked for: the floor of every measure. Of a class with too few, all."""
        rows = drawn_rows(self.heldout_labels, self.counts, self.seed, f"{FLOOR_PURPOSE}-0")
        return self.heldout[torch.from_numpy(rows)]


def class_accuracy(seen: Seen) -> dict[str, Any]:
    """Share of pictures that the judge takes for the class asked for, in all and by class; Wilson intervals."""
    right = seen.guesses == seen.labels
    low, high = wilson_interval(int(right.sum()), len(right))
    return {
        "class_accuracy": float(right.mean()),
        "class_accuracy_low": low,
        "class_accuracy_high": high,
        "per_class": tuple(_class_score(name, right[seen.labels == k]) for k, name in enumerate(seen.classes)),
    }


def fd_judge(seen: Seen) -> dict[str, Any]:
    """Fréchet distance to the whole training split, and its floor: that of held-out real pictures of these labels."""
    return {
        "fd_judge": frechet_distance(seen.train, seen.features),
        "fd_reference_count": len(seen.train),
        **fd_floor(FrechetReference(seen.train), seen.heldout, seen.heldout_labels, seen.counts, seen.seed),
    }


def fd_floor(
    reference: FrechetReference, heldout: torch.Tensor, labels: np.ndarray, counts: np.ndarray, seed: int
) -> dict[str, Any]:
    """Mean and standard deviation of the distance of ten draws of held-out pictures, `counts` (K,) of each class.

    heldout (M, D), labels (M,). A class with too few pictures weighs as much as was asked. The draws overlap, which the
    finite population correction makes up for; where a draw takes more than nine tenths of the held-out pictures the
    spread is None.
    """
    found = []
    for draw in range(FLOOR_DRAWS):
        rows = drawn_rows(labels, counts, seed, f"{FLOOR_PURPOSE}-{draw}")
        there = np.bincount(labels[rows], minlength=len(counts))
        weights = (counts / np.maximum(there, 1))[labels[rows]]
        one = torch.from_numpy(weights / weights.mean())[None]
        found.append(float(reference.distances(heldout[torch.from_numpy(rows)], one)[0]))
    share = len(rows) / len(heldout)
    return {
        "fd_floor": statistics.mean(found),
        "fd_floor_sd": statistics.stdev(found) / math.sqrt(1.0 - share) if share <= MOST_OF_HELDOUT else None,
        "fd_floor_draws": FLOOR_DRAWS,
        "fd_floor_count": len(rows),
    }


def neighbourhoods(seen: Seen) -> dict[str, Any]:
    """Precision and recall between `pairs` generated and as many training pictures, and of held-out real ones."""
    references = choose_rows(seen.train, seen.pairs, seen.seed, "evaluation-train")
    precision, recall = precision_recall(references, seen.generated_sample, seen.neighbours)
    real = seen.real_sample
    count = min(seen.pairs, len(real))
    real_precision, real_recall = (None, None)
    if seen.neighbours < count:
        real_precision, real_recall = precision_recall(references[:count], real[:count], seen.neighbours)
    return {
        "precision": precision,
        "recall": recall,
        "neighbours": seen.neighbours,
        "precision_recall_count": seen.pairs,
        "real_precision": real_precision,
        "real_recall": real_recall,
    }


def copies(seen: Seen) -> dict[str, Any]:
    """Distance to the nearest training picture beside that of held-out ones; 2,000 a side at most."""
    generated, real = seen.generated_sample[:MAX_COPY_PICTURES], seen.real_sample[:MAX_COPY_PICTURES]
    return {"copy_ratio": copy_ratio(generated, seen.train, real)}


# each returns fields of Measures
MEASURES: tuple[Callable[[Seen], Mapping[str, Any]], ...] = (
    class_accuracy,
    fd_judge,
    neighbourhoods,
    copies,
)


def look_at(judge: Judge, pictures: np.ndarray) -> Look:
    """What the judge sees in a batch of pictures, uint8 (·, H, W, C)."""
    features, probabilities = judge.look(pictures)
    return features, probabilities.argmax(axis=1)


def measure(
    pictures: Iterable[np.ndarray],
    labels: np.ndarray,
    *,
    judge: Judge,
    image_set: ImageSet,
    neighbours: int,
    seed: int,
    progress: OnProgress | None = None,
) -> Measures:
    """As `measure_looks`, of pictures that are given as batches of uint8 (·, H, W, C)."""
    return measure_looks(
        (look_at(judge, batch) for batch in pictures),
        labels,
        judge=judge,
        image_set=image_set,
        neighbours=neighbours,
        seed=seed,
        progress=progress,
    )


def measure_looks(
    looks: Iterable[Look],
    labels: np.ndarray,
    *,
    judge: Judge,
    image_set: ImageSet,
    neighbours: int,
    seed: int,
    progress: OnProgress | None = None,
) -> Measures:
    """Measure pictures that should be of `labels` (N,), given as what the judge saw of them, batch by batch.

    Only features are kept, so N pictures need not fit into memory. Raises UsageError for another number of pictures.
    """
    found = list(looks)
    guesses = np.concatenate([of_batch for _, of_batch in found])
    if len(guesses) != len(labels):
        raise UsageError(f"evaluation: {len(guesses)} images but {len(labels)} labels")
    seen = Seen(
        features=torch.cat([batch for batch, _ in found]),
        train=split_features(judge, image_set, "train", part_of(progress, 0.0, 0.6)),
        heldout=split_features(judge, image_set, "heldout", part_of(progress, 0.6, 0.7)),
        labels=labels,
        heldout_labels=np.asarray(image_set.heldout.labels),
        guesses=guesses,
        classes=tuple(judge.classes),
        neighbours=neighbours,
        seed=seed,
    )
    if progress:
        progress("Measuring distances", 0.7)
    return Measures(**{name: value for each in MEASURES for name, value in each(seen).items()})


def _class_score(name: str, right: np.ndarray) -> ClassScore:
    correct, count = int(right.sum()), len(right)
    low, high = wilson_interval(correct, count)
    return ClassScore(
        name=name, count=count, correct=correct, accuracy=correct / count if count else 0.0, low=low, high=high
    )


def choose_rows(features: torch.Tensor, count: int, seed: int, purpose: str) -> torch.Tensor:
    """`count` of the rows (at most all) in random order, a choice of (seed, purpose)."""
    chosen = np.random.default_rng(derive(seed, purpose)).permutation(len(features))[:count]
    return features[torch.from_numpy(chosen)]


def part_of(progress: OnProgress | None, start: float, end: float) -> OnProgress | None:
    """The reporter of a part of the work, which fills start to end of the whole."""
    if progress is None:
        return None
    return lambda text, fraction: progress(text, start + fraction * (end - start))
