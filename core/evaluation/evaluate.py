"""Evaluation of a trained model: pictures of every class, the judge's opinion of them, one report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from core.config.schema import EvaluationSettings, SamplingSettings
from core.device import device_label
from core.errors import UsageError
from core.evaluation.judge import Judge, load_or_train, split_features
from core.evaluation.metrics import copy_ratio, frechet_distance, precision_recall, wilson_interval
from core.evaluation.report import ClassScore, Report
from core.runs.run import now_iso
from core.sampling.request import SampleRequest, batches_of, request_of
from core.sampling.steps import checked_sampler, sample
from core.seeding import derive

if TYPE_CHECKING:
    from core.data.arrays import ImageSet
    from core.sampling.load import LoadedModel

JUDGE_SEED = 0
MAX_NEIGHBOUR_PICTURES = 10_000
MAX_COPY_PICTURES = 2_000  # a median needs no more, and each is compared with the whole training split

OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What `measure` finds about a set of pictures; the fields are those of `Report`."""

    class_accuracy: float
    class_accuracy_low: float
    class_accuracy_high: float
    per_class: tuple[ClassScore, ...]
    fd_judge: float
    fd_reference_count: int
    fd_floor: float
    fd_floor_count: int
    precision: float
    recall: float
    neighbours: int
    precision_recall_count: int
    real_precision: float | None
    real_recall: float | None
    copy_ratio: float


def evaluate(
    model: LoadedModel,
    image_set: ImageSet,
    *,
    num_samples: int,
    sampling: SamplingSettings,
    evaluation: EvaluationSettings,
    cache_dir: Path,
    seed: int,
    progress: OnProgress | None = None,
) -> Report:
    """Generate `num_samples` pictures, picture i of class i mod K with the noise of (seed, i), and measure them.

    `seed` stands in for sampling.seed and also draws the real pictures of precision and recall; the judge has a fixed
    seed, so that all runs on one data set meet the same judge. progress(text, fraction 0 to 1 of the whole).
    Raises UsageError for a model of another data set, too few pictures, or a sampler that does not fit the model.
    """
    check_pictures(model, image_set)
    check_counts(num_samples, evaluation.recall_neighbours, image_set)
    labels = np.arange(num_samples) % image_set.num_classes
    request = request_of(sampling, labels, seed=seed)
    checked_sampler(model, request)
    started = time.monotonic()
    judge = load_or_train(
        image_set,
        cache_dir=cache_dir,
        epochs=evaluation.judge_epochs,
        seed=JUDGE_SEED,
        device=model.device,
        progress=_part(progress, 0.0, 0.3),
    )
    measures = measure(
        _generate(model, request, _part(progress, 0.3, 0.8)),
        labels,
        judge=judge,
        image_set=image_set,
        neighbours=evaluation.recall_neighbours,
        seed=seed,
        progress=_part(progress, 0.8, 1.0),
    )
    return Report(
        created_at=now_iso(),
        run_id=model.run_id,
        step=model.step,
        data_set=image_set.name,
        fingerprint=image_set.fingerprint,
        num_samples=num_samples,
        sampler=sampling.sampler,
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        seed=seed,
        judge_accuracy=judge.accuracy,
        judge_heldout_count=judge.heldout_count,
        judge_hash=judge.hash,
        judge_seed=judge.seed,
        judge_epochs=judge.epochs,
        elapsed_s=time.monotonic() - started,
        device=device_label(model.device),
        **measures.__dict__,
    )


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
    """Measure pictures, given as batches of uint8 (·, H, W, C), that should be of `labels` (N,).

    Only features are kept, so N pictures need not fit into memory. FD-judge is against the whole training split, its
    floor is that of min(N, held-out count) held-out real pictures; precision and recall are between N generated and N
    real training pictures (at most 10,000 a side, a seeded choice), the same for held-out real ones beside them; the
    copy ratio looks at 2,000 a side at most.
    """
    found = [judge.look(batch) for batch in pictures]
    features = torch.cat([batch for batch, _ in found])
    guesses = np.concatenate([probabilities for _, probabilities in found]).argmax(axis=1)
    count = len(labels)
    if len(guesses) != count:
        raise UsageError(f"evaluation: {len(guesses)} pictures but {count} labels")
    train = split_features(judge, image_set, "train", _part(progress, 0.0, 0.6))
    heldout = split_features(judge, image_set, "heldout", _part(progress, 0.6, 0.7))
    if progress:
        progress("Measuring distances", 0.7)
    right = guesses == labels
    low, high = wilson_interval(int(right.sum()), count)
    floor_count = min(count, len(heldout))
    real_sample = choose_rows(heldout, floor_count, seed, "evaluation-heldout")
    pairs = min(count, len(train), MAX_NEIGHBOUR_PICTURES)
    references = choose_rows(train, pairs, seed, "evaluation-train")
    generated = choose_rows(features, pairs, seed, "evaluation-generated")
    precision, recall = precision_recall(references, generated, neighbours)
    real_pairs = min(pairs, floor_count)
    real_precision, real_recall = (None, None)
    if neighbours < real_pairs:
        real_precision, real_recall = precision_recall(references[:real_pairs], real_sample[:real_pairs], neighbours)
    return Measures(
        class_accuracy=float(right.mean()),
        class_accuracy_low=low,
        class_accuracy_high=high,
        per_class=tuple(_class_score(name, right[labels == label]) for label, name in enumerate(judge.classes)),
        fd_judge=frechet_distance(train, features),
        fd_reference_count=len(train),
        fd_floor=frechet_distance(train, real_sample),
        fd_floor_count=floor_count,
        precision=precision,
        recall=recall,
        neighbours=neighbours,
        precision_recall_count=pairs,
        real_precision=real_precision,
        real_recall=real_recall,
        copy_ratio=copy_ratio(generated[:MAX_COPY_PICTURES], train, real_sample[:MAX_COPY_PICTURES]),
    )


def _generate(model: LoadedModel, request: SampleRequest, progress: OnProgress | None) -> Iterator[np.ndarray]:
    for part in batches_of(request):
        yield sample(model, part)
        done = part.first_index + len(part.labels)
        if progress:
            progress(f"Generating pictures, {done:,} of {len(request.labels):,}", done / len(request.labels))


def check_pictures(model: LoadedModel, image_set: ImageSet) -> None:
    """Raises UsageError when the model was trained on other pictures."""
    if model.image_set_fingerprint != image_set.fingerprint:
        raise UsageError(
            f"{model.run_id}: was trained on other pictures ({model.image_set_fingerprint[:12]}) than this "
            f"{image_set.name} ({image_set.fingerprint[:12]})",
            "evaluate it with the data settings it was trained with",
        )


def check_counts(num_samples: int, neighbours: int, image_set: ImageSet) -> None:
    """Raises UsageError for too few pictures to measure with."""
    smallest = min(num_samples, len(image_set.train.labels))
    if neighbours >= smallest:
        raise UsageError(
            f"evaluation.recall_neighbours: {neighbours} needs more than {neighbours} pictures, got {smallest}"
        )
    if len(image_set.heldout.labels) < 2:
        raise UsageError(
            f"{image_set.name}: the floor of FD-judge needs 2 held-out pictures, got {len(image_set.heldout.labels)}"
        )


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


def _part(progress: OnProgress | None, start: float, end: float) -> OnProgress | None:
    """The reporter of a part of the work, which fills start to end of the whole."""
    if progress is None:
        return None
    return lambda text, fraction: progress(text, start + fraction * (end - start))
