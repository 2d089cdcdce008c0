"""What an evaluation found, with all a reader needs to believe it; kept as JSON in the run. Never imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.config.interval import Interval
from core.config.schema import LabelChoice, SamplingSettings
from core.errors import UsageError
from core.evaluation import ceiling_results, timestep_loss_results
from core.evaluation.ceiling_results import CEILINGS, Ceiling, ceiling_for, ceiling_row
from core.evaluation.differences import normal_interval, unpaired_difference
from core.evaluation.labels import LABELS_RULE
from core.evaluation.memorization_results import Memorization, memorization_rows
from core.evaluation.timestep_loss_results import LOSSES
from core.evaluation.verdict import Change, Judgement, accuracy_change, fd_change, judgement
from core.runs.results import ResultKind
from core.runs.run import Run
from core.words import counted, guidance_in_words

OLD_WAY = "measured the old way: classes balanced, floor in the data's proportions; compares with no newer figures"

NO_INTERVAL = "no interval is known"


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Of `count` pictures asked of one class, `correct` are that class for the judge; 95 % Wilson interval. fd: their
    distance to the training pictures of the class; None for fewer than 2 pictures or more than 100 classes."""

    name: str
    count: int
    correct: int
    accuracy: float
    low: float
    high: float
    fd: float | None = None
    fd_floor: float | None = None
    fd_floor_sd: float | None = None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measure of `count` images: its 95 % interval, None where none is known, and what real held-out images get.

    floor_sd: the standard deviation of that over draws, None for one draw.
    """

    value: float
    count: int
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    floor_sd: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What `core.evaluation.measures.MEASURES` find; a newer one than a report is None in it. Shares are 0 to 1.

    fd_floor: mean of `fd_floor_draws` draws of `fd_floor_count` held-out pictures; fd_floor_sd: standard deviation of
    one draw, None where nearly all held-out pictures are in each. fd_low, fd_high: 95 % interval of the expectation at
    this number of images; fd_infinite: extrapolated to endless images (arXiv 1911.07023). density, coverage and the
    clipped ones: see `core.evaluation.neighbourhoods`. confusion: K rows of the classes asked, K columns of the
    classes seen; None for more than 100.
    """

    class_accuracy: float
    class_accuracy_low: float
    class_accuracy_high: float
    per_class: tuple[ClassScore, ...]
    fd_judge: float
    fd_reference_count: int
    fd_floor: float
    fd_floor_count: int
    fd_floor_sd: float | None = None
    fd_floor_draws: int = 1
    fd_low: float | None = None
    fd_high: float | None = None
    fd_infinite: Figure | None = None
    kid: Figure | None = None
    precision_low: float | None = None
    precision_high: float | None = None
    density: float | None = None
    coverage: float | None = None
    clipped_density: Figure | None = None
    clipped_coverage: Figure | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    precision: float
    recall: float
    neighbours: int
    precision_recall_count: int
    real_precision: float | None
    real_recall: float | None
    copy_ratio: float


@dataclass(frozen=True, kw_only=True)
class SecondJudge:
    """Class accuracy, with its 95 % Wilson interval, by a judge of another shape and seed, which no feature comes from.

    judge_accuracy: its own, on held-out images.
    """

    class_accuracy: float
    low: float
    high: float
    judge_accuracy: float
    judge_hash: str
    judge_seed: int


@dataclass(frozen=True, kw_only=True)
class Report(Measures):
    """One evaluation. Distances are in the units of the judge of `judge_hash` and compare only between reports that
    name the same one. job_id: the queued evaluation that measured it, '' for one of the terminal. guidance_rescale,
    guidance_interval and whole_timesteps are None in reports of version 0.2.0 and before, which did not say. labels:
    the classes asked for, in proportions of the training data or balanced. labels_rule: see `core.evaluation.labels`.
    drawn_key: names its images in the cache, see `core.evaluation.drawn`; '' where they were not kept. memorization:
    None in reports of version 0.2.0 and before, and where there are too few images to tell. second_judge: None where
    `evaluation.second_judge` is off.
    """

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
    guidance_rescale: float | None = None
    guidance_interval: Interval | None = None
    whole_timesteps: bool | None = None
    noise_rule: int = 1
    labels: LabelChoice = "balanced"
    labels_rule: int = 1
    drawn_key: str = ""
    memorization: Memorization | None = None
    second_judge: SecondJudge | None = None

    @property
    def near_share(self) -> Figure | None:
        """Share of images that lie nearer to training images, in pixels, than held-out ones do; None if not tested."""
        if not self.memorization:
            return None
        found = self.memorization.pixels
        return Figure(
            value=found.share,
            count=self.memorization.num_generated,
            low=found.low,
            high=found.high,
            floor=found.expected,
        )

    @property
    def is_old(self) -> bool:
        """Whether it was measured the old way: its distance and floor compare with no newer ones."""
        return self.labels_rule < LABELS_RULE

    def labels_in_words(self) -> str:
        """Which classes its images show."""
        if self.is_old:
            return OLD_WAY
        return "classes as often as in the training images" if self.labels == "proportions" else "classes balanced"

    def sampling_in_words(self) -> str:
        """'unipc, 10 steps, guidance 1.5, seed 0': everything that decided the images but the model."""
        guidance = guidance_in_words(self.guidance_scale, self.guidance_rescale, self.guidance_interval)
        steps = counted(self.num_inference_steps, "step")
        whole = ", whole timesteps" if self.whole_timesteps else ""
        unknown = "" if self.guidance_interval else ", rescale and interval not recorded"
        return f"{self.sampler}, {steps}, {guidance}{unknown}, seed {self.seed}{whole}"

    def is_drawn_as(self, wanted: SamplingSettings) -> bool:
        """Whether its images were generated by these settings, whatever the seed. What it does not say is no reason."""
        names = (
            "sampler",
            "num_inference_steps",
            "guidance_scale",
            "guidance_rescale",
            "guidance_interval",
            "whole_timesteps",
        )
        return all(getattr(self, name) in (None, getattr(wanted, name)) for name in names)


REPORTS = ResultKind(title="evaluation", record=Report)


def report_rows(report: Report, ceiling: Ceiling | None = None) -> list[tuple[str, str, str]]:
    """The report as (metric, value, note) for a table, the most telling first: measures, classes, conditions.

    ceiling: what is known of its VAE alone, measured by the same judge.
    """
    judged = f"right on {report.judge_accuracy:.2%} of {report.judge_heldout_count:,} held-out images"
    return [
        ("images (N)", f"{report.num_samples:,}", report.labels_in_words()),
        *measure_rows(report, ceiling),
        *((f"class {name}", value, note) for name, value, note in class_rows(report)),
        ("sampling", report.sampler, report.sampling_in_words().removeprefix(f"{report.sampler}, ")),
        ("judge", report.judge_hash[:12], f"{judged}; {report.judge_epochs} epochs, seed {report.judge_seed}"),
        *([second_row(report.second_judge)] if report.second_judge else []),
        ("model", report.run_id, f"step {report.step:,}, trained on {report.data_set} ({report.fingerprint[:12]})"),
        ("time", f"{report.elapsed_s:.1f} s", report.device),
    ]


def second_row(found: SecondJudge) -> tuple[str, str, str]:
    """What the second judge says, as (metric, value, note)."""
    words = (
        f"judge {found.judge_hash[:12]} of another shape, seed {found.judge_seed}; 95 % interval {found.low:.2%} to "
    )
    words += f"{found.high:.2%}; right on {found.judge_accuracy:.2%} of held-out images"
    return ("second judge", f"{found.class_accuracy:.2%}", words)


def measure_rows(report: Report, ceiling: Ceiling | None = None) -> list[tuple[str, str, str]]:
    """Every measure over all classes, as (metric, value, note)."""
    of_classes = f"95 % interval {report.class_accuracy_low:.2%} to {report.class_accuracy_high:.2%}"
    real = ""
    if report.real_precision is not None and report.real_recall is not None:
        real = f"; held-out real images {report.real_precision:.3f} / {report.real_recall:.3f}"
    against = f"{report.precision_recall_count:,} against as many real, k = {report.neighbours}"
    floor_count = f"{report.fd_floor_count:,} held-out real images"
    if report.fd_floor_sd is not None:
        floor_count = (
            f"± {report.fd_floor_sd:.2g} (standard deviation over {report.fd_floor_draws} choices); {floor_count}"
        )
    if report.fd_floor_count < report.num_samples:
        floor_count += " (fewer than N: the floor is biased upwards)"
    within = "" if report.fd_low is None else f"95 % interval {report.fd_low:.4g} to {report.fd_high:.4g} at this N; "
    rows = [
        ("class accuracy", f"{report.class_accuracy:.2%}", f"the judge sees what was asked; {of_classes}"),
        (
            "FD-judge",
            f"{report.fd_judge:.4g}",
            f"lower is better; {within}{report.fd_reference_count:,} training images",
        ),
        ("FD-judge floor", f"{report.fd_floor:.4g}", f"{floor_count} against the same training images"),
    ]
    if report.fd_infinite:
        rows.append(("FD-judge, endless N", *_figure(report.fd_infinite, ".4g", "extrapolated: without the bias of N")))
    if report.kid:
        rows.append(("KID", *_figure(report.kid, ".3g", "lower is better; its expectation does not depend on N")))
    if ceiling:
        rows.append(ceiling_row(ceiling, report.num_samples, report.labels))
    certain = (
        f"; 95 % interval {report.precision_low:.3f} to {report.precision_high:.3f}"
        if report.precision_low is not None
        else ""
    )
    rows += [
        ("precision", f"{report.precision:.3f}", f"share that looks real{certain}; {against}{real}"),
        ("recall", f"{report.recall:.3f}", f"share of real variety that is reached; {NO_INTERVAL}; {against}"),
        *(
            (name, *_figure(found, ".3f", words))
            for name, found, words in (
                ("clipped density", report.clipped_density, "share as likely as real images"),
                ("clipped coverage", report.clipped_coverage, "share that is as varied as real images"),
            )
            if found
        ),
    ]
    if report.memorization:
        rows += memorization_rows(report.memorization)
    else:
        words = "distance to the nearest training image, held-out ones 1: says little of disguised copies"
        rows.append(("copy ratio", f"{report.copy_ratio:.2f}", words))
    return rows


def ceiling_beside(run: Run, report: Report) -> Ceiling | None:
    """The known ceiling of the run's VAE that stands beside this report: the same judge, and N and labels if it can."""
    return ceiling_for(run, judge_hash=report.judge_hash, num_pictures=report.num_samples, labels=report.labels)


def _figure(found: Figure, digits: str, words: str) -> tuple[str, str]:
    """Its value, and what it says with interval, floor and N."""
    parts = [words]
    if found.low is not None:
        parts.append(f"95 % interval {found.low:{digits}} to {found.high:{digits}}")
    else:
        parts.append(NO_INTERVAL)
    if found.floor is not None:
        spread = "" if found.floor_sd is None else f" ± {found.floor_sd:.2g}"
        parts.append(f"held-out real images {found.floor:{digits}}{spread}")
    return f"{found.value:{digits}}", "; ".join([*parts, f"N = {found.count:,}"])


def class_rows(report: Report) -> list[tuple[str, str, str]]:
    """The class accuracy of each class, as (class, value, note)."""
    return [
        (
            score.name,
            f"{score.accuracy:.2%}" if score.count else "–",
            f"{score.correct} of {score.count}; {score.low:.1%} to {score.high:.1%}{_distance_of(score)}"
            if score.count
            else "no images asked",
        )
        for score in report.per_class
    ]


def _distance_of(score: ClassScore) -> str:
    return "" if score.fd is None else f"; FD {score.fd:.3g}, real {score.fd_floor:.3g}"


def compared(report: Report, reference: Report, *, cells: int = 1) -> Judgement:
    """What `report` is against `reference`, of other noise or another model; `cells` are compared at once.

    Raises UsageError as `check_compares`.
    """
    check_compares(report, reference)
    return judgement(changes_of(report, reference), report.num_samples, cells=cells)


def check_compares(report: Report, reference: Report) -> None:
    """Raises UsageError, in one sentence, for reports that do not compare: of another judge, dataset, number of images
    or labels, measured the old way, or of fewer images than an interval needs."""
    for words, of in (
        ("another judge", lambda each: each.judge_hash),
        ("another dataset", lambda each: each.fingerprint),
        ("another number of images", lambda each: each.num_samples),
        ("other labels", lambda each: (each.labels, each.labels_rule)),
    ):
        if of(report) != of(reference):
            raise UsageError(f"{report.run_id} and {reference.run_id}: measured with {words}", "evaluate both alike")
    if report.is_old or report.fd_high is None or reference.fd_high is None:
        why = "measured the old way" if report.is_old else "too few images for an interval of FD-judge"
        raise UsageError(f"{report.run_id} and {reference.run_id}: {why}", "evaluate both again, with 1,000 images")


def changes_of(report: Report, reference: Report) -> tuple[Change, Change]:
    """Of FD-judge and of class accuracy, of reports that compare, each with noise of its own."""
    changed, error = unpaired_difference(right_of(report), right_of(reference))
    return (
        fd_change(
            report.fd_judge - reference.fd_judge,
            math.hypot(fd_error_of(report), fd_error_of(reference)),
            reference=reference.fd_judge,
            floor=reference.fd_floor,
        ),
        accuracy_change(changed, error, reference=reference.class_accuracy, num_images=report.num_samples),
    )


def fd_error_of(report: Report) -> float:
    """The standard error of its FD-judge, of a report that has an interval."""
    return ((report.fd_high or 0.0) - report.fd_judge) / normal_interval(0.0, 1.0)[1]


def right_of(report: Report) -> tuple[int, int]:
    """(images that the judge takes for the class asked for, all images)."""
    return round(report.class_accuracy * report.num_samples), report.num_samples


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
    """The evaluation to print on the card: of that checkpoint, measured as now if there is one, then drawn as the run's
    settings say, then of the most pictures, then the newest."""
    wanted = run.settings.sampling
    of_step = [report for report in list_reports(run) if report.step == step]

    def fitness(report: Report) -> tuple[bool, bool, int]:
        return not report.is_old, report.is_drawn_as(wanted), report.num_samples

    return max(of_step, key=fitness, default=None)
