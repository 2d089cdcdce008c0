"""Quality while a U-Net trains: few images of its averaged weights, seen by the judge, as points on the run's curves.

Nothing of it reaches the training: noise has generators of its own, and a step draws from (seed, step). Ranks share the
images. Whatever goes wrong costs the points and not the training.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from core.evaluation.judge import NUM_FEATURES, Judge, OnProgress, load_or_train, split_features
from core.evaluation.labels import asked_labels
from core.evaluation.measures import look_at
from core.evaluation.metrics import frechet_distance
from core.runs.run import Run
from core.sampling.load import LoadedModel
from core.sampling.request import SampleRequest, batches_of, request_of, slice_of
from core.sampling.steps import sample
from core.training.session import Share

if TYPE_CHECKING:
    from accelerate import Accelerator

    from core.data.arrays import ImageSet

logger = logging.getLogger(__name__)

AT_ONCE = 100  # images of all ranks between two looks at whether the training shall stop
Measure = Callable[[LoadedModel], dict[str, float]]


class _Stopped(Exception):
    """The training was asked to stop while the judge was trained."""


def prepared(
    run: Run,
    images: ImageSet,
    *,
    cache_dir: Path,
    accelerator: Accelerator,
    should_stop: Callable[[], bool],
    progress: OnProgress,
) -> Measure | None:
    """What measures a U-Net while it trains, with the run's own sampling; called by all ranks, as what it returns.

    The judge is trained by the first rank where it is missing. Measure: class accuracy (0 to 1) and FD-judge of
    evaluation.during_samples images, in the first rank; {} in the others, and when the training shall stop. None, with
    an event of the run, when there can be no judge.
    """
    judge: Judge | None = None
    reference, problem = torch.empty(0), ""

    def tell(stage: str, fraction: float) -> None:
        if should_stop():
            raise _Stopped
        progress(stage, fraction)

    with accelerator.main_process_first():  # the others find it in the cache
        try:
            epochs = run.settings.evaluation.judge_epochs
            judge = load_or_train(images, cache_dir=cache_dir, epochs=epochs, device=accelerator.device, progress=tell)
            if accelerator.is_main_process:
                reference = split_features(judge, images, "train", tell)
        except Exception as error:  # the others wait: no error may leave here
            judge, problem = None, "stopped" if isinstance(error, _Stopped) else str(error)
    if _any(accelerator, judge is None):
        logger.warning("no quality is measured during the training: %s", problem or "another rank has no judge")
        if accelerator.is_main_process and problem != "stopped":
            run.add_event("quality not measured", reason=problem)
        return None
    assert judge is not None
    settings, seed = run.settings, run.settings.sampling.seed
    count, choice = settings.evaluation.during_samples, settings.evaluation.labels
    labels = asked_labels(choice, images.train.labels, images.num_classes, count, seed)
    request = replace(request_of(settings.sampling, labels, noise_rule=run.rules.noise), batch_size=AT_ONCE)

    def measure(model: LoadedModel) -> dict[str, float]:
        seen = []
        for part in batches_of(request):
            if _any(accelerator, should_stop()):
                return {}
            seen.append(_seen_by_all(accelerator, model, judge, part))
        if not accelerator.is_main_process:
            return {}
        found = torch.cat(seen)
        if not found.isfinite().all():
            logger.warning("the quality of this step could not be measured")
            return {}
        features, guesses = found[:, :NUM_FEATURES], found[:, NUM_FEATURES].numpy()
        return {
            "class_accuracy": float((guesses == labels).mean()),
            "fd_judge": frechet_distance(reference, features),
        }

    return measure


def _seen_by_all(accelerator: Accelerator, model: LoadedModel, judge: Judge, request: SampleRequest) -> torch.Tensor:
    """(N, 129): what the judge sees in each image, its features and its guess. Each rank generates its share of them;
    what fails is NaN."""
    count = len(request.labels)
    own = Share(rank=accelerator.process_index, count=accelerator.num_processes).of(count)
    seen = torch.zeros(count, NUM_FEATURES + 1)
    if own:
        try:
            features, guesses = look_at(judge, sample(model, slice_of(request, own.start, own.stop)))
            seen[own.start : own.stop] = torch.cat([features, torch.from_numpy(guesses)[:, None].float()], dim=1)
        except Exception as error:  # the other ranks wait for this share
            logger.warning("images could not be generated for a measurement of quality: %s", error)
            seen[own.start : own.stop] = torch.nan
    return _sum(accelerator, seen)


def _any(accelerator: Accelerator, flag: bool) -> bool:
    return bool(_sum(accelerator, torch.tensor([float(flag)])).item() > 0)


def _sum(accelerator: Accelerator, values: torch.Tensor) -> torch.Tensor:
    """Of all ranks, on the CPU."""
    if accelerator.num_processes == 1:
        return values
    total: torch.Tensor = accelerator.reduce(values.to(accelerator.device), reduction="sum")
    return total.cpu()
