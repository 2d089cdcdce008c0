"""Sampler comparisons as the screen sees them: which there are, what they found, what a new one will cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from core.comparison import comparison_results as results
from core.comparison.comparison_results import CellResult, Comparison
from core.comparison.grid import ComparisonRequest, Cost, Value, cost_of, parse_axis, value_in_words
from core.config.interval import SIGMA
from core.config.schema import Settings
from core.csv_text import csv_text
from core.errors import LabError
from core.jobs import comparison_job
from core.jobs.measuring import settings_for
from core.reading import Stamp, stamp_of
from core.runs.rights import require_right
from core.runs.run import Run
from lab.services import evaluations, run_actions
from lab.services.runs import RunView, list_views, open_store

MAX_READ_FOR_SPEED = 5


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A comparison of a run. job: None when its job was deleted and its results stayed. kept: there are results."""

    id: str
    job: RunView | None
    kept: bool

    @property
    def is_active(self) -> bool:
        """True while it waits or draws."""
        return self.job is not None and self.job.is_active

    @property
    def owner(self) -> str:
        """Who started it; '' when nobody knows any more."""
        return self.job.run.info.owner if self.job else ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A comparison that could be started: what it draws, what that costs; seconds: None when nothing is known yet.

    is_measured: the seconds come from an earlier comparison, not from the speed of the training.
    """

    request: ComparisonRequest
    settings: Settings
    cost: Cost
    seconds: float | None
    is_measured: bool


def of_run(run: Run) -> list[Listed]:
    """Comparisons of a U-Net run, newest first: those with results and those that wait or were stopped early."""
    jobs = {
        view.id: view
        for view in list_views(comparisons=True)
        if view.run.info.kind == "comparison" and run.id in view.run.info.parents
    }
    kept = set(results.list_comparisons(run))
    return [Listed(id=name, job=jobs.get(name), kept=name in kept) for name in sorted({*jobs, *kept}, reverse=True)]


def read(run: Run, comparison_id: str) -> Comparison:
    """A comparison as far as it has come; read again only when a file of it has changed. Raises LabError."""
    folder = results.results_folder(run, comparison_id).folder
    stamps = tuple(stamp_of(folder / name) for name in ("request.json", "facts.json", "reference.json", "cells"))
    return _read(str(folder), stamps, run, comparison_id)


@st.cache_resource(max_entries=16, show_spinner=False)
def _read(folder: str, stamps: tuple[Stamp, ...], _run: Run, comparison_id: str) -> Comparison:
    return results.read_comparison(_run, comparison_id)


def choices(run: Run) -> Mapping[str, Sequence[Value]]:
    """The samplers that fit this run, and its checkpoints."""
    return comparison_job.choices_of(run)


def plan(run: Run, rows: tuple[str, str], columns: tuple[str, str], *, num_samples: int, with_reference: bool) -> Plan:
    """A new comparison from what the form says: (setting, values as typed) twice. Raises LabError in one sentence."""
    known = choices(run)
    settings = settings_for(comparison_job.KIND, run.settings)
    request = comparison_job.plan_comparison(
        run,
        parse_axis(f"{rows[0]}={rows[1]}", known),
        parse_axis(f"{columns[0]}={columns[1]}", known),
        settings=settings,
        num_samples=num_samples,
        with_reference=with_reference,
    )
    cost = cost_of(request, settings.diffusion)
    measured = seconds_per_evaluation(run)
    speed = evaluations.seconds_per_pass(run) if measured is None else measured
    seconds = None if speed is None else speed * cost.evaluations
    return Plan(request=request, settings=settings, cost=cost, seconds=seconds, is_measured=measured is not None)


def seconds_per_evaluation(run: Run) -> float | None:
    """One pass of one picture, as the newest comparisons of this run took it; None when there is none."""
    for name in results.list_comparisons(run)[:MAX_READ_FOR_SPEED]:
        try:
            found = results.seconds_per_evaluation(read(run, name))
        except LabError:
            continue
        if found is not None:
            return found
    return None


def start(run: Run, planned: Plan, *, owner: str, token: str) -> str:
    """Queue it; its id. Raises LabError, and nothing was created then."""
    job = comparison_job.start_comparison(
        open_store(), run, planned.request, settings=planned.settings, owner=owner, token=token
    )
    run_actions.look_again()
    return job.id


def delete(run: Run, listed: Listed, by: str) -> None:
    """Remove the results, and put the job into the trash. Raises LabError while it is active."""
    if listed.job is not None:
        run_actions.delete(listed.id, by)
    else:
        require_right(run.info.owner, by, f"delete comparison {listed.id}")
    if listed.kept:
        results.delete_comparison(run, listed.id)


def as_csv(comparison: Comparison) -> bytes:
    """Every cell with its settings, figures and marks, and the reference in the last line."""
    front = results.on_front(comparison)
    rows = []
    for cell in comparison.cells:
        result = comparison.results.get(cell.index)
        if result is not None:
            rows.append(_row("cell", result, on_pareto_front=cell.index in front))
    if comparison.reference is not None:
        rows.append(_row("reference", comparison.reference, on_pareto_front=False))
    return csv_text(list(rows[0]) if rows else [], [list(row.values()) for row in rows])


def _row(role: str, result: CellResult, *, on_pareto_front: bool) -> dict[str, object]:
    settings, fd, accuracy = result.settings, result.fd_difference, result.accuracy_difference
    return {
        "role": role,
        "sampler": settings.sampler,
        "num_inference_steps": settings.num_inference_steps,
        "guidance_scale": settings.guidance_scale,
        "guidance_rescale": settings.guidance_rescale,
        "guidance_from": settings.guidance_interval[0],
        "guidance_to": settings.guidance_interval[1],
        "guidance_in": "t/T" if len(settings.guidance_interval) == 2 else SIGMA,
        "seed": settings.seed,
        "weights": settings.weights,
        "step": settings.step,
        "refused_because": result.problem,
        "num_pictures": result.num_pictures,
        "network_evaluations": result.evaluations,
        "seconds": result.seconds,
        "pictures_per_s": result.pictures_per_s,
        "fd_judge": result.fd_judge,
        "fd_low": result.fd_low,
        "fd_high": result.fd_high,
        "class_accuracy": result.class_accuracy,
        "class_accuracy_low": result.class_accuracy_low,
        "class_accuracy_high": result.class_accuracy_high,
        "recall": result.recall,
        "agreement": result.agreement,
        "psnr_db": result.psnr_db,
        "fd_difference": fd.value if fd else None,
        "fd_difference_low": fd.low if fd else None,
        "fd_difference_high": fd.high if fd else None,
        "accuracy_difference": accuracy.value if accuracy else None,
        "accuracy_difference_low": accuracy.low if accuracy else None,
        "accuracy_difference_high": accuracy.high if accuracy else None,
        "verdict": result.verdict,
        "on_pareto_front": on_pareto_front,
    }


def row_names(comparison: Comparison) -> list[str]:
    """The values of the rows, in words."""
    return [value_in_words(comparison.request.rows.setting, value) for value in comparison.request.rows.values]


def column_names(comparison: Comparison) -> list[str]:
    """The values of the columns, in words."""
    return [value_in_words(comparison.request.columns.setting, value) for value in comparison.request.columns.values]
