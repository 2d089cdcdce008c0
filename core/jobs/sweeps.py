"""Sweeps: trainings over a grid or a list of settings, each with several seeds, started, stopped and deleted as one.

A sweep is no run and has no folder: its runs carry its id in run.json, and each of its recipes is a group of
`core.runs.groups`. Never imports PyTorch.
"""

from __future__ import annotations

import itertools
import math
import re
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.config.load import parse_override
from core.config.schema import Settings
from core.errors import UsageError, quoted
from core.home import PROGRAM
from core.jobs.engines.choose import observed_status
from core.jobs.engines.protocol import Engine
from core.jobs.service import Check, delete_run, fitting, request_stop, start_training
from core.runs.groups import SWEEP, runs_of_sweep
from core.runs.run import Run
from core.runs.store import MAX_NAME_LENGTH, RunStore
from core.words import counted

MOST_TRAININGS = 200
MOST_SEEDS = 50


@dataclass(frozen=True, kw_only=True)
class Point:
    """One training of a sweep: the settings that vary, by dotted name, and its seed."""

    values: Mapping[str, Any]
    seed: int

    @property
    def overrides(self) -> dict[str, Any]:
        """As `load_config` takes them."""
        return {**self.values, "seed": self.seed}

    @property
    def words(self) -> str:
        """'learning_rate=0.001, seed 0': the last part of each name."""
        varied = [f"{name.rpartition('.')[2]}={_short(value)}" for name, value in self.values.items()]
        return ", ".join([*varied, f"seed {self.seed}"])


def parse_values(text: str) -> tuple[str, list[Any]]:
    """'section.key=1,2' as the name and its values; a value in brackets holds its commas. Raises UsageError."""
    name, _, values = text.partition("=")
    parts, depth = [""], 0
    for character in values:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return name.strip(), [parse_override(f"{name}={part.strip()}")[1] for part in parts]


def parse_seeds(text: str) -> tuple[int, ...]:
    """'0,1,2' or '0-4'. Raises UsageError."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})(?:\s*-\s*(\d{1,10}))?\s*", part)
        if not match:
            raise UsageError(f"--seeds: expected whole numbers such as 0,1,2 or 0-4, got {quoted(text, 40)}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < MOST_SEEDS:
            raise UsageError(f"--seeds: {quoted(part, 40)} is not a range of 1 to {MOST_SEEDS} seeds")
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))


def points_of(axes: Mapping[str, Sequence[Any]], seeds: Sequence[int], *, as_list: bool = False) -> list[Point]:
    """Every combination, or with `as_list` the first values of all axes, then the second ones, …; each with every seed.

    Raises UsageError for lists of unequal length, values named twice, and too many trainings.
    """
    lengths = {len(values) for values in axes.values()}
    if as_list and len(lengths) > 1:
        raise UsageError(f"--list: every setting needs as many values, got {', '.join(map(str, sorted(lengths)))}")
    number = (max(lengths, default=1) if as_list else math.prod(map(len, axes.values()))) * len(seeds)
    if number > MOST_TRAININGS:
        raise UsageError(f"{number:,} trainings, at most {MOST_TRAININGS} make a sweep", "leave some values out")
    columns = axes.values()
    if repeated := [name for name, values in axes.items() if not as_list and len(set(map(repr, values))) < len(values)]:
        raise UsageError(f"{repeated[0]}: the same value is named twice", "name each once")
    rows: Iterable[Sequence[Any]] = zip(*columns, strict=True) if as_list and axes else itertools.product(*columns)
    return [Point(values=dict(zip(axes, row, strict=True)), seed=seed) for row in rows for seed in seeds]


def start_sweep(
    store: RunStore,
    kind: str,
    trainings: Sequence[tuple[Point, Settings]],
    *,
    name: str = "",
    explicit: Collection[str] = (),
    engine: Engine | None = None,
    check: Check | None = None,
    **others: Any,
) -> tuple[str, list[Run]]:
    """Queue a training per point; returns the sweep's id and its runs. others: as `start_training` takes them.

    Raises what `start_training` raises, before anything is created; for a later point only where its dataset cannot be
    read or the disk is full, and says so.
    """
    for point, settings in trainings:
        try:
            fitting(kind, settings, store=store, vae_run=others.get("vae_run"), explicit={*explicit, *point.values})
        except UsageError as error:
            raise UsageError(f"{point.words}: {error.message}" if point.values else error.message, error.hint) from None
    sweep = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    made: list[Run] = []
    for point, settings in trainings:
        title = f"{name} {point.words}".strip()[:MAX_NAME_LENGTH]
        try:
            made += start_training(
                kind,
                settings,
                store=store,
                name=title,
                explicit={*explicit, *point.values},
                sweep=sweep,
                engine=engine,
                check=check,
                **others,
            )
        except UsageError as error:
            if not made:
                raise
            hint = f"{len(made)} runs are queued already; stop them: {PROGRAM} stop {SWEEP}{sweep}"
            raise UsageError(f"{point.words}: {error.message}", hint) from None
    return sweep, made


def stop_sweep(store: RunStore, name: str, *, by: str = "") -> list[Run]:
    """Ask every run of it that is active to save and stop; those that wait go first. Returns them at once."""
    asked = []
    for run in runs_of_sweep(store, name):  # a U-Net is younger than its VAE, and goes before it
        if observed_status(run).state.is_active:
            asked.append(request_stop(store, run.id, by=by))
    return asked


def delete_sweep(store: RunStore, name: str, *, by: str = "") -> list[Run]:
    """Move every run of it to the trash. Raises RunBusy for the first that is active, and nothing was moved then."""
    found = runs_of_sweep(store, name)
    active = [run for run in found if observed_status(run).state.is_active]
    if active:
        raise UsageError(f"{counted(len(active), 'run')} of it not done", f"stop it first: {PROGRAM} stop {name}")
    for run in found:
        delete_run(store, run.id, by=by)
    return found


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace(" ", "")
