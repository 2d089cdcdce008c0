"""What an evaluation found, with all a reader needs to believe it; kept as JSON in the run. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.evaluation import ceiling_results, timestep_loss_results
from core.evaluation.ceiling_results import CEILINGS, Ceiling, ceiling_row
from core.evaluation.timestep_loss_results import LOSSES
from core.runs.results import ResultKind
from core.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Of `count` pictures asked of one class, `correct` are that class for the judge; 95 % Wilson interval."""

    name: str
    count: int
    correct: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What `core.evaluation.measures.MEASURES` find; a newer one than a report is None in it. Shares are 0 to 1."""

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


@dataclass(frozen=True, kw_only=True)
class Report(Measures):
    """One evaluation. Distances are in the units of the judge of `judge_hash` and compare only between reports that
    name the same one. job_id: the queued evaluation that measured it, '' for one of the terminal."""

    created_at: str
    run_id: str
    step: int
    data_set: str
    fingerprint: str
    num_samples: int
    sampler: str
    num_inference_steps: int
    guidance_scale: float
    seed: int
    judge_accuracy: float
    judge_heldout_count: int
    judge_hash: str
    judge_seed: int
    judge_epochs: int
    elapsed_s: float
    device: str
    job_id: str = ""


REPORTS = ResultKind(title="evaluation", record=Report)


def report_rows(report: Report, ceiling: Ceiling | None = None) -> list[tuple[str, str, str]]:
    """The report as (metric, value, note) for a table, the most telling first: measures, classes, conditions.

    ceiling: what is known of its VAE alone, measured by the same judge.
    """
    sampling = f"{report.num_inference_steps} steps, guidance {report.guidance_scale:g}, seed {report.seed}"
    judged = f"right on {report.judge_accuracy:.2%} of {report.judge_heldout_count:,} held-out images"
    return [
        ("images (N)", f"{report.num_samples:,}", "labels balanced over the classes"),
        *measure_rows(report, ceiling),
        *((f"class {name}", value, note) for name, value, note in class_rows(report)),
        ("sampling", report.sampler, sampling),
        ("judge", report.judge_hash[:12], f"{judged}; {report.judge_epochs} epochs, seed {report.judge_seed}"),
        ("model", report.run_id, f"step {report.step:,}, trained on {report.data_set} ({report.fingerprint[:12]})"),
        ("time", f"{report.elapsed_s:.1f} s", report.device),
    ]


def measure_rows(report: Report, ceiling: Ceiling | None = None) -> list[tuple[str, str, str]]:
    """Every measure over all classes, as (metric, value, note)."""
    of_classes = f"95 % interval {report.class_accuracy_low:.2%} to {report.class_accuracy_high:.2%}"
    real = ""
    if report.real_precision is not None and report.real_recall is not None:
        real = f"; held-out real images {report.real_precision:.3f} / {report.real_recall:.3f}"
    against = f"{report.precision_recall_count:,} against as many real, k = {report.neighbours}"
    floor_count = f"{report.fd_floor_count:,} held-out real images"
    if report.fd_floor_count != report.num_samples:
        floor_count += " (fewer than N: the floor is biased upwards)"
    rows = [
        ("class accuracy", f"{report.class_accuracy:.2%}", f"the judge sees what was asked; {of_classes}"),
        ("FD-judge", f"{report.fd_judge:.4g}", f"lower is better; {report.fd_reference_count:,} training images"),
        ("FD-judge floor", f"{report.fd_floor:.4g}", f"{floor_count} against the same training images"),
    ]
    if ceiling:
        rows.append(ceiling_row(ceiling))
    rows += [
        ("precision", f"{report.precision:.3f}", f"share that looks real; {against}{real}"),
        ("recall", f"{report.recall:.3f}", f"share of real variety that is reached; {against}"),
        (
            "copy ratio",
            f"{report.copy_ratio:.2f}",
            "distance to the nearest training image: 1 as new as real, 0 copies",
        ),
    ]
    return rows


def class_rows(report: Report) -> list[tuple[str, str, str]]:
    """The class accuracy of each class, as (class, value, note)."""
    return [
        (
            score.name,
            f"{score.accuracy:.2%}" if score.count else "–",
            f"{score.correct} of {score.count}; {score.low:.1%} to {score.high:.1%}"
            if score.count
            else "no images asked",
        )
        for score in report.per_class
    ]


def write_report(run: Run, report: Report) -> Path:
    """Keep the report durably as `evaluations/<UTC time>-<N>.json` of the run. Returns its path.

    Raises UsageError for a VAE run.
    """
    run.check_generates("evaluate a U-Net run that was trained on it", but=" and generates no images to evaluate")
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S.%f")
    path = run.evaluations_dir / f"{stamp}-{report.num_samples}.json"
    REPORTS.write(path, report)
    return path


def list_reports(run: Run) -> list[Report]:
    """The run's reports, newest first; `unreadable_results` says why others are left out."""
    return REPORTS.read_all(sorted(run.evaluations_dir.glob("*.json"), reverse=True))[0]


def report_of_job(run: Run, job_id: str) -> Report | None:
    """What that queued evaluation measured on the run; None when it has not, or the report is gone."""
    return next((report for report in list_reports(run) if report.job_id == job_id), None)


def unreadable_results(run: Run) -> list[str]:
    """A sentence for each result in the run that cannot be shown, such as one of a newer version of the lab."""
    kept = (
        (REPORTS, run.evaluations_dir),
        (CEILINGS, run.folder / ceiling_results.FOLDER),
        (LOSSES, run.folder / timestep_loss_results.FOLDER),
    )
    return [problem for kind, folder in kept for problem in kind.read_all(sorted(folder.glob("*.json")))[1]]


def figures_for_card(run: Run, step: int, weights: str) -> dict[str, Any] | None:
    """Fields of the evaluation that the card of an export shows; None when these weights were never evaluated."""
    report = report_for_card(run, step) if weights == "ema" else None
    return REPORTS.as_json(report) if report is not None else None


def report_for_card(run: Run, step: int) -> Report | None:
    """The evaluation to print on the card: of that checkpoint, drawn as the run's settings say if there is one, then
    of the most pictures, then the newest."""
    wanted = run.settings.sampling
    of_step = [report for report in list_reports(run) if report.step == step]

    def fitness(report: Report) -> tuple[bool, int]:
        asked = (report.sampler, report.num_inference_steps, report.guidance_scale)
        return asked == (wanted.sampler, wanted.num_inference_steps, wanted.guidance_scale), report.num_samples

    return max(of_step, key=fitness, default=None)
