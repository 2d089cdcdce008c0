"""`compare-runs A B…`: which of several runs or groups is better, and which settings differ."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.tables import plain, table
from core.comparison.compared_sides import Side, settings_that_differ, sides_named
from core.comparison.run_comparison import RunVerdict, verdicts
from core.errors import UsageError


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "compare-runs",
        "Say which of several trained runs, or of groups that differ in their seed, is better.",
        ("compare-runs RUN RUN", "compare-runs group:RUN group:RUN --json"),
    )
    parser.add_argument(
        "sides",
        metavar="RUN|group:RUN",
        nargs="+",
        help="2 to 8 runs or groups; each is compared with the first. group:RUN: the runs that differ from RUN only "
        "in their seed. sweep:ID: the groups of a sweep",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the verdicts, then the settings that differ."""
    store = store_of(arguments)
    named = [side for name in arguments.sides for side in sides_named(store, name)]
    sides = list({side.name: side for side in named}.values())
    found = verdicts(sides)
    if len(found) == 1 and found[0].refusal:
        raise UsageError(found[0].refusal)
    rows = settings_that_differ(sides)
    facts = {
        "sides": [
            {"name": side.name, "title": side.title, "is_group": side.is_recipe, "runs": [run.id for run in side.runs]}
            for side in sides
        ],
        "verdicts": [asdict(each) for each in found],
        "settings": {name: list(values) for name, values in rows},
    }
    answer(arguments, facts, lambda: _in_full(sides, found, rows))
    return 0


def _in_full(sides: Sequence[Side], found: Sequence[RunVerdict], differ: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    parts = []
    for each in found:
        parts += [plain(each.sentence or each.refusal), *map(plain, each.notes)]
    rows = [[name, *values] for name, values in differ]
    if rows:
        parts.append("\nSettings that differ\n" + table(["setting", *(side.title for side in sides)], rows))
    else:
        parts.append("\nTheir settings are the same.")
    return "\n".join(parts)
