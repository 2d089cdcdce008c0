"""Images of a run as the judge of the finish line sees them, from which simulations draw: with all and half the steps.

The same noise makes both halves of a pair. A pool is kept as a file, because drawing takes longest.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.finish_line import SEED, Court, open_court
from core.config.load import read_site
from core.data.npz_file import arrays_in
from core.evaluation.judge import split_features
from core.evaluation.labels import asked_labels
from core.evaluation.metrics import FrechetReference
from core.model_folders.sources import find_source
from core.runs.store import RunStore
from core.sampling.request import batches_of, request_of
from core.sampling.steps import sample


@dataclass(frozen=True, kw_only=True)
class Pool:
    """labels (M,) as often as in the training data; features (M, 128) float64 and guesses (M,) of the images with the
    run's own steps, and of those of the same noise with half of them."""

    reference: FrechetReference
    labels: np.ndarray
    full: torch.Tensor
    full_right: np.ndarray
    half: torch.Tensor
    half_right: np.ndarray

    def places(self, count: int, source: np.random.Generator) -> np.ndarray:
        """Places of `count` images with the labels of the first `count`, drawn with replacement within each class."""
        labels = self.labels[:count]
        found = np.empty(count, dtype=np.int64)
        for label in np.unique(labels):
            wanted = labels == label
            found[wanted] = source.choice(np.flatnonzero(self.labels == label), int(wanted.sum()))
        return found


def pool_of(run: str, count: int, file: Path) -> Pool:
    """The pool of a run or model, from `file`, or drawn now and kept there."""
    site = read_site()[0]
    court = open_court("mnist", [], site.cache)
    reference = FrechetReference(split_features(court.judge, court.image_set, "train"))
    with contextlib.suppress(OSError):
        return _pool(reference, arrays_in(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **_drawn(run, count, court))  # type: ignore[arg-type]
    return _pool(reference, arrays_in(file))


def _pool(reference: FrechetReference, arrays: dict[str, np.ndarray]) -> Pool:
    return Pool(
        reference=reference,
        labels=arrays["labels"],
        full=torch.from_numpy(arrays["full"]).double(),
        full_right=arrays["full_guesses"] == arrays["labels"],
        half=torch.from_numpy(arrays["half"]).double(),
        half_right=arrays["half_guesses"] == arrays["labels"],
    )


def _drawn(run: str, count: int, court: Court) -> dict[str, np.ndarray]:
    site = read_site()[0]
    source = find_source(run, lambda: RunStore(site.runs), site.models)
    model, own = source.load(device="auto"), source.settings.sampling
    labels = asked_labels("proportions", court.image_set.train.labels, model.num_classes, count, SEED)
    found = {"labels": labels}
    for name, steps in (("full", own.num_inference_steps), ("half", own.num_inference_steps // 2)):
        sampling = own.model_copy(update={"num_inference_steps": steps})
        request = request_of(sampling, labels, noise_rule=model.noise_rule, seed=SEED)
        looks = [court.judge.look(court.fitted(sample(model, part))) for part in batches_of(request)]
        found[name] = torch.cat([features for features, _ in looks]).numpy()
        found[f"{name}_guesses"] = np.concatenate([chances for _, chances in looks]).argmax(axis=1)
    return found
