"""A search of sampling settings as a job: how it is put into the queue, and what the worker does with it.

It waits, stops and resumes as trainings do. What it finds goes into the folder of the U-Net run that it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.comparison.tuning import IMAGES, TUNINGS, Tuning, passes_of, sizes_of, tuning_path
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

KIND = "tuning"


def start_tuning(
    store: RunStore,
    unet_run: Run,
    *,
    settings: Settings | None = None,
    images: int = IMAGES,
    name: str = "",
    owner: str = "",
    priority: int = 0,
    request: Mapping[str, Any] | None = None,
    token: str = "",
    engine: Engine | None = None,
) -> Run:
    """Queue a search for a U-Net run, on its newest checkpoint when it begins; see `start_measuring`.

    settings: the run's own, with other `sampling`, `evaluation` or `machine`. images: see `sizes_of`.
    Raises UsageError for a run that generates nothing or what never fits this machine, CheckpointError when nothing was
    saved yet, NotAllowed.
    """
    unet_run.check_generates("search on a U-Net run that was trained on it", but=" and generates no images")
    newest_step(unet_run)
    values = (settings or unet_run.settings).model_dump(mode="json")
    values["evaluation"]["num_samples"] = images
    return start_measuring(
        store,
        unet_run,
        KIND,
        settings_from(values),
        steps_total=1,
        name=name or f"search of settings for {unet_run.title}",
        owner=owner,
        priority=priority,
        request=request,
        token=token,
        engine=engine,
    )


def passes_of_run(run: Run) -> int:
    """Passes of an image through the U-Net that a search takes at most. Raises ConfigError."""
    return passes_of(run.settings.sampling, sizes_of(run.settings.evaluation.num_samples))


def work_on(run: Run, *, data_dir: Path, cache_dir: Path, store_root: Path, should_stop: Callable[[], bool]) -> Outcome:
    """Search until the result is kept or until should_stop(); what the worker calls for a run of this kind.

    Raises LabError when the U-Net run, its checkpoint or its images are not there or do not fit.
    """
    from core.comparison.tune import tune

    settings = run.settings
    sizes = sizes_of(settings.evaluation.num_samples)

    def find(model: LoadedModel, images: ImageSet, show: Progress) -> Tuning:
        return tune(
            model,
            images,
            sampling=settings.sampling,
            evaluation=settings.evaluation,
            cache_dir=cache_dir,
            sizes=sizes,
            job_id=run.id,
            progress=show,
        )

    return measure(
        run,
        find,
        lambda measured, found: TUNINGS.write(tuning_path(measured, run.id), found),
        at_once=sizes.part,
        data_dir=data_dir,
        cache_dir=cache_dir,
        store_root=store_root,
        should_stop=should_stop,
    )
