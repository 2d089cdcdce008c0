"""Class accuracy beside a classifier that this code never saw: `python -m benchmarks.foreign_classifier --run RUN`.

scikit-learn's perceptron learns from the pixels of real images and looks at the images of a report. It errs in at least
none of them and in about as many as of real held-out ones, so its answer is a range.

Results: benchmarks/results/foreign-classifier-<date>.json.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.report import RESULTS, machine
from core.config.load import read_site
from core.data.arrays import Split, prepare
from core.errors import UsageError
from core.evaluation.differences import normal_interval
from core.evaluation.drawn import drawn_images
from core.evaluation.metrics import wilson_interval
from core.evaluation.report import list_reports
from core.runs.store import RunStore


class Classifier(Protocol):
    """What scikit-learn's classifiers do."""

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """The class (N,) of each row of pixels (N, H·W·C), 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """Class accuracy of generated images as another classifier sees it.

    plain: as it stands. accuracy: without as many errors as it makes in real images, which is above 1 where generated
    ones are easier. low, high: from the 95 % interval of the one to that of the other. real: its accuracy on real
    held-out images.
    """

    plain: float
    accuracy: float
    low: float
    high: float
    real: float


def pixels_of(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) uint8 → (N, H·W·C) float32 in [0, 1]."""
    return np.asarray(images).reshape(len(images), -1).astype(np.float32) / 255


def opinion(classifier: Classifier, heldout: Split, images: np.ndarray, labels: np.ndarray) -> Opinion:
    """Of images (N, H, W, C) that should show `labels` (N,).

    An image of class a is seen as b with chance C[a, b], counted on real ones. Of those asked for as k a share A[k, a]
    shows a, so they are seen as S = A C; solved for A. The error is that of both counts.
    """
    real_labels = np.asarray(heldout.labels)
    size = int(real_labels.max()) + 1
    known = _shares(real_labels, classifier.predict(pixels_of(heldout.images)), size)
    guesses = classifier.predict(pixels_of(images))
    shown = _shares(labels, guesses, size) @ np.linalg.inv(known)
    weights = np.bincount(labels, minlength=size) / len(labels)
    plain, right = float((guesses == labels).mean()), float(weights @ known.diagonal())
    accuracy = float(weights @ shown.diagonal())
    error = math.hypot(
        math.sqrt(plain * (1 - plain) / len(labels)) / right,
        math.sqrt(right * (1 - right) / len(real_labels)) * accuracy / right,
    )
    low = wilson_interval(int((guesses == labels).sum()), len(labels))[0]
    high = min(1.0, normal_interval(accuracy, error)[1])
    return Opinion(plain=plain, accuracy=accuracy, low=low, high=high, real=right)


def _shares(rows: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
    """(K, K): of each row's class, which share is in each column's."""
    counts = np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def main() -> None:
    """Train the other classifier, let it look at the images of every report, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a run with evaluations whose images are in the cache")
    parser.add_argument("--passes", type=int, default=10, help="over the real images")
    parser.add_argument("--out", type=Path, default=RESULTS / f"foreign-classifier-{datetime.now(UTC):%Y-%m-%d}.json")
    options = parser.parse_args()
    site = read_site()[0]
    run = RunStore(site.runs).get(options.run)
    images = prepare(run.settings.data, data_dir=site.data, cache_dir=site.cache)
    found = [(each, drawn_images(site.cache, each.drawn_key, each.num_samples)) for each in list_reports(run)]
    kept = [(report, drawn) for report, drawn in found if drawn is not None]
    if not kept:
        raise UsageError(f"{run.id}: has no evaluation whose images are in {site.cache}", "evaluate it")
    classifier = MLPClassifier((512,), batch_size=256, max_iter=options.passes, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a number of passes was asked for
        classifier.fit(pixels_of(images.train.images), images.train.labels)
    rows = []
    for report, drawn in kept:
        seen = opinion(classifier, images.heldout, drawn.pictures, drawn.labels)
        row = {"seed": report.seed, "images": report.num_samples, "judge": report.class_accuracy, **asdict(seen)}
        row |= {"judge_low": report.class_accuracy_low, "judge_high": report.class_accuracy_high}
        rows.append(row)
        print(
            ", ".join(
                f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
        )
    options.out.write_text(json.dumps({"machine": machine(), "run": run.id, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
