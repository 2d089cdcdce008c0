"""`queue [--json]`: who trains, who waits and for what. `queue move` and `queue priority` change the order."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.ownership import add_yes_option, confirm_owner
from core.commands.tables import plain, table
from core.jobs.queue_entry import QueueEntry
from core.jobs.queue_order import MOVES, ensure_supervisor, move_run, set_priority
from core.jobs.queue_view import queue_problem, queue_view, supervisor_state
from core.jobs.turns import standing_in_words
from core.runs.provenance import current_user
from core.words import duration


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "queue",
        "Show who trains, who waits and for what, or change the order.",
        ("queue", "queue --move RUN --to first"),
    )
    parser.add_argument(
        "--move", metavar="RUN", help="move a waiting run among those of its priority; with --to (default: none)"
    )
    parser.add_argument("--to", choices=MOVES, help="where to (default: first)")
    parser.add_argument(
        "--prioritize", metavar="RUN", help="change the priority of a waiting run; with --priority (default: none)"
    )
    parser.add_argument(
        "--priority", type=int, metavar="N", help="with --prioritize: -10 to 10, higher goes first (default: 0)"
    )
    add_yes_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Change what was asked for, then print the queue."""
    store = store_of(arguments)
    if arguments.move:
        found = store.get(arguments.move)
        confirm_owner(found, "move", yes=arguments.yes)
        move_run(store, found.id, to=arguments.to or "first")
    if arguments.prioritize:
        found = store.get(arguments.prioritize)
        confirm_owner(found, "prioritize", yes=arguments.yes)
        set_priority(store, found.id, arguments.priority or 0)
    problem = queue_problem(store)
    if problem:
        print(plain(problem), file=sys.stderr)
    else:
        ensure_supervisor(store)
    entries = queue_view(store)
    supervisor = supervisor_state(store)
    if supervisor.problem and not problem:
        print(f"{supervisor.name.removeprefix('the ')}: {plain(supervisor.problem)}", file=sys.stderr)
    rows = [{**row(entry), "supervisor_problem": supervisor.problem} for entry in entries]
    answer(arguments, rows, lambda: listed(entries))
    return 0


def listed(entries: Sequence[QueueEntry]) -> str:
    """The queue as a table."""
    if not entries:
        return "No run is training or waiting."
    lines = [
        (
            entry.place or "-",
            entry.run.id,
            entry.state,
            entry.run.info.name or "-",
            entry.owner,
            entry.priority,
            "; ".join(
                filter(
                    None,
                    [
                        entry.waits_for or entry.device,
                        entry.made_room,
                        standing_in_words(entry.standing, entry.owner, current_user()),
                    ],
                )
            ),
            "now" if not entry.place else f"in {duration(entry.expected_start_s)}".replace("in -", "-"),
        )
        for entry in entries
    ]
    return table(["place", "run", "state", "name", "owner", "priority", "where, or waits for", "starts"], lines)


def row(entry: QueueEntry) -> dict[str, Any]:
    """One element of `queue --json`."""
    return {
        "id": entry.run.id,
        "name": entry.run.info.name,
        "kind": entry.run.info.kind,
        "state": entry.state,
        "place": entry.place,
        "priority": entry.priority,
        "owner": entry.owner,
        "device": entry.device,
        "slots": list(entry.slots),
        "waits_for": entry.waits_for,
        "expected_start_s": entry.expected_start_s,
        "expected_end_s": entry.expected_end_s,
        "started_at": entry.started_at,
        "made_room": entry.made_room,
        "share_of_week": None if entry.standing is None else entry.standing.share,
        "behind_others": 0 if entry.standing is None else entry.standing.behind,
    }
