"""Which of two runs, or of two recipes, is better: a verdict in the four words of `core.evaluation.verdict`.

Between single runs it is a verdict on these weights: only the images are random. Between recipes (groups of runs that
differ in their seed, three or more a side) the training is random too. The variance of a side's mean over n seeds is
that of the seeds, s²/n, as in Welch's test with Student's t. It holds the noise of the images, unless the runs of a
side were measured on the same noise; then the seeds share that part of it, and the whole variance of one report is
added, the most that it can be. This is the normal-theory counterpart of a two-level bootstrap over images and seeds.
`benchmarks/run_verdicts.py` measures how often a word is wrong. Never imports PyTorch.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from core.comparison.compared_sides import Measured, Side, matched, titled
from core.errors import LabError, UsageError
from core.evaluation.differences import student_quantile
from core.evaluation.report import Report, changes_of
from core.evaluation.verdict import CONFIDENCE, Change, Word, accuracy_change, fd_change, fits, judgement
from core.home import PROGRAM
from core.runs.groups import GROUP
from core.words import counted

FEWEST, MOST = 2, 8  # sides compared at once
LEAST_SEEDS = 3  # a side, for a verdict on a recipe
MOST_MORE_SEEDS = 50
MEASURES = ("FD-judge", "class accuracy")
Of = Literal["weights", "recipe"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One measure of both sides, and the 95 % interval of this side's less the reference's."""

    measure: str
    value: float
    reference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class RunVerdict:
    """What `side` is against `reference`. measure: the one that says so, '' where all do. seeds: trainings a side.

    more_images, more_seeds: about how many more per side would tell, None where that is not the question. refusal: why
    there is no word, in one sentence. notes: what a reader has to know.
    """

    side: str
    reference: str
    word: Word | Literal[""] = ""
    of: Of = "weights"
    measure: str = ""
    differences: tuple[Difference, ...] = ()
    seeds: tuple[int, int] = (1, 1)
    num_images: int = 0
    more_images: int | None = None
    more_seeds: int | None = None
    refusal: str = ""
    notes: tuple[str, ...] = ()
    sentence: str = ""


def verdicts(sides: Sequence[Side]) -> list[RunVerdict]:
    """What each other side is against the first; one that does not compare says why. Raises UsageError for too many."""
    if not FEWEST <= len(sides) <= MOST:
        raise UsageError(f"{FEWEST} to {MOST} runs or groups are compared at once, got {len(sides)}")
    return [verdict(side, sides[0], cells=len(sides) - 1) for side in sides[1:]]


def verdict(side: Side, reference: Side, *, cells: int = 1) -> RunVerdict:
    """What `side` is against `reference`; `cells` sides are compared at once."""
    try:
        if side.name == reference.name:
            raise UsageError("a run or group does not differ from itself", "name another")
        if side.is_recipe != reference.is_recipe:
            alone = reference if side.is_recipe else side
            raise UsageError(
                f"{titled(alone)} is a single run and the other side a group",
                f"name its group: {GROUP}{alone.name}",
            )
        found, theirs, notes = matched(side, reference)
        if not side.is_recipe:
            return _on_weights(side, reference, found[0].reports[0], theirs[0].reports[0], cells, notes)
        return _on_recipes(side, reference, found, theirs, cells, notes)
    except LabError as error:
        return RunVerdict(
            side=side.name, reference=reference.name, refusal=str(error), of="recipe" if side.is_recipe else "weights"
        )


def _on_weights(
    side: Side, reference: Side, mine: Report, other: Report, cells: int, notes: Sequence[str]
) -> RunVerdict:
    changes = changes_of(mine, other)
    said = judgement(changes, mine.num_samples, cells=cells)
    values = ((mine.fd_judge, other.fd_judge), (mine.class_accuracy, other.class_accuracy))
    more = {"more_images": said.more_images, "num_images": mine.num_samples, "notes": tuple(notes)}
    return _said(side, reference, said.word, changes, values, more)


def _on_recipes(
    side: Side,
    reference: Side,
    found: Sequence[Measured],
    theirs: Sequence[Measured],
    cells: int,
    notes: Sequence[str],
) -> RunVerdict:
    for each, measured in ((side, found), (reference, theirs)):
        if len(measured) < LEAST_SEEDS:
            raise UsageError(
                f"{titled(each)}: a verdict on a recipe needs {LEAST_SEEDS} training seeds that were trained to the "
                f"end and evaluated alike, and has {len(measured)}",
                f"train it with more seeds, or {PROGRAM} evaluate those that have none; single runs compare by weights",
            )
    count = found[0].reports[0].num_samples
    changes = recipe_changes(found, theirs)
    said = judgement(changes, count, cells=cells)
    more = None
    if said.word == "cannot tell":
        more = next(
            (
                extra
                for extra in range(1, MOST_MORE_SEEDS + 1)
                if judgement(recipe_changes(found, theirs, extra), count, cells=cells).word != "cannot tell"
            ),
            None,
        )
    values = tuple(
        (statistics.mean(of(each)[0] for each in found), statistics.mean(of(each)[0] for each in theirs)) for of in _OF
    )
    return _said(
        side,
        reference,
        said.word,
        changes,
        values,
        {
            "seeds": (len(found), len(theirs)),
            "num_images": count,
            "more_seeds": more,
            "notes": (*notes, *_same_vae(side, found), *_same_vae(reference, theirs)),
        },
    )


def _said(
    side: Side,
    reference: Side,
    word: Word,
    changes: Sequence[Change],
    values: Sequence[tuple[float, float]],
    more: Mapping[str, Any],
) -> RunVerdict:
    """The verdict with its sentence. values: this side's and the reference's, by measure. more: its other fields."""
    found = RunVerdict(
        side=side.name,
        reference=reference.name,
        word=word,
        of="recipe" if side.is_recipe else "weights",
        measure=_speaking(changes, word),
        differences=_differences(changes, values),
        **more,
    )
    return replace(found, sentence=_sentence(found, side, reference))


_OF: tuple[Callable[[Measured], tuple[float, float]], ...] = (lambda each: each.fd, lambda each: each.accuracy)


def recipe_changes(found: Sequence[Measured], theirs: Sequence[Measured], extra: int = 0) -> tuple[Change, Change]:
    """Of both measures, of one training per seed; as if `extra` seeds more per side had the same means and spread."""
    shared = _share_noise(found) or _share_noise(theirs)

    def changed(of: Callable[[Measured], tuple[float, float]]) -> tuple[float, float, float, float]:
        """(difference of the means, its error, degrees of freedom, the reference's mean)."""
        parts: list[tuple[float, float]] = []  # variances with their degrees of freedom
        means = []
        for measured in (found, theirs):
            values, errors = zip(*(of(each) for each in measured), strict=True)
            images = statistics.fmean(error**2 for error in errors)
            seeds = statistics.variance(values)
            if not shared:
                seeds = max(seeds, images)  # which it holds, and less is luck
            number = len(values) + extra
            parts.append((seeds / number, number - 1.0))
            if shared:
                parts.append((images, math.inf))
            means.append(statistics.fmean(values))
        total = sum(variance for variance, _ in parts)
        loss = sum(variance**2 / df for variance, df in parts)
        return means[0] - means[1], math.sqrt(total), total**2 / loss if loss else math.inf, means[1]

    reports = [each.reports[0] for each in theirs]
    fd, fd_error, fd_df, fd_mean = changed(_OF[0])
    right, right_error, right_df, right_mean = changed(_OF[1])
    floor = statistics.fmean(report.fd_floor for report in reports)
    first = fd_change(fd, fd_error, reference=fd_mean, floor=floor)
    second = accuracy_change(right, right_error, reference=right_mean, num_images=reports[0].num_samples)
    return replace(first, df=fd_df), replace(second, df=right_df)


def _share_noise(measured: Sequence[Measured]) -> bool:
    """Whether any two trainings were measured on the same noise."""
    seeds = [report.seed for each in measured for report in each.reports]
    return len(set(seeds)) < len(seeds)


def _same_vae(side: Side, measured: Sequence[Measured]) -> tuple[str, ...]:
    parents = {each.run.info.parents for each in measured}
    if len(parents) == 1 and parents != {()}:
        return (f"All runs of {titled(side)} were trained on one VAE: this says nothing about VAEs of other seeds.",)
    return ()


def _differences(changes: Sequence[Change], values: Sequence[tuple[float, float]]) -> tuple[Difference, ...]:
    found = []
    for name, change, (mine, other) in zip(MEASURES, changes, values, strict=True):
        half, value = student_quantile(0.5 + CONFIDENCE / 2.0, change.df) * change.error, mine - other
        found.append(Difference(measure=name, value=mine, reference=other, low=value - half, high=value + half))
    return tuple(found)


def _speaking(changes: Sequence[Change], word: Word) -> str:
    """The measure that says so: of better and worse the surest, of cannot tell the one that is most open."""
    if word == "as good":
        return ""
    if word == "cannot tell":
        return max(zip(changes, MEASURES, strict=True), key=lambda pair: (not fits(pair[0]), _open(pair[0])))[1]
    sign = 1.0 if word == "worse" else -1.0
    return max(zip(changes, MEASURES, strict=True), key=lambda pair: sign * _sureness(pair[0]))[1]


def _sureness(change: Change) -> float:
    if not change.error:
        return math.copysign(math.inf, change.value) if change.value else 0.0
    return change.value / (change.error * student_quantile(0.5 + CONFIDENCE / 2.0, change.df))


def _open(change: Change) -> float:
    return (abs(change.value) + change.error) / change.margin if change.margin else math.inf


def _sentence(found: RunVerdict, side: Side, reference: Side) -> str:
    mine, other = titled(side), titled(reference)
    if found.of == "recipe":
        mine, other = (
            f"{words} ({counted(number, 'seed')})" for words, number in zip((mine, other), found.seeds, strict=True)
        )
    measured = [each for each in found.differences if found.measure in ("", each.measure)]
    figures = " and ".join(difference_in_words(each) for each in measured)
    scope = "On these weights, " if found.of == "weights" else ""
    if found.word == "cannot tell":
        lead = f"{scope or 'By these runs '}one cannot tell whether {mine} is better than {other}"
        return f"{lead}: {figures}. {_what_would_tell(found)}"
    if found.word == "as good":
        return f"{scope}{mine} is as good as {other}: {figures}; no difference that matters."
    return f"{scope}{mine} is {found.word} than {other}: {figures}; the interval excludes 0."


def _what_would_tell(found: RunVerdict) -> str:
    if found.more_seeds is not None:
        return f"About {counted(found.more_seeds, 'more seed')} per side would tell, if the difference stays."
    if found.more_images is not None:
        return f"About {counted(found.more_images, 'more image')} per side would tell, if the difference stays."
    if found.of == "recipe":
        return f"Not even {MOST_MORE_SEEDS} more seeds per side would tell; evaluate with more images."
    return "More images alone would not tell."


def difference_in_words(found: Difference) -> str:
    """'FD-judge 0.81 against 1.3 (difference -0.49, 95 % interval -0.6 to -0.38)'."""
    if found.measure == MEASURES[1]:
        low, high, gain = (f"{100.0 * each:+.2f}" for each in (found.low, found.high, found.value - found.reference))
        return (
            f"{found.measure} {found.value:.2%} against {found.reference:.2%} "
            f"({gain} percentage points, 95 % interval {low} to {high})"
        )
    by = found.value - found.reference
    return (
        f"{found.measure} {found.value:.3g} against {found.reference:.3g} "
        f"({by:+.2g}, 95 % interval {found.low:+.2g} to {found.high:+.2g})"
    )
