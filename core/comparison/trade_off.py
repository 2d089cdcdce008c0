"""Guidance against steps, read off a sampler comparison: which cell to use, chosen on one half of its images and stated
on the other. The best of many cells looks better than it is on the images that chose it. Never imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.comparison.comparison_results import CellResult, Comparison
from core.comparison.grid import CellSettings, value_in_words

GUIDANCE = "guidance_scale"
LEAST_IMAGES = 512  # per cell: with fewer, FD-judge of a half is noise
MOST_LOST = 0.02  # of class accuracy, for less distance


@dataclass(frozen=True, kw_only=True)
class HalfFigures:
    """Measures of one half of a cell's images; shares are 0 to 1."""

    count: int
    fd_judge: float
    class_accuracy: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class HalvedCell:
    """A cell by its place in the grid: the half that chooses (images 0, 2, …) and the half that states (1, 3, …)."""

    index: int
    chooses: HalfFigures
    states: HalfFigures


@dataclass(frozen=True, kw_only=True)
class Line:
    """Cells that differ in guidance only. points: lowest guidance first."""

    name: str
    points: tuple[CellResult, ...]


def is_trade_off(comparison: Comparison) -> bool:
    """Whether guidance is one of its axes."""
    return GUIDANCE in (comparison.request.rows.setting, comparison.request.columns.setting)


def lines_of(comparison: Comparison) -> list[Line]:
    """A line per value of the axis that is not guidance, of the cells that are done."""
    request = comparison.request
    other = request.columns if request.rows.setting == GUIDANCE else request.rows
    found = []
    for value in other.values:
        cells = [each for each in comparison.drawn if getattr(each.settings, other.setting) == value]
        points = tuple(sorted(cells, key=lambda each: each.settings.guidance_scale))
        if points:
            found.append(Line(name=value_in_words(other.setting, value), points=points))
    return found


def suggested(cells: Sequence[HalvedCell]) -> HalvedCell | None:
    """The cell with the lowest FD-judge on the half that chooses, the first of equals; of those whose class accuracy
    there is at most MOST_LOST below the best. None where the halves are too small to choose."""
    able = [each for each in cells if each.chooses.count >= LEAST_IMAGES // 2]
    best = max((each.chooses.class_accuracy for each in able), default=0.0)
    right = [each for each in able if each.chooses.class_accuracy >= best - MOST_LOST]
    return min(right, key=lambda each: each.chooses.fd_judge, default=None)


def cell_of(comparison: Comparison, wanted: CellSettings) -> CellResult | None:
    """The cell that is drawn with these settings, whatever its seed and weights; None where there is none."""

    def asked(found: CellSettings) -> CellSettings:
        return replace(found, seed=0, weights="", step=0)

    return next((each for each in comparison.drawn if asked(each.settings) == asked(wanted)), None)
