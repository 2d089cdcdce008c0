"""Known faults put into real images, and which measure sees them: a measure that sees nothing measures nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.evaluation.judge import Judge, OnProgress
from core.evaluation.labels import class_counts, drawn_rows
from core.evaluation.measure_test_results import FaultTest, MeasureTest, Seen
from core.evaluation.measures import measure
from core.evaluation.scores import scores_of_measures
from core.runs.run import now_iso
from core.seeding import derive

if TYPE_CHECKING:
    from core.data.arrays import ImageSet

IMAGES = 1000
MOST_OF_HELDOUT = 0.5  # of the held-out images that the test takes
REPEATED = 20  # how often each of the few images stands in the set
NOISE = 25.0  # gray levels
BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Real images and what a fault may need besides. pictures, copies (N, H, W, C) uint8: of the held-out and of the
    training split, both of `labels` (N,)."""

    pictures: np.ndarray
    copies: np.ndarray
    labels: np.ndarray
    source: np.random.Generator


Faulty = tuple[np.ndarray, np.ndarray]  # pictures and the labels that were asked for


def untouched(sample: Sample) -> Faulty:
    """As they are."""
    return sample.pictures, sample.labels


def blurred(sample: Sample) -> Faulty:
    """Every pixel the mean of its neighborhood, weighed 1 2 1 both ways, twice."""
    found = sample.pictures.astype(np.float64)
    for _ in range(2):
        for axis in (1, 2):
            found = (np.roll(found, 1, axis) + 2 * found + np.roll(found, -1, axis)) / 4
    return _uint8(found), sample.labels


def noisy(sample: Sample) -> Faulty:
    """Gaussian noise of 25 gray levels in every pixel."""
    return _with_noise(sample.pictures, NOISE, sample.source), sample.labels


def without_a_class(sample: Sample) -> Faulty:
    """Where the most frequent class was asked for, images of other classes."""
    missing = np.bincount(sample.labels).argmax()
    others = np.flatnonzero(sample.labels != missing)
    found = sample.pictures.copy()
    holes = np.flatnonzero(sample.labels == missing)
    found[holes] = sample.pictures[sample.source.choice(others, len(holes))]
    return found, sample.labels


def shuffled(sample: Sample) -> Faulty:
    """The right images in another order than the labels."""
    return sample.pictures[sample.source.permutation(len(sample.pictures))], sample.labels


def copied(sample: Sample) -> Faulty:
    """Training images."""
    return sample.copies, sample.labels


def disguised(sample: Sample) -> Faulty:
    """Training images, a quarter each with a little noise, dimmed, shifted by a pixel, and turned by 5 degrees."""
    found = sample.copies.copy()
    found[0::4] = _with_noise(found[0::4], NOISE / 3, sample.source)
    found[1::4] = _uint8(found[1::4] * 0.9)
    found[2::4] = np.roll(found[2::4], 1, axis=2)
    found[3::4] = _turned(found[3::4], 5.0)
    return found, sample.labels


def repeated(sample: Sample) -> Faulty:
    """Few images, each many times, with the labels that were asked for."""
    found = sample.pictures.copy()
    for label in np.unique(sample.labels):
        places = np.flatnonzero(sample.labels == label)
        few = places[: max(1, len(places) // REPEATED)]
        found[places] = sample.pictures[np.resize(few, len(places))]
    return found, sample.labels


FAULTS: dict[str, Callable[[Sample], Faulty]] = {
    "Real images": untouched,
    "Blur": blurred,
    "Noise": noisy,
    "A class missing": without_a_class,
    "Labels shuffled": shuffled,
    "Copies of training images": copied,
    "Copies, disguised": disguised,
    "Few images repeated": repeated,
}


def sample_of(image_set: ImageSet, count: int, seed: int) -> Sample:
    """At most `count` held-out images, in the training data's proportions as far as there are enough of each class."""
    heldout, train = image_set.heldout, image_set.train
    count = min(count, int(MOST_OF_HELDOUT * len(heldout.labels)))
    wanted = class_counts(np.bincount(train.labels, minlength=image_set.num_classes), count)
    rows = drawn_rows(np.asarray(heldout.labels), wanted, seed, "fault-test")
    labels = np.asarray(heldout.labels)[rows]
    counts = np.bincount(labels, minlength=image_set.num_classes)
    copies = drawn_rows(np.asarray(train.labels), counts, seed, "fault-test-copies")
    return Sample(
        pictures=np.array(heldout.images[rows]),
        copies=np.array(train.images[copies]),
        labels=labels.astype(np.int64),
        source=np.random.default_rng(derive(seed, "fault-test")),
    )


def measure_faults(
    judge: Judge,
    image_set: ImageSet,
    *,
    neighbours: int,
    count: int = IMAGES,
    seed: int = 0,
    progress: OnProgress | None = None,
) -> MeasureTest:
    """Measure real images once per fault. A measure sees a fault where its score is worse than real images' by the
    rule of the score card. progress(text, share); what it raises ends the test."""
    started, found = time.monotonic(), []
    for number, (name, fault) in enumerate(FAULTS.items()):
        sample = sample_of(image_set, count, seed)
        if progress:
            progress(name, number / len(FAULTS))
        pictures, labels = fault(sample)
        batches = (pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH))
        measured = measure(batches, labels, judge=judge, image_set=image_set, neighbours=neighbours, seed=seed)
        scores = scores_of_measures(measured, real_accuracy=judge.accuracy, count=len(labels))
        seen = tuple(Seen(title=each.measure.title, value=each.value, sees=each.is_below_real) for each in scores)
        found.append(FaultTest(name=name, seen=seen, is_none=fault is untouched))
    return MeasureTest(
        created_at=now_iso(),
        data_set=image_set.name,
        fingerprint=image_set.fingerprint,
        judge_hash=judge.hash,
        num_images=len(sample.labels),
        seed=seed,
        faults=tuple(found),
        elapsed_s=time.monotonic() - started,
    )


def _with_noise(pictures: np.ndarray, levels: float, source: np.random.Generator) -> np.ndarray:
    return _uint8(pictures + source.normal(0.0, levels, pictures.shape))


def _turned(pictures: np.ndarray, degrees: float) -> np.ndarray:
    """Each image turned about its middle, by the nearest pixel."""
    height, width = pictures.shape[1:3]
    angle = np.deg2rad(degrees)
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
    from_y = np.clip(np.rint(np.cos(angle) * y - np.sin(angle) * x + (height - 1) / 2), 0, height - 1).astype(int)
    from_x = np.clip(np.rint(np.sin(angle) * y + np.cos(angle) * x + (width - 1) / 2), 0, width - 1).astype(int)
    return pictures[:, from_y, from_x]


def _uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
