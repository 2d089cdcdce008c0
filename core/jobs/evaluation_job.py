"""An evaluation as a job: how it is put into the queue, and what the worker does with it.

It is a run of its own, so that it waits, stops and resumes as trainings do. Its report goes into the folder of the
U-Net run that it measures, where `evaluate` keeps it too, and stays there when the job is deleted. A stopped one goes
on with the images that lie in the cache.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config.load import settings_from
from core.config.schema import Settings
from core.jobs.engines.protocol import Engine
from core.jobs.measuring import measure, start_measuring
from core.runs.listing import newest_step
from core.runs.run import Run
from core.runs.store import RunStore

if TYPE_CHECKING:
    from core.data.arrays import ImageSet
    from core.jobs.measuring import Progress
    from core.sampling.load import LoadedModel
    from core.training.session import Outcome

KIND = "evaluation"
LEVELS = {"quick": (1_000, 1), "standard": (10_000, 1), "release": (50_000, 3)}  # images, seeds

logger = logging.getLogger(__name__)


def start_evaluation(
    store: RunStore,
    unet_run: Run,
    *,
    settings: Settings | None = None,
    num_samples: int | None = None,
    name: str = "",
    owner: str = "",
    priority: int = 0,
    request: Mapping[str, Any] | None = None,
    token: str = "",
    engine: Engine | None = None,
) -> Run:
    """Queue the evaluation of a U-Net run, on its newest checkpoint when it begins; see `start_measuring`.

    settings: the run's own, with other `sampling`, `evaluation` or `machine`. num_samples: images to generate,
    evaluation.num_samples by default.
    Raises UsageError for a run that generates nothing or what never fits this machine, CheckpointError when nothing
    was saved yet, NotAllowed; then nothing was created.
    """
    settings = settings or unet_run.settings
    check_evaluable(unet_run)
    if num_samples is not None:
        values = settings.model_dump(mode="json")
        values["evaluation"]["num_samples"] = num_samples
        settings = settings_from(values)
    return start_measuring(
        store,
        unet_run,
        KIND,
        settings,
        steps_total=1,
        name=name or f"evaluation of {unet_run.title}",
        owner=owner,
        priority=priority,
        request=request,
        token=token,
        engine=engine,
    )


def with_seed(settings: Settings, seed: int) -> Settings:
    """The same, with another seed of the generated images."""
    return settings.model_copy(update={"sampling": settings.sampling.model_copy(update={"seed": seed})})


def start_at_end(store: RunStore, unet_run: Run, *, engine: Engine | None = None) -> list[Run]:
    """Queue what evaluation.at_end asks for when a training has finished, once per run: one for each seed of its level.

    A failure is in the run's events and costs the training nothing.
    """
    try:
        settings = unet_run.settings
        if not unet_run.kind.generates or settings.evaluation.at_end == "none":
            return []
        images, seeds = LEVELS.get(settings.evaluation.at_end, (None, 1))
        return [
            start_evaluation(
                store,
                unet_run,
                settings=with_seed(settings, settings.sampling.seed + number),
                num_samples=images,
                owner=unet_run.info.owner,
                token=f"at-end-{unet_run.id}-{number}",
                engine=engine,
            )
            for number in range(seeds)
        ]
    except Exception as error:
        logger.warning("the evaluation at the end of %s was not queued: %s", unet_run.id, error)
        with contextlib.suppress(OSError):
            unet_run.add_event("evaluation not queued", reason=str(error))
        return []


def check_evaluable(run: Run) -> None:
    """Raises UsageError for a run that generates nothing, CheckpointError while nothing was saved."""
    run.check_generates("evaluate a U-Net run that was trained on it", but=" and generates no images to evaluate")
    newest_step(run)


def passes_of(run: Run) -> int:
    """Passes of an image through the U-Net that an evaluation takes; the judge comes on top. Raises ConfigError."""
    settings = run.settings
    return settings.evaluation.num_samples * settings.sampling.num_inference_steps


def work_on(run: Run, *, data_dir: Path, cache_dir: Path, store_root: Path, should_stop: Callable[[], bool]) -> Outcome:
    """Evaluate until the report is kept or until should_stop(); what the worker calls for a run of this kind.

    Raises LabError when the U-Net run, its checkpoint or its images are not there or do not fit.
    """
    from core.evaluation.evaluate import evaluate
    from core.evaluation.report import Report, write_report

    settings = run.settings

    def find(model: LoadedModel, images: ImageSet, show: Progress) -> Report:
        return evaluate(
            model,
            images,
            num_samples=settings.evaluation.num_samples,
            sampling=settings.sampling,
            evaluation=settings.evaluation,
            cache_dir=cache_dir,
            seed=settings.sampling.seed,
            progress=show,
        )

    return measure(
        run,
        find,
        lambda measured, report: write_report(measured, replace(report, job_id=run.id)),
        at_once=min(settings.evaluation.num_samples, settings.sampling.batch_size),
        data_dir=data_dir,
        cache_dir=cache_dir,
        store_root=store_root,
        should_stop=should_stop,
    )
