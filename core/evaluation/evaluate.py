"""Evaluation of a trained model: pictures of every class, the judge's opinion of them, one report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from core.config.schema import EvaluationSettings, SamplingSettings
from core.device import device_label
from core.errors import UsageError
from core.evaluation.drawn import Drawn, DrawnFolder, drawn_key
from core.evaluation.judge import Judge, load_or_train
from core.evaluation.judge_facts import SECOND_ARCHITECTURE, SECOND_SEED
from core.evaluation.labels import LABELS_RULE, asked_labels
from core.evaluation.measures import Look, OnProgress, look_at, measure_looks, part_of
from core.evaluation.memorization import MOST, memorization
from core.evaluation.metrics import wilson_interval
from core.evaluation.report import Report, SecondJudge
from core.runs.run import now_iso
from core.sampling.request import SampleRequest, batches_of, request_of
from core.sampling.steps import checked_sampler, sample

if TYPE_CHECKING:
    from core.data.arrays import ImageSet
    from core.sampling.load import LoadedModel


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
    """Generate `num_samples` pictures, picture i with the noise of (seed, i), and measure them.

    `seed` stands in for sampling.seed and also draws real pictures and the order of labels; the judge has a fixed
    seed, so that all runs on one dataset meet the same judge. progress(text, fraction 0 to 1 of the whole); what it
    raises ends the evaluation, and the next one goes on with the batches that are kept: see `core.evaluation.drawn`.
    Raises UsageError for a model of another dataset, too few pictures, or a sampler that does not fit the model.
    """
    check_pictures(model, image_set)
    check_counts(num_samples, evaluation.recall_neighbours, image_set)
    labels = asked_labels(evaluation.labels, image_set.train.labels, image_set.num_classes, num_samples, seed)
    request = request_of(sampling, labels, noise_rule=model.noise_rule, seed=seed)
    checked_sampler(model, request)
    started = time.monotonic()
    judge = load_or_train(
        image_set,
        cache_dir=cache_dir,
        epochs=evaluation.judge_epochs,
        device=model.device,
        progress=part_of(progress, 0.0, 0.3),
    )
    second = None
    if evaluation.second_judge:
        second = load_or_train(
            image_set,
            cache_dir=cache_dir,
            epochs=evaluation.judge_epochs,
            seed=SECOND_SEED,
            architecture=SECOND_ARCHITECTURE,
            device=model.device,
            progress=part_of(progress, 0.0, 0.3),
        )
    key, folder = drawn_folder(model, request, judge, cache_dir)
    opinions: list[np.ndarray] = []  # of the second judge: which images are right
    looks: list[Look] = []
    first: list[np.ndarray] = []  # pictures, as many as are tested for copies
    spared_s = 0.0
    for part, is_kept in looked_parts(model, request, judge, folder, part_of(progress, 0.3, 0.75)):
        if missing := MOST - sum(map(len, first)):  # an empty part would hold its whole batch in memory
            first.append(part.pictures[:missing])
        looks.append((torch.from_numpy(part.features), part.guesses))
        if second is not None:
            opinions.append(second.classify(part.pictures).argmax(axis=1) == part.labels)
        spared_s += part.seconds if is_kept else 0.0
    measures = measure_looks(
        looks,
        labels,
        judge=judge,
        image_set=image_set,
        neighbours=evaluation.recall_neighbours,
        seed=seed,
        progress=part_of(progress, 0.75, 0.9),
    )
    copies = memorization(
        np.concatenate(first),
        labels,
        judge=judge,
        image_set=image_set,
        seed=seed,
        progress=part_of(progress, 0.9, 1.0),
    )
    return Report(
        created_at=now_iso(),
        run_id=model.run_id,
        step=model.step,
        data_set=image_set.name,
        fingerprint=image_set.fingerprint,
        num_samples=num_samples,
        labels=evaluation.labels,
        labels_rule=LABELS_RULE,
        sampler=sampling.sampler,
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        guidance_rescale=sampling.guidance_rescale,
        guidance_interval=sampling.guidance_interval,
        whole_timesteps=sampling.whole_timesteps,
        noise_rule=request.noise_rule,
        seed=seed,
        judge_accuracy=judge.accuracy,
        judge_heldout_count=judge.heldout_count,
        judge_hash=judge.hash,
        judge_seed=judge.seed,
        judge_epochs=judge.epochs,
        elapsed_s=time.monotonic() - started + spared_s,
        drawn_key=key,
        memorization=copies,
        second_judge=_opinion(second, np.concatenate(opinions)) if second is not None else None,
        device=device_label(model.device),
        **measures.__dict__,
    )


def _opinion(judge: Judge, right: np.ndarray) -> SecondJudge:
    """right (N,): which images the judge takes for the class that was asked."""
    low, high = wilson_interval(int(right.sum()), len(right))
    return SecondJudge(
        class_accuracy=float(right.mean()),
        low=low,
        high=high,
        judge_accuracy=judge.accuracy,
        judge_hash=judge.hash,
        judge_seed=judge.seed,
    )


def drawn_folder(
    model: LoadedModel, request: SampleRequest, judge: Judge, cache_dir: Path
) -> tuple[str, DrawnFolder | None]:
    """(the key of what the request generates and the judge sees, where it is kept); ('', None) where nothing names the
    weights."""
    if not model.weights_sha256:
        return "", None
    key = drawn_key(
        request, weights=model.weights_sha256, judge=judge.hash, device=model.device.type, torch=torch.__version__
    )
    return key, DrawnFolder(cache_dir, key)


def looked_parts(
    model: LoadedModel, request: SampleRequest, judge: Judge, folder: DrawnFolder | None, progress: OnProgress | None
) -> Iterator[tuple[Drawn, bool]]:
    """The pictures and what the judge sees in them, batch by batch, and whether a batch was generated before."""
    count = len(request.labels)
    for part in batches_of(request):
        labels = np.array(part.labels, dtype=np.int64)
        kept = found = folder.part(part.first_index, labels) if folder else None
        if found is None:
            began = time.monotonic()
            pictures = sample(model, part)
            features, guesses = look_at(judge, pictures)
            found = Drawn(
                pictures=pictures,
                labels=labels,
                guesses=guesses.astype(np.int64),
                features=features.numpy(),
                seconds=time.monotonic() - began,
            )
            if folder:
                folder.keep(part.first_index, found)
        done = part.first_index + len(part.labels)
        if progress:
            progress(f"Generating images, {done:,} of {count:,}", done / count)
        yield found, kept is not None


def check_pictures(model: LoadedModel, image_set: ImageSet) -> None:
    """Raises UsageError when the model was trained on other pictures."""
    if model.image_set_fingerprint != image_set.fingerprint:
        raise UsageError(
            f"{model.run_id}: was trained on other images ({model.image_set_fingerprint[:12]}) than this "
            f"{image_set.name} ({image_set.fingerprint[:12]})",
            "evaluate it with the data settings it was trained with",
        )


def check_counts(num_samples: int, neighbours: int, image_set: ImageSet) -> None:
    """Raises UsageError for too few pictures to measure with."""
    smallest = min(num_samples, len(image_set.train.labels))
    if neighbours >= smallest:
        raise UsageError(
            f"evaluation.recall_neighbours: {neighbours} needs more than {neighbours} images, got {smallest}"
        )
    if len(image_set.heldout.labels) < 2:
        raise UsageError(
            f"{image_set.name}: the floor of FD-judge needs 2 held-out images, got {len(image_set.heldout.labels)}"
        )
