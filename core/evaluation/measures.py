"""What the judge finds about a set of pictures: one function per measure, in one list."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.errors import UsageError
from core.evaluation.differences import normal_interval
from core.evaluation.intervals import ENDLESS, halves, standard_error
from core.evaluation.judge import Judge, split_features
from core.evaluation.labels import drawn_rows
from core.evaluation.metrics import (
    FrechetReference,
    copy_ratio,
    frechet_distance,
    kernel_distance,
    wilson_interval,
)
from core.evaluation.neighbourhoods import neighbourhoods
from core.evaluation.report import ClassScore, Figure, Measures
from core.seeding import derive

if TYPE_CHECKING:
    from core.data.arrays import ImageSet

MAX_NEIGHBOUR_PICTURES = 10_000
FLOOR_DRAWS, FLOOR_PURPOSE = 10, "evaluation-heldout"
MOST_OF_HELDOUT = 0.9
MOST_CLASSES = 100
MAX_KERNEL_PICTURES = 2_500  # each with each other, in memory
LEAST_PER_DIMENSION = 4  # images: below it an interval of FD-judge is not one
ENDLESS_PER_DIMENSION = 15  # the same of its extrapolation, which is bent for few: 84 % held the truth at N = 512
MAX_COPY_PICTURES = 2_000  # a median needs no more, and each is compared with the whole training split

OnProgress = Callable[[str, float], None]
Look = tuple[torch.Tensor, np.ndarray]  # of a batch: features (·, D), and the class (·,) that the judge sees in each


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the judge saw: features (·, D) of generated and of all real pictures, and its guesses (N,).

    labels (N,): the classes asked for; train_labels, heldout_labels: those of the real pictures. classes: their names.
    neighbours: k. seed: draws every choice of rows.
    """

    features: torch.Tensor
    train: torch.Tensor
    heldout: torch.Tensor
    labels: np.ndarray
    train_labels: np.ndarray
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
        "per_class": tuple(_class_score(seen, k, right) for k in range(len(seen.classes))),
    }


def confusion(seen: Seen) -> dict[str, Any]:
    """How often the judge takes a picture of each class asked for each class."""
    size = len(seen.classes)
    if size > MOST_CLASSES:
        return {}
    pairs = np.bincount(seen.labels * size + seen.guesses, minlength=size * size).reshape(size, size)
    return {"confusion": tuple(tuple(int(number) for number in row) for row in pairs)}


def fd_judge(seen: Seen) -> dict[str, Any]:
    """Fréchet distance to the whole training split, and its floor: that of held-out real pictures of these labels."""
    reference = FrechetReference(seen.train)
    value, count = frechet_distance(seen.train, seen.features), len(seen.features)
    found = {
        "fd_judge": value,
        "fd_reference_count": len(seen.train),
        **fd_floor(reference, seen.heldout, seen.heldout_labels, seen.counts, seen.seed),
    }
    if count < LEAST_PER_DIMENSION * seen.features.shape[1]:
        return found
    error = fd_error(reference, seen.features, seen.labels)
    low, high = normal_interval(value, error)
    infinite = Figure(value=endless_distance(reference, seen.features, seen.labels), count=count)
    if count >= ENDLESS_PER_DIMENSION * seen.features.shape[1]:
        its_low, its_high = normal_interval(infinite.value, endless_error(reference, seen.features, seen.labels))
        infinite = replace(infinite, low=its_low, high=its_high)
    return {**found, "fd_low": max(0.0, low), "fd_high": high, "fd_infinite": infinite}


def fd_error(reference: FrechetReference, features: torch.Tensor, labels: np.ndarray) -> float:
    """The standard error of FD-judge of features (N, D) of the labels asked (N,); twice that for few images."""
    return _cautious(features) * standard_error(
        lambda places: reference.influence(features[torch.from_numpy(places)]), labels
    )


def endless_error(reference: FrechetReference, features: torch.Tensor, labels: np.ndarray) -> float:
    """The standard error of `endless_distance`, of at least `ENDLESS_PER_DIMENSION` images per feature."""
    return standard_error(
        lambda places: reference.influence(features[torch.from_numpy(places)]), labels, quadratic=ENDLESS
    )


def fd_difference_error(
    reference: FrechetReference, first: torch.Tensor, second: torch.Tensor, labels: np.ndarray
) -> float:
    """As `fd_error`, of the difference between two sets (N, D) of the same labels and noise, image by image."""

    def influence(places: np.ndarray) -> np.ndarray:
        chosen = torch.from_numpy(places)
        return reference.influence(first[chosen]) - reference.influence(second[chosen])

    return _cautious(first) * standard_error(influence, labels)


def _cautious(features: torch.Tensor) -> float:
    return 1.0 if len(features) >= LEAST_PER_DIMENSION * features.shape[1] else 2.0


def endless_distance(reference: FrechetReference, features: torch.Tensor, labels: np.ndarray) -> float:
    """FD-judge of endless pictures: a line in 1/N through that of all, of halves and of quarters (means of parts).

    Source: arXiv 1911.07023, section 4.
    """
    levels = [[np.arange(len(labels))]]
    for _ in range(2):
        levels.append([part[each] for part in levels[-1] for each in halves(labels[part])])
    found = [np.mean([reference.distance(features[torch.from_numpy(part)]) for part in parts]) for parts in levels]
    return float(np.polyfit([len(parts) for parts in levels], found, 1)[1])


def kid(seen: Seen) -> dict[str, Any]:
    """Kernel distance to as many training pictures, 2,500 a side at most, and that of ten draws of real ones."""
    count = min(seen.pairs, MAX_KERNEL_PICTURES)
    if count < 4:  # halves have an error too
        return {}
    rows = chosen_rows(len(seen.features), count, seen.seed, "evaluation-generated")
    features, labels = seen.features[torch.from_numpy(rows)], seen.labels[rows]
    references = choose_rows(seen.train, count, seen.seed, "evaluation-train")
    value, _ = kernel_distance(references, features)
    error = standard_error(lambda places: kernel_distance(references, features[torch.from_numpy(places)])[1], labels)
    low, high = normal_interval(value, error)
    counts = np.bincount(labels, minlength=len(seen.classes))
    draws = [
        drawn_rows(seen.heldout_labels, counts, seen.seed, f"{FLOOR_PURPOSE}-{draw}") for draw in range(FLOOR_DRAWS)
    ]
    floors = [kernel_distance(references, seen.heldout[torch.from_numpy(each)])[0] for each in draws]
    spread = statistics.stdev(floors) if len(draws[0]) <= MOST_OF_HELDOUT * len(seen.heldout) else None
    return {"kid": Figure(value=value, low=low, high=high, floor=statistics.mean(floors), floor_sd=spread, count=count)}


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


def nearness(seen: Seen) -> dict[str, Any]:
    """Precision, recall, density and coverage between `pairs` generated and as many training pictures, and of held-out
    real ones."""
    references = choose_rows(seen.train, seen.pairs, seen.seed, "evaluation-train")
    found = neighbourhoods(references, seen.generated_sample, seen.neighbours)
    low, high = wilson_interval(round(found.precision * seen.pairs), seen.pairs)
    real = seen.real_sample
    count = min(seen.pairs, len(real))
    floor = neighbourhoods(references[:count], real[:count], seen.neighbours) if seen.neighbours < count else None
    clipped = {
        name: Figure(
            value=getattr(found, name), floor=None if floor is None else getattr(floor, name), count=seen.pairs
        )
        for name in ("clipped_density", "clipped_coverage")
    }
    return {
        "precision": found.precision,
        "precision_low": low,
        "precision_high": high,
        "recall": found.recall,
        "density": found.density,
        "coverage": found.coverage,
        **clipped,
        "neighbours": seen.neighbours,
        "precision_recall_count": seen.pairs,
        "real_precision": None if floor is None else floor.precision,
        "real_recall": None if floor is None else floor.recall,
    }


def copies(seen: Seen) -> dict[str, Any]:
    """Distance to the nearest training picture beside that of held-out ones; 2,000 a side at most."""
    generated, real = seen.generated_sample[:MAX_COPY_PICTURES], seen.real_sample[:MAX_COPY_PICTURES]
    return {"copy_ratio": copy_ratio(generated, seen.train, real)}


# each returns fields of Measures
MEASURES: tuple[Callable[[Seen], Mapping[str, Any]], ...] = (
    class_accuracy,
    confusion,
    fd_judge,
    nearness,
    kid,
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
        train_labels=np.asarray(image_set.train.labels),
        heldout_labels=np.asarray(image_set.heldout.labels),
        guesses=guesses,
        classes=tuple(judge.classes),
        neighbours=neighbours,
        seed=seed,
    )
    if progress:
        progress("Measuring distances", 0.7)
    return Measures(**{name: value for each in MEASURES for name, value in each(seen).items()})


def _class_score(seen: Seen, label: int, right: np.ndarray) -> ClassScore:
    """right (N,): which pictures are of the class that was asked."""
    asked = seen.labels == label
    correct, count = int(right[asked].sum()), int(asked.sum())
    low, high = wilson_interval(correct, count)
    score = ClassScore(
        name=seen.classes[label],
        count=count,
        correct=correct,
        accuracy=correct / count if count else 0.0,
        low=low,
        high=high,
    )
    train = seen.train[torch.from_numpy(seen.train_labels == label)]
    heldout = seen.heldout[torch.from_numpy(seen.heldout_labels == label)]
    if min(count, len(train), len(heldout)) < 2 or len(seen.classes) > MOST_CLASSES:
        return score
    reference, one = FrechetReference(train), np.zeros(len(heldout), dtype=np.int64)
    floor = fd_floor(reference, heldout, one, np.array([count]), seen.seed)
    return replace(
        score,
        fd=reference.distance(seen.features[torch.from_numpy(asked)]),
        fd_floor=floor["fd_floor"],
        fd_floor_sd=floor["fd_floor_sd"],
    )


def recall_of(train: torch.Tensor, features: torch.Tensor, neighbours: int, seed: int) -> float:
    """Recall of generated features (N, D) against as many of the training split's (M, D), rows chosen by `seed`; k is
    `neighbours`. Source: arXiv 1904.06991."""
    pairs = min(len(features), len(train), MAX_NEIGHBOUR_PICTURES)
    real = choose_rows(train, pairs, seed, "evaluation-train")
    generated = choose_rows(features, pairs, seed, "evaluation-generated")
    return neighbourhoods(real, generated, neighbours).recall


def choose_rows(features: torch.Tensor, count: int, seed: int, purpose: str) -> torch.Tensor:
    """`count` of the rows (at most all) in random order, a choice of (seed, purpose)."""
    return features[torch.from_numpy(chosen_rows(len(features), count, seed, purpose))]


def chosen_rows(total: int, count: int, seed: int, purpose: str) -> np.ndarray:
    """Places of `count` of `total` rows, as `choose_rows` takes them."""
    return np.random.default_rng(derive(seed, purpose)).permutation(total)[:count]


def part_of(progress: OnProgress | None, start: float, end: float) -> OnProgress | None:
    """The reporter of a part of the work, which fills start to end of the whole."""
    if progress is None:
        return None
    return lambda text, fraction: progress(text, start + fraction * (end - start))
