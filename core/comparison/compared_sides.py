"""What is compared: trainings and groups of them, by the reports that compare. Never imports PyTorch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.config.load import get_value
from core.config.schema import Settings, field_rows
from core.errors import LabError, UsageError, quoted
from core.evaluation.report import Report, check_compares, fd_error_of, list_reports, right_of
from core.home import PROGRAM
from core.runs.groups import GROUP, SWEEP, group_named, groups_among, runs_of_sweep, training_of
from core.runs.run import Run, RunState
from core.runs.store import RunStore


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is compared. name: as links say it, a run's id or 'group:KEY'. runs: of a run that one, else all of the
    group, newest first. is_recipe: a group."""

    name: str
    title: str
    runs: tuple[Run, ...]
    is_recipe: bool


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The reports of one training under one condition, one per noise seed."""

    run: Run
    reports: tuple[Report, ...]

    @property
    def fd(self) -> tuple[float, float]:
        """FD-judge, the mean over its reports, and its standard error by the images alone."""
        return _mean(self.reports, lambda each: each.fd_judge, fd_error_of)

    @property
    def accuracy(self) -> tuple[float, float]:
        """Class accuracy (0 to 1), as `fd`; the error as if two more images were right and two wrong."""

        def error(report: Report) -> float:
            right, count = right_of(report)
            share = (right + 2.0) / (count + 4.0)
            return math.sqrt(share * (1.0 - share) / (count + 4.0))

        return _mean(self.reports, lambda each: each.class_accuracy, error)


def side_named(store: RunStore, name: str) -> Side:
    """A run by id, name or part of it, or a group: 'group:KEY', 'group:RUN'. Raises RunNotFound, UsageError."""
    if name.startswith(GROUP):
        group = group_named(store, name)
        return Side(name=group.name, title=group.title, runs=group.runs, is_recipe=True)
    run = store.get(name)
    if not run.kind.trains:
        raise UsageError(f"{run.id}: is a {run.kind.noun}", f"compare trainings; see {PROGRAM} runs")
    return Side(name=run.id, title=run.title, runs=(run,), is_recipe=False)


def sides_named(store: RunStore, name: str) -> list[Side]:
    """As `side_named`; 'sweep:ID' is the groups of its trainings that generate images, else of all, oldest first."""
    if not name.startswith(SWEEP):
        return [side_named(store, name)]
    members = runs_of_sweep(store, name)
    groups = groups_among([run for run in members if run.kind.generates] or members)
    return [Side(name=each.name, title=each.title, runs=each.runs, is_recipe=True) for each in reversed(groups)]


def matched(side: Side, reference: Side) -> tuple[list[Measured], list[Measured], tuple[str, ...]]:
    """The reports that compare: of the condition under which most trainings of both sides were measured, drawn alike if
    any are, then of most images. Raises UsageError when there are none, and says what differs."""
    mine, other = _by_condition(side), _by_condition(reference)
    both = [condition for condition in mine if condition in other]
    if both:
        best = max(both, key=lambda each: (min(len(mine[each]), len(other[each])), each[0]))
        return mine[best], other[best], ()
    loose = [(a, b) for a in mine for b in other if a[:-1] == b[:-1]]
    if loose:
        a, b = max(loose, key=lambda pair: (min(len(mine[pair[0]]), len(other[pair[1]])), pair[0][0]))
        words = f"Not generated alike: {titled(side)} with {a[-1]}, {titled(reference)} with {b[-1]}."
        return mine[a], other[b], (words,)
    first, second = (max(each.values(), key=len)[0] for each in (mine, other))
    check_compares(first.reports[0], second.reports[0])
    raise UsageError(
        f"{titled(side)} and {titled(reference)}: measured with another split of the images",
        "train one of them anew",
    )


def measured_by(side: Side) -> list[tuple[Run, Report]]:
    """The newest report of each run of a side that has one with an interval."""
    found = []
    for run in side.runs:
        if run.kind.generates:
            reports = (report for report in list_reports(run) if not report.is_old and report.fd_high is not None)
            found += [(run, report) for report in [next(reports, None)] if report is not None]
    return found


def measured_alike(runs: Sequence[Run]) -> list[Measured]:
    """The trainings of one recipe under the condition that most were measured with; empty where none was."""
    if not runs:
        return []
    try:
        found = _by_condition(Side(name="", title=runs[0].title, runs=tuple(runs), is_recipe=True))
    except LabError:
        return []
    return max(found.values(), key=len)


def _by_condition(side: Side) -> dict[tuple[Any, ...], list[Measured]]:
    """Reports of the newest measured step (of a recipe: of trainings that went to their end) by what they were measured
    with, the sampling last; one training per seed."""
    if not side.runs[0].kind.generates:
        raise UsageError(f"{titled(side)}: is a {side.runs[0].kind.noun} and generates no images that can be judged")
    found: dict[tuple[Any, ...], list[Measured]] = {}
    seen: set[tuple[Any, ...]] = set()
    for run in side.runs:
        reports = [report for report in list_reports(run) if not report.is_old and report.fd_high is not None]
        if side.is_recipe:
            status = run.status()
            done = status.state is RunState.FINISHED
            reports = [report for report in reports if done and report.step == status.steps_total]
        newest = max((report.step for report in reports), default=0)
        by: dict[tuple[Any, ...], dict[int, Report]] = {}
        for report in reports:
            if report.step == newest:
                by.setdefault(_condition(run, report), {}).setdefault(report.seed, report)
        for condition, seeds in by.items():
            identity = (condition, training_of(run))
            if identity not in seen:
                seen.add(identity)
                measured = Measured(run=run, reports=tuple(seeds[seed] for seed in sorted(seeds)))
                found.setdefault(condition, []).append(measured)
    if not found:
        whole = "trained to its end and evaluated" if side.is_recipe else "evaluated"
        raise UsageError(
            f"{titled(side)}: no run of it was {whole} as reports are now, with an interval"
            if side.is_recipe
            else f"{titled(side)}: has no evaluation with an interval",
            f"{PROGRAM} evaluate {side.runs[0].id} --samples 1000",
        )
    return found


def _condition(run: Run, report: Report) -> tuple[Any, ...]:
    sampling = report.sampling_in_words().replace(f", seed {report.seed}", "")
    return (
        report.num_samples,
        report.judge_hash,
        report.fingerprint,
        report.labels,
        report.labels_rule,
        run.rules.split,
        sampling,
    )


def _mean(
    reports: Sequence[Report], value: Callable[[Report], float], error: Callable[[Report], float]
) -> tuple[float, float]:
    return (
        statistics.fmean(map(value, reports)),
        math.sqrt(math.fsum(error(each) ** 2 for each in reports)) / len(reports),
    )


def titled(side: Side) -> str:
    """Its title as sentences name it."""
    return f"'{quoted(side.title, 60)}'"


def settings_that_differ(sides: Sequence[Side]) -> list[tuple[str, tuple[str, ...]]]:
    """(dotted name, its value on each side) of the settings that are not the same on all; of a group those of its
    newest run, and no seed. '–' where they cannot be read."""
    read = [_settings_of(side) for side in sides]
    rows = []
    for name, _ in field_rows():
        if name == "seed" and any(side.is_recipe for side in sides):
            continue
        values = tuple("–" if each is None else _text(get_value(each, name)) for each in read)
        if len(set(values)) > 1:
            rows.append((name, values))
    return rows


def _settings_of(side: Side) -> Settings | None:
    try:
        return side.runs[0].shown_settings
    except LabError:
        return None


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
