"""A report as scores that can be drawn and put into words: each measure between real images and the VAE alone.

A measure that a report does not hold is left out. Never imports PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.evaluation.ceiling_results import Ceiling
from core.evaluation.report import Figure, Measures, Report

FEW_PER_MILLE = 5  # a class that is taken for another less often than this is not worth a sentence
CLEAR_SHARE = 0.02  # of variety or realism below real images: less is not worth a sentence
MOST_MIXED_UP = 3
SPREADS = 3.0  # standard deviations of real images beyond which a distance is not theirs
LEAST_COPY_RATIO = 0.8  # real images that no model learned from lie about 1 apart


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Which fields of a report are one measure. low, high: its 95 % interval; real: what real images get, spread: its
    standard deviation over draws. clear: a difference from real images that means something where no interval is
    known."""

    field: str
    title: str
    words: str
    low: str = ""
    high: str = ""
    real: str = ""
    spread: str = ""
    clear: float = 0.0
    is_share: bool = False
    less_is_better: bool = False


MEASURES = (
    Measure(
        field="class_accuracy",
        title="Class accuracy",
        words="the judge sees the class asked for",
        low="class_accuracy_low",
        high="class_accuracy_high",
        is_share=True,
    ),
    Measure(
        field="fd_judge",
        title="FD-judge",
        words="distance to the training images, lower is better",
        low="fd_low",
        high="fd_high",
        real="fd_floor",
        spread="fd_floor_sd",
        less_is_better=True,
    ),
    Measure(field="kid", title="KID", words="the same, unbiased by the number of images", less_is_better=True),
    Measure(
        field="precision",
        title="Precision",
        words="share that looks real",
        low="precision_low",
        high="precision_high",
        real="real_precision",
        clear=CLEAR_SHARE,
    ),
    Measure(
        field="recall",
        title="Recall",
        words="share of real variety that is reached",
        real="real_recall",
        clear=CLEAR_SHARE,
    ),
    Measure(
        field="clipped_density", title="Density", words="share that is as likely as real images", clear=CLEAR_SHARE
    ),
    Measure(
        field="clipped_coverage", title="Coverage", words="share that is as varied as real images", clear=CLEAR_SHARE
    ),
    Measure(
        field="near_share",
        title="Near copies",
        words="share nearer to a training image than 99 % of held-out images",
        is_share=True,
        less_is_better=True,
    ),
    Measure(
        field="copy_ratio",
        title="Distance to training",
        words="1: as far as held-out images, 0: copies",
        clear=1.0 - LEAST_COPY_RATIO,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Score:
    """One measure of a report. real: of held-out images, spread: its standard deviation over draws; vae: of images
    through the VAE alone; count: images; None for what is not known."""

    measure: Measure
    value: float
    count: int
    low: float | None = None
    high: float | None = None
    real: float | None = None
    spread: float | None = None
    vae: float | None = None

    @property
    def is_below_real(self) -> bool:
        """Whether it is worse than what real images get, beyond what chance explains.

        A share is, where real images are one draw of as many, beyond three standard errors of the difference.
        """
        if self.real is None:
            return False
        if self.measure.clear:
            chance = SPREADS * math.sqrt(2.0 * max(0.0, self.real * (1.0 - self.real)) / self.count)
            return self.value < self.real - max(self.measure.clear, chance)
        if self.measure.less_is_better:
            return (self.value if self.low is None else self.low) > self.real + SPREADS * (self.spread or 0.0)
        return (self.value if self.high is None else self.high) < self.real


def scores_of(report: Report, ceiling: Ceiling | None = None) -> list[Score]:
    """Every measure that the report holds, in the order of MEASURES. ceiling: of its VAE, by the same judge."""
    return scores_of_measures(report, ceiling, real_accuracy=report.judge_accuracy, count=report.num_samples)


def scores_of_measures(
    found: Measures, ceiling: Ceiling | None = None, *, real_accuracy: float, count: int
) -> list[Score]:
    """As `scores_of`. real_accuracy: the judge's on real images; count: images that were measured."""
    fixed = {"class_accuracy": real_accuracy, "copy_ratio": 1.0}
    scores = []
    for measure in MEASURES:
        kept = getattr(found, measure.field, None)
        if kept is None or (measure.field == "copy_ratio" and getattr(found, "memorization", None)):
            continue
        vae = getattr(ceiling, measure.field, None)
        if isinstance(kept, Figure):
            known = {"low": kept.low, "high": kept.high, "real": kept.floor, "spread": kept.floor_sd}
            value, number = kept.value, kept.count
        else:
            value = kept
            known = {name: getattr(found, getattr(measure, name), None) for name in ("low", "high", "real", "spread")}
            known["real"] = fixed.get(measure.field, known["real"])
            number = found.precision_recall_count if measure.field in ("precision", "recall") else count
        vae = vae.value if isinstance(vae, Figure) else vae
        scores.append(Score(measure=measure, value=value, count=number, vae=vae, **known))
    return scores


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a report says in words. is_fault: something is wrong."""

    title: str
    words: str
    is_fault: bool = True


def headline(report: Report) -> str:
    """The report in two sentences: how many show the right class, and what is or is not as in real images."""
    faults = [finding.title for finding in findings(report, None) if finding.is_fault]
    rest = [*faults[:1], *(f"{title[:1].lower()}{title[1:]}" for title in faults[1:])] or ["Nothing was found wrong"]
    return f"{_percent(report.class_accuracy)} show the right class. {'; '.join(rest)}."


def findings(report: Report, confusion: np.ndarray | None) -> list[Finding]:
    """What is wrong, the most telling first, and that nothing is. confusion: see `confusion_of`."""
    scores = {score.measure.field: score for score in scores_of(report)}
    found = _mixed_up(report, confusion)
    accuracy = scores["class_accuracy"]
    if accuracy.is_below_real and not found:
        found.append(
            Finding(
                title="Some images show another class",
                words=f"{_percent(accuracy.value)} show the class asked for; the judge is right about "
                f"{_percent(report.judge_accuracy)} of real images.",
            )
        )
    for field, title in (
        ("recall", "Together they vary less than real images"),
        ("clipped_coverage", "They leave out part of what real images show"),
        ("precision", "Some do not look like real images"),
    ):
        score = scores.get(field)
        if score and score.real is not None and score.is_below_real:
            words = f"{score.measure.title} is {score.value:.3f} where held-out real images reach {score.real:.3f}."
            found.append(Finding(title=title, words=words))
    distance = scores["fd_judge"]
    if distance.is_below_real:
        words = f"FD-judge is {distance.value:.3g}; as many real images get {distance.real:.3g}."
        found.append(Finding(title="As a set they differ from the training images", words=words))
    if report.memorization:
        is_sign = report.memorization.is_sign
        title = "They repeat training images" if is_sign else "No sign of memorization by this test"
        return [*found, Finding(title=title, words=report.memorization.in_words(), is_fault=is_sign)]
    copies = scores["copy_ratio"]
    if copies.is_below_real:
        words = f"They lie at {copies.value:.2f} of the distance that held-out images have to the training images."
        found.append(Finding(title="They lie closer to training images than new images would", words=words))
    else:
        words = f"Typically {copies.value:.2f} times as far from the nearest training image as held-out images."
        found.append(Finding(title="No sign of memorization by this test", words=words, is_fault=False))
    return found


def confusion_of(
    report: Report, labels: Sequence[int] | np.ndarray = (), guesses: Sequence[int] | np.ndarray = ()
) -> np.ndarray | None:
    """(K, K) int64: images asked for row k that the judge takes for column j; None where that was not kept.

    labels, guesses (N,): of the images, where the report does not say.
    """
    size = len(report.per_class)
    if report.confusion is not None:
        return np.array(report.confusion, dtype=np.int64).reshape(size, size)
    if not len(labels):
        return None
    asked, seen = np.asarray(labels), np.asarray(guesses)
    if min(asked.min(), seen.min()) < 0 or max(asked.max(), seen.max()) >= size:
        return None
    return np.bincount(asked * size + seen, minlength=size * size).reshape(size, size)


def mixed_up(confusion: np.ndarray) -> list[tuple[int, int]]:
    """(asked, seen) of every pair of classes that is mixed up, the most frequent first."""
    wrong = confusion * (1 - np.eye(len(confusion), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")
    pairs = [(int(place) // len(wrong), int(place) % len(wrong)) for place in order]
    return [pair for pair in pairs if wrong[pair]]


def _mixed_up(report: Report, confusion: np.ndarray | None) -> list[Finding]:
    if confusion is None:
        return []
    names, found = [score.name for score in report.per_class], []
    for asked, seen in mixed_up(confusion)[:MOST_MIXED_UP]:
        number, of_class = int(confusion[asked, seen]), int(confusion[asked].sum())
        if 1000 * number >= FEW_PER_MILLE * of_class and number > 1:
            share = f"{100 * number / of_class:.1f} %"
            words = f"{share} of the images asked for as {names[asked]} are read as {names[seen]}"
            found.append(
                Finding(title=f"{names[asked]} is read as {names[seen]}", words=f"{words}: {number} of {of_class}.")
            )
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
