"""What a difference between two sets of generated images says, in four words. The one place that decides it.

*as good*: the 95 % interval of every measure lies inside its margin, so whatever differs does not matter. *worse*,
*better*: an interval lies on one side of 0, after Bonferroni's correction for measures and cells, and none on the
other. *cannot tell*: neither. Exchanging the two sets exchanges better and worse. Never imports PyTorch.

Equal sets shall be called better or worse in at most 5 %. With two measures, Bonferroni's correction spends all of
that, and half of all repetitions would count more; so half of it is aimed at. `benchmarks/verdicts.py` measures how
often each word is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from core.evaluation.differences import student_quantile

FD_MARGIN = 0.1  # of the reference's FD-judge, or of the floor where that is higher
ACCURACY_MARGIN = 0.25  # of the reference's error rate
LEAST_ERRORS = 1  # of the reference: an error rate of 0 is not known to be less than 1 in N
CONFIDENCE = 0.95  # of the intervals that lie inside a margin
WRONG = 0.025  # of equal sets, that any of them is called better or worse
MOST_IMAGES = 1_000_000
OLD_WORDS = {"indistinguishable": "as good", "unclear": "cannot tell"}  # of comparisons of 0.2 and before


def _word(value: Any) -> Any:
    return OLD_WORDS.get(value, value) if isinstance(value, str) else value


Word = Literal["better", "worse", "as good", "cannot tell"]
Verdict = Annotated[Literal["", "better", "worse", "as good", "cannot tell"], BeforeValidator(_word)]


@dataclass(frozen=True, kw_only=True)
class Change:
    """How much worse a set is than the reference by one measure, its standard error, and the margin that matters.

    df: degrees of freedom of that error, endless for one that comes from many images.
    """

    value: float
    error: float
    margin: float
    df: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """more_images: about how many more per set would tell; None where that is not the question or more than a
    million."""

    word: Word
    more_images: int | None = None


def judgement(changes: Sequence[Change], num_images: int, *, cells: int = 1) -> Judgement:
    """What `changes`, one per measure over `num_images` images a set, say; `cells` are compared at once.

    Margins are relative: `fd_change` and `accuracy_change` make them.
    """
    share = 1.0 - WRONG / (2.0 * len(changes) * cells)
    open_ones = [each for each in changes if not fits(each)]
    if not open_ones:
        return Judgement(word="as good")
    worse = any(each.value > student_quantile(share, each.df) * each.error for each in open_ones)
    better = any(each.value < -student_quantile(share, each.df) * each.error for each in open_ones)
    if worse != better:
        return Judgement(word="worse" if worse else "better")
    if worse:  # better by one measure and worse by the other, however many images
        return Judgement(word="cannot tell")
    plain, strict = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2.0), NormalDist().inv_cdf(share)
    return Judgement(word="cannot tell", more_images=_more(open_ones, num_images, plain, strict))


def fits(change: Change) -> bool:
    """Whether the interval of a change lies inside its margin: whatever differs does not matter."""
    return abs(change.value) + student_quantile(0.5 + CONFIDENCE / 2.0, change.df) * change.error <= change.margin


def fd_change(difference: float, error: float, *, reference: float, floor: float) -> Change:
    """Of FD-judge: this set's less the reference's."""
    return Change(value=difference, error=error, margin=FD_MARGIN * max(reference, floor))


def accuracy_change(difference: float, error: float, *, reference: float, num_images: int) -> Change:
    """Of class accuracy (0 to 1): this set's less the reference's."""
    wrong = max(1.0 - reference, LEAST_ERRORS / num_images)
    return Change(value=-difference, error=error, margin=ACCURACY_MARGIN * wrong)


def _more(changes: Sequence[Change], num_images: int, plain: float, strict: float) -> int | None:
    """Images until every measure is inside its margin or one is outside of 0, if the differences stay what they are."""

    def needed(each: Change) -> float:
        inside = each.margin - abs(each.value)
        to_fit = (plain * each.error / inside) ** 2 if inside > 0.0 else math.inf
        to_see = (strict * each.error / each.value) ** 2 if each.value else math.inf
        return min(to_fit, to_see)

    factor = max(needed(each) for each in changes)
    more = num_images * (factor - 1.0)
    if not more <= MOST_IMAGES:
        return None
    digits = max(0, len(str(int(more))) - 2)
    return max(1, math.ceil(more / 10**digits)) * 10**digits
