"""`runs [--json] [--state S] [--owner N] [--tag T]`: the runs, newest first."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.tables import plain, table
from core.home import PROGRAM
from core.jobs.engines.choose import observed_status
from core.runs.listing import run_row
from core.runs.notes import read_notes
from core.runs.run import RunState
from core.words import ago


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(commands, "runs", "List the runs, newest first.", ("runs", "runs --state finished --json"))
    parser.add_argument(
        "--state", choices=[str(state) for state in RunState], help="only runs in this state (default: all)"
    )
    parser.add_argument("--owner", metavar="NAME", help="only runs of this person (default: all)")
    parser.add_argument("--tag", metavar="TAG", help="only runs with this tag (default: all)")


def run(arguments: argparse.Namespace) -> int:
    """Print them; broken folders are told on stderr."""
    store = store_of(arguments)
    wanted = [
        each
        for each in store.list()
        if (not arguments.owner or each.info.owner == arguments.owner)
        and (not arguments.tag or arguments.tag in read_notes(each).tags)
    ]
    rows = [run_row(each, observed_status(each)) for each in wanted]
    if arguments.state:
        rows = [row for row in rows if row["state"] == arguments.state]
    filtered = bool(arguments.state or arguments.owner or arguments.tag)
    nothing = (
        f"No run in {store.root} matches."
        if filtered
        else f"No runs in {store.root}. Start one: {PROGRAM} train all --preset quick"
    )
    answer(arguments, rows, lambda: listed(rows) if rows else nothing)
    for row in rows:
        if row["problem"] and not arguments.json:
            print(f"{row['id']}: {plain(row['problem'])}", file=sys.stderr)
    for folder, problem in store.broken():
        print(f"{plain(folder.name)}: not readable as a run: {plain(problem)}", file=sys.stderr)
    return 0


def listed(rows: Sequence[Mapping[str, Any]]) -> str:
    """The runs as a table."""
    lines = [
        (
            row["id"],
            row["kind"],
            row["state"],
            f"{row['step']:,}/{row['steps_total']:,}",
            row["name"] or "-",
            row["owner"],
            ago(row["created_at"]),
        )
        for row in rows
    ]
    return table(["id", "kind", "state", "step", "name", "owner", "created"], lines)
