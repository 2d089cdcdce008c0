"""The search of `core.comparison.tuning`: generates, measures and compares. All candidates have the same noise."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from core.comparison.comparison_results import Difference
from core.comparison.grid import CellSettings, cell_settings, expected_evaluations
from core.comparison.tuning import (
    FOUND_ON,
    GO_ON,
    STATED_ON,
    Sizes,
    Tried,
    Tuning,
    candidates_of,
    going_on,
    passes_of,
)
from core.config.interval import interval_in_words
from core.config.schema import EvaluationSettings, SamplingSettings
from core.evaluation.differences import normal_interval, paired_difference
from core.evaluation.evaluate import check_counts, check_pictures, drawn_folder, looked_parts
from core.evaluation.judge import load_or_train, split_features
from core.evaluation.labels import asked_labels
from core.evaluation.measures import OnProgress, fd_difference_error, fd_floor, part_of, recall_of
from core.evaluation.metrics import FrechetReference
from core.evaluation.verdict import accuracy_change, fd_change, judgement
from core.runs.run import now_iso
from core.sampling.request import request_of
from core.sampling.steps import checked_sampler

if TYPE_CHECKING:
    from core.data.arrays import ImageSet
    from core.sampling.load import LoadedModel


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """features (N, D) float32, whether each image shows its class (N,), and its measures."""

    features: torch.Tensor
    right: np.ndarray
    tried: Tried


class _Search:
    def __init__(
        self,
        model: LoadedModel,
        image_set: ImageSet,
        sampling: SamplingSettings,
        evaluation: EvaluationSettings,
        cache_dir: Path,
        sizes: Sizes,
        progress: OnProgress,
    ) -> None:
        check_pictures(model, image_set)
        check_counts(sizes.stages[0], evaluation.recall_neighbours, image_set)
        self.model, self.image_set, self.cache_dir = model, image_set, cache_dir
        self.sampling, self.evaluation, self.sizes, self.progress = sampling, evaluation, sizes, progress
        self.judge = load_or_train(
            image_set,
            cache_dir=cache_dir,
            epochs=evaluation.judge_epochs,
            device=model.device,
            progress=part_of(progress, 0.0, 0.1),
        )
        self.train = split_features(self.judge, image_set, "train")
        self.real = FrechetReference(self.train)
        self.passes, self.all = dict[CellSettings, int](), passes_of(sampling, sizes)

    def labels(self, count: int, seed: int) -> np.ndarray:
        """Classes of `count` images."""
        images = self.image_set
        return asked_labels(self.evaluation.labels, images.train.labels, images.num_classes, count, seed)

    def look(self, sampling: SamplingSettings, labels: np.ndarray, count: int, *, stage: int) -> _Seen:
        """The first `count` of the images of these labels, generated as `sampling` says; kept ones are not again."""
        model = self.model
        settings = cell_settings(sampling, step=model.step)
        whole = request_of(
            sampling.model_copy(update={"batch_size": self.sizes.part}), labels, noise_rule=model.noise_rule
        )
        checked_sampler(model, whole)
        _, folder = drawn_folder(model, whole, self.judge, self.cache_dir)
        features, guesses = [], []
        stages = len(self.sizes.stages)
        title = f"stage {stage + 1} of {stages}" if stage < stages else "stating the result"
        name = f"guidance {sampling.guidance_scale:g} at {interval_in_words(sampling.guidance_interval)}"
        for part, _ in looked_parts(model, whole, self.judge, folder, None):
            features.append(torch.from_numpy(part.features))
            guesses.append(part.guesses)
            have = sum(map(len, guesses))
            self.passes[settings] = have * 2 * sampling.num_inference_steps
            share = min(1.0, sum(self.passes.values()) / self.all)
            self.progress(f"{title}: {name}, {have:,} of {count:,} images", 0.1 + 0.9 * share)
            if have >= count:
                break
        seen = torch.cat(features)[:count]
        right = np.concatenate(guesses)[:count] == labels[:count]
        tried = Tried(
            settings=settings,
            stage=stage,
            count=count,
            fd_judge=self.real.distance(seen),
            class_accuracy=float(right.mean()),
            recall=recall_of(self.train, seen, self.evaluation.recall_neighbours, self.sampling.seed),
        )
        return _Seen(features=seen, right=right, tried=tried)

    def race(self) -> tuple[SamplingSettings, list[Tried]]:
        """(the winner, every candidate after every stage)."""
        seed = self.sampling.seed + FOUND_ON
        own = self.sampling.model_copy(update={"seed": seed})
        left = candidates_of(own)
        labels = self.labels(self.sizes.stages[-1], seed)
        tried: list[Tried] = []
        for stage, count in enumerate(self.sizes.stages):
            seen = {cell_settings(each, step=self.model.step): each for each in left}
            now = [self.look(each, labels, count, stage=stage).tried for each in left]
            tried += now
            most = GO_ON[stage] if stage < len(GO_ON) else 1
            best = [seen[each.settings] for each in going_on(now, now[0], most)]
            left = [own, *(each for each in best if each != own)]
        return best[0], tried


def tune(
    model: LoadedModel,
    image_set: ImageSet,
    *,
    sampling: SamplingSettings,
    evaluation: EvaluationSettings,
    cache_dir: Path,
    sizes: Sizes,
    job_id: str,
    progress: OnProgress,
) -> Tuning:
    """Search from `sampling` on. progress(text, fraction 0 to 1); what it raises ends the search, and the next one goes
    on with the images that are kept. Raises UsageError for a model of another dataset or too few images."""
    began = time.monotonic()
    search = _Search(model, image_set, sampling, evaluation, cache_dir, sizes, progress)
    winner, tried = search.race()
    seed = sampling.seed + STATED_ON
    labels = search.labels(sizes.stated, seed)
    own, found = (
        search.look(each.model_copy(update={"seed": seed}), labels, sizes.stated, stage=len(sizes.stages))
        for each in (sampling, winner)
    )
    heldout = split_features(search.judge, image_set, "heldout")
    counts = np.bincount(labels, minlength=image_set.num_classes)
    floor = fd_floor(search.real, heldout, image_set.heldout.labels, counts, seed)["fd_floor"]
    changed = found.tried.fd_judge - own.tried.fd_judge
    error = fd_difference_error(search.real, found.features, own.features, labels)
    accuracy, accuracy_error = paired_difference(found.right, own.right)
    changes = (
        fd_change(changed, error, reference=own.tried.fd_judge, floor=floor),
        accuracy_change(accuracy, accuracy_error, reference=own.tried.class_accuracy, num_images=sizes.stated),
    )
    return Tuning(
        created_at=now_iso(),
        job_id=job_id,
        run_id=model.run_id,
        step=model.step,
        data_set=image_set.name,
        fingerprint=image_set.fingerprint,
        judge_hash=search.judge.hash,
        tried=tuple(tried),
        own=own.tried,
        found=found.tried,
        fd_difference=_difference(changed, error),
        accuracy_difference=_difference(accuracy, accuracy_error),
        verdict=judgement(changes, sizes.stated).word,
        fd_floor=floor,
        evaluations=(expected_evaluations(own.tried.settings), expected_evaluations(found.tried.settings)),
        seconds=time.monotonic() - began,
        labels=evaluation.labels,
    )


def _difference(value: float, error: float) -> Difference:
    low, high = normal_interval(value, error)
    return Difference(value=value, low=low, high=high)
