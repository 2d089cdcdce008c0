"""Evaluations as the screens see them: what a new one takes, its start, and the one that works on a run now."""

from __future__ import annotations

from dataclasses import dataclass

from core.comparison.grid import cell_settings, expected_evaluations
from core.config.load import settings_from
from core.config.schema import SamplingSettings, Settings
from core.errors import RunNotFound
from core.evaluation.report import Report, list_reports, report_of_job
from core.jobs import evaluation_job
from core.jobs.measuring import settings_for
from core.model_folders.sources import RunSource
from core.runs.run import Run
from core.words import count
from lab.services import judges, run_actions
from lab.services.runs import RunView, children, open_store, view_of

TRAINING_PASSES = 3  # a training step passes forward once and backward at twice the cost


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An evaluation that could be started. seconds: None when nothing is known yet.

    is_measured: the seconds come from an earlier evaluation, not from the speed of the training. trains_judge: the
    judge of this dataset is not there yet, and comes on top.
    """

    settings: Settings
    seconds: float | None
    is_measured: bool
    trains_judge: bool


def plan(run: Run, num_samples: object) -> Plan:
    """What evaluating a U-Net run takes, with its own settings but for the number of images. Raises LabError."""
    evaluation_job.check_evaluable(run)
    values = run.settings.model_dump(mode="json")
    values["evaluation"]["num_samples"] = num_samples
    settings = settings_for(evaluation_job.KIND, settings_from(values))
    images = settings.evaluation.num_samples
    seconds, measured = None, next(iter(list_reports(run)), None)
    if measured is not None:
        seconds = measured.elapsed_s * images / measured.num_samples
    elif speed := seconds_per_pass(run):
        seconds = images * passes_per_image(settings.sampling) * speed
    return Plan(
        settings=settings,
        seconds=seconds,
        is_measured=measured is not None,
        trains_judge=judges.find(RunSource(run)) is None,
    )


def passes_per_image(sampling: SamplingSettings) -> int:
    """Passes through the U-Net that one image takes: two per step with guidance."""
    return expected_evaluations(cell_settings(sampling))


def seconds_per_pass(run: Run) -> float | None:
    """One pass of one image through the network, judged by the speed of the run's training; None when not known."""
    trained = run.status().images_per_s
    return 1 / (TRAINING_PASSES * trained) if trained else None


def share_of_training(settings: Settings) -> float:
    """What measuring quality while a U-Net trains takes, as a share of the training's own time; counted in passes of
    an image through the network. The judge comes on top where there is none yet."""
    train, measured = settings.train_unet, settings.evaluation
    points = -(-train.steps // measured.during) if measured.during else 0
    passes = points * measured.during_samples * passes_per_image(settings.sampling)
    return passes / (TRAINING_PASSES * train.steps * train.batch_size)


def start(run: Run, planned: Plan, *, owner: str, token: str) -> str:
    """Queue it; its id. Raises LabError, and nothing was created then."""
    made = evaluation_job.start_evaluation(open_store(), run, settings=planned.settings, owner=owner, token=token)
    run_actions.look_again()
    return made.id


def evaluations_of(run_id: str) -> list[RunView]:
    """Queued evaluations of a run, ended ones too, newest first."""
    return [view for view in children(run_id) if view.run.kind.evaluates]


def active_of(run_id: str) -> RunView | None:
    """The evaluation that waits or works on a run now; the one that began first."""
    return next((view for view in reversed(evaluations_of(run_id)) if view.is_active), None)


def measured_by(view: RunView) -> tuple[RunView | None, Report | None]:
    """The run that an evaluation measures, and what it found; None for what is gone or not there yet."""
    parents = view.run.info.parents
    try:
        measured = view_of(parents[0]) if parents else None
    except RunNotFound:
        return None, None
    return measured, report_of_job(measured.run, view.id) if measured else None


def result_in_words(report: Report) -> str:
    """'99.0 % right class, 1,000 images'."""
    return f"{100 * report.class_accuracy:.1f} % right class, {count(report.num_samples)} images"
