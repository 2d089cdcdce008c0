"""The grid of a sampler comparison: two axes of settings, the cells between them, and what they will cost.

Never imports torch: the form and the command line read axes with it, and refuse what cannot work at once.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from core.config.interval import Interval
from core.config.schema import LABEL_CHOICES, DiffusionSettings, LabelChoice, SamplingSettings
from core.diffusion.sampler_table import SAMPLERS
from core.errors import UsageError, quoted
from core.sampling.recipe import Recipe

MAX_CELLS = 200
MIN_SAMPLES, MAX_SAMPLES = 10, 50_000
MAX_TEXT = 2_000
PATH_PICTURES = 100
SETTINGS = ("sampler", "num_inference_steps", "guidance_scale", "seed", "weights", "step")
WEIGHTS = ("ema", "raw")
_INT_BOUNDS = {
    "num_inference_steps": (1, 1000),
    "seed": (0, 2**31 - 1),
    "step": (0, 10_000_000),
    "label": (0, 99_999),
}
_BOUNDS = {"guidance_scale": (0, 50), "guidance_rescale": (0, 1)}
_COSTLY_FIRST = ("step", "weights", "seed", "guidance_scale", "sampler", "num_inference_steps")
_RANGE = re.compile(r"^([0-9.]+)\s*-\s*([0-9.]+)\s*(?:\(\s*([0-9.]+)\s*\))?$")
Value = str | int | float


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One side of the grid: a setting of SETTINGS and the values it takes, each once."""

    setting: str
    values: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class CellSettings:
    """Everything that decides the pictures of a cell. step: which checkpoint; weights: 'ema' or 'raw'.

    No axis changes the last three. A comparison that does not name them left them out, whatever the run's settings.
    """

    sampler: str
    num_inference_steps: int
    guidance_scale: float
    seed: int
    weights: str
    step: int
    guidance_rescale: float = 0.0
    guidance_interval: Interval = (0.0, 1.0)
    whole_timesteps: bool = False


def cell_settings(sampling: SamplingSettings, *, step: int = 0) -> CellSettings:
    """A cell that samples as these settings say, from the averaged weights."""
    shared = {each.name for each in fields(CellSettings)} - {"weights", "step"}
    return CellSettings(weights="ema", step=step, **{name: getattr(sampling, name) for name in shared})


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A place of the grid, counted row by row. problem: why it is refused, '' when it can be drawn."""

    index: int
    row: int
    column: int
    settings: CellSettings
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest:
    """What is compared. base: the settings that no axis changes, and those of the reference.

    num_samples: N pictures a cell, picture i with the noise of (seed, i) and a class that `labels` chooses, the same in
    every cell. labels: one of "proportions" and "balanced"; a request that does not say is from before the choice.
    """

    run_id: str
    rows: Axis
    columns: Axis
    base: CellSettings
    num_samples: int
    with_reference: bool = True
    batch_size: int = 256
    recall_neighbours: int = 3
    judge_epochs: int = 3
    labels: LabelChoice = "balanced"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Passes of one picture through the U-Net, in all cells that are drawn, and in the references."""

    cells: int
    refused: int
    cell_evaluations: int
    reference_evaluations: int

    @property
    def evaluations(self) -> int:
        """In all."""
        return self.cell_evaluations + self.reference_evaluations


def parse_axis(text: str, known: Mapping[str, Sequence[Value]] | None = None) -> Axis:
    """'sampler=all' or 'num_inference_steps=5-50(5)' as an Axis. Raises UsageError in one sentence."""
    setting, separator, values = text.partition("=")
    if not separator:
        raise UsageError(f"'{quoted(text)}': expected SETTING=VALUES", "for example num_inference_steps=5,10,20")
    return Axis(setting=setting.strip(), values=parse_values(setting.strip(), values, known))


def parse_values(
    setting: str, text: str, known: Mapping[str, Sequence[Value]] | None = None, *, settings: Sequence[str] = SETTINGS
) -> tuple[Value, ...]:
    """The values of a setting: '5,10,20', '5-50(5)', '1.0-3.0(0.5)', names, or 'all' where `known` lists them all.

    known: setting → what 'all' means, such as the samplers that fit a run. settings: those that may be an axis. Raises
    UsageError in one sentence for an unknown setting or value, an empty list, a range that runs backwards or has no
    stride, more than MAX_CELLS values.
    """
    if setting not in settings:
        close = difflib.get_close_matches(setting, settings, n=1)
        raise UsageError(
            f"'{quoted(setting)}' cannot be compared",
            f"did you mean {close[0]}?" if close else f"use one of {', '.join(settings)}",
        )
    every = {"weights": WEIGHTS, **(known or {})}
    if len(text) > MAX_TEXT:
        raise UsageError(f"{setting}: longer than {MAX_TEXT:,} characters")
    if text.strip() == "all":
        if not every.get(setting):
            raise UsageError(f"{setting}: 'all' has no meaning here", "name the values")
        return checked_values(setting, list(every[setting]))
    found: list[Value] = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        found += _values_of(setting, part)
        if len(found) > MAX_CELLS:
            raise UsageError(f"{setting}: more than {MAX_CELLS} values", "give fewer, or a wider stride")
    return checked_values(setting, found)


def check_request(request: ComparisonRequest) -> None:
    """Raises UsageError for a request that no job could carry out, whoever wrote it."""
    rows, columns = request.rows, request.columns
    if rows.setting == columns.setting:
        raise UsageError(f"rows and columns: both are {quoted(rows.setting)}", "compare two different settings")
    for axis in (rows, columns):
        if axis.setting not in SETTINGS:
            raise UsageError(f"'{quoted(axis.setting)}' cannot be compared", f"use one of {', '.join(SETTINGS)}")
        checked_values(axis.setting, axis.values)
    for setting in SETTINGS:
        checked_values(setting, [getattr(request.base, setting)])
    count = len(rows.values) * len(columns.values)
    if count > MAX_CELLS:
        raise UsageError(f"the grid has {count:,} cells, more than {MAX_CELLS}", "give fewer values")
    for name, low, high in (
        ("num_samples", MIN_SAMPLES, MAX_SAMPLES),
        ("batch_size", 1, 8192),
        ("recall_neighbours", 1, 20),
        ("judge_epochs", 1, 100),
    ):
        value = getattr(request, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UsageError(f"{name}: must be a whole number from {low:,} to {high:,}, got {quoted(value)}")
    if request.recall_neighbours >= request.num_samples:
        raise UsageError(f"recall_neighbours: {request.recall_neighbours} needs more images than that")
    if request.labels not in LABEL_CHOICES:
        raise UsageError(f"labels: one of {', '.join(LABEL_CHOICES)}, got {quoted(request.labels)}")
    if not isinstance(request.with_reference, bool) or not isinstance(request.run_id, str):
        raise UsageError("request: run_id must be text and with_reference true or false")


def cells_of(request: ComparisonRequest, diffusion: DiffusionSettings) -> list[Cell]:
    """All cells, row by row; those that the gate refuses have the reason as `problem`."""
    cells = []
    for row, row_value in enumerate(request.rows.values):
        for column, column_value in enumerate(request.columns.values):
            values: dict[str, Any] = {request.rows.setting: row_value, request.columns.setting: column_value}
            settings = replace(request.base, **values)
            cells.append(
                Cell(
                    index=row * len(request.columns.values) + column,
                    row=row,
                    column=column,
                    settings=settings,
                    problem=problem_of(settings, diffusion) or "",
                )
            )
    return cells


def in_run_order(cells: Sequence[Cell]) -> list[Cell]:
    """What needs other weights is the outer loop, then cheap cells before dear ones, so that much is seen early."""

    def key(cell: Cell) -> tuple[Any, ...]:
        return tuple(getattr(cell.settings, name) for name in _COSTLY_FIRST)

    return sorted(cells, key=key)


def problem_of(settings: CellSettings, diffusion: DiffusionSettings) -> str | None:
    """Why the gate refuses these settings for a model of that schedule, or None."""
    return diffusion.sampler_problem(settings.sampler, settings.num_inference_steps)


def allowed_samplers(diffusion: DiffusionSettings) -> tuple[str, ...]:
    """Samplers that fit the schedule with at least some number of steps."""
    return tuple(diffusion.offered_samplers()[0])


def quality_reference(request: ComparisonRequest, diffusion: DiffusionSettings) -> CellSettings:
    """Every training timestep: ancestral sampling (arXiv 2006.11239, algorithm 2), or Euler for flow matching."""
    sampler = "euler" if diffusion.schedule == "flow" else "ddpm"
    return replace(request.base, sampler=sampler, num_inference_steps=diffusion.num_train_timesteps)


def path_reference(request: ComparisonRequest, diffusion: DiffusionSettings) -> CellSettings:
    """The deterministic path from the same noise, in as many steps: DDIM (arXiv 2010.02502), or Euler for flow."""
    sampler = "euler" if diffusion.schedule == "flow" else "ddim"
    return replace(request.base, sampler=sampler, num_inference_steps=diffusion.num_train_timesteps)


def follows_path(settings: CellSettings, path: CellSettings) -> bool:
    """True when the cell solves the same equation from the same noise: only solver and steps may differ."""
    same = replace(settings, sampler=path.sampler, num_inference_steps=path.num_inference_steps) == path
    return same and not SAMPLERS[settings.sampler].stochastic


def expected_evaluations(settings: CellSettings | Recipe) -> int:
    """Passes of one picture through the U-Net; guidance doubles them."""
    calls = SAMPLERS[settings.sampler].evaluations(settings.num_inference_steps)
    return calls * (1 if settings.guidance_scale == 1.0 else 2)


def cost_of(request: ComparisonRequest, diffusion: DiffusionSettings) -> Cost:
    """What a comparison takes, before it is started."""
    cells = cells_of(request, diffusion)
    drawn = [cell for cell in cells if not cell.problem]
    count = request.num_samples
    references = 0
    if request.with_reference:
        references = count * expected_evaluations(quality_reference(request, diffusion))
        if path_reference(request, diffusion) != quality_reference(request, diffusion):
            references += min(count, PATH_PICTURES) * expected_evaluations(path_reference(request, diffusion))
    return Cost(
        cells=len(cells),
        refused=len(cells) - len(drawn),
        cell_evaluations=count * sum(expected_evaluations(cell.settings) for cell in drawn),
        reference_evaluations=references,
    )


def value_in_words(setting: str, value: Value) -> str:
    """'unipc', '10 steps', 'guidance 1.5', 'seed 3', 'raw weights', 'checkpoint 5,000'."""
    if setting == "num_inference_steps":
        return f"{value} step{'' if value == 1 else 's'}"
    if setting == "guidance_scale":
        return f"guidance {value:g}" if value != 1 else "no guidance"
    if setting == "guidance_rescale":
        return f"rescale {value:g}"
    if setting == "weights":
        return "averaged weights" if value == "ema" else "raw weights"
    if setting == "step":
        return f"checkpoint {value:,}"
    return f"seed {value}" if setting == "seed" else str(value)


def settings_in_words(settings: CellSettings, request: ComparisonRequest) -> str:
    """What tells a cell from its neighbours, as in 'unipc with 10 steps'; the sampler first."""
    axes = {request.rows.setting, request.columns.setting}
    words = [value_in_words(name, getattr(settings, name)) for name in SETTINGS if name in axes]
    return " with ".join(words)


def reference_in_words(settings: CellSettings) -> str:
    """'1,000-step ancestral sampling' or '1,000-step Euler sampling'."""
    return f"{settings.num_inference_steps:,}-step {SAMPLERS[settings.sampler].words} sampling"


def _values_of(setting: str, part: str) -> list[Value]:
    if setting in ("sampler", "weights"):
        return [part]
    found = _RANGE.match(part)
    if not found:
        return [_number(setting, part)]
    first, last = _decimal(setting, found.group(1)), _decimal(setting, found.group(2))
    stride = _decimal(setting, found.group(3)) if found.group(3) else Decimal(1)
    if first > last:
        raise UsageError(f"{setting}: the range {quoted(part)} runs backwards", f"write {last}-{first}")
    if stride <= 0:
        raise UsageError(f"{setting}: the range {quoted(part)} has the stride 0", "write a stride above 0")
    if (last - first) / stride >= MAX_CELLS:
        raise UsageError(f"{setting}: the range {quoted(part)} has more than {MAX_CELLS} values", "widen the stride")
    count = int((last - first) // stride) + 1
    return [_number(setting, str(first + place * stride)) for place in range(count)]


def _decimal(setting: str, text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise UsageError(f"{setting}: '{quoted(text)}' is not a number") from None


def _number(setting: str, text: str) -> Value:
    """A whole number, or for guidance any."""
    number = _decimal(setting, text)
    if not number.is_finite():
        raise UsageError(f"{setting}: '{quoted(text)}' is not a number")
    if setting in _BOUNDS:
        return float(number)
    if number != number.to_integral_value() or abs(number) >= 10**10:
        raise UsageError(f"{setting}: must be a whole number, got '{quoted(text)}'")
    return int(number)


def checked_values(setting: str, values: Sequence[Any]) -> tuple[Value, ...]:
    """The values, each in bounds and once. Raises UsageError in one sentence."""
    if not values:
        raise UsageError(f"{setting}: no values", "give at least one")
    for value in values:
        _check_value(setting, value)
    for place, value in enumerate(values):
        if value in values[:place]:
            raise UsageError(f"{setting}: {quoted(value)} is given twice", "give each value once")
    return tuple(values)


def _check_value(setting: str, value: Any) -> None:
    names = {"sampler": tuple(SAMPLERS), "weights": WEIGHTS}.get(setting)
    if names is not None:
        if value not in names:
            close = difflib.get_close_matches(str(value)[:40], names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
            raise UsageError(f"{setting}: '{quoted(value)}' does not exist", hint)
        return
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    is_number = is_whole or (isinstance(value, float) and math.isfinite(value))
    if setting in _BOUNDS:
        low, high = _BOUNDS[setting]
        if not is_number or not low <= value <= high:
            raise UsageError(f"{setting}: must be from {low} to {high}, got {quoted(value)}")
        return
    low, high = _INT_BOUNDS[setting]
    if not is_whole or not low <= value <= high:
        raise UsageError(f"{setting}: must be a whole number from {low:,} to {high:,}, got {quoted(value)}")
