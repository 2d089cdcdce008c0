"""`show RUN [--json]`: everything about one run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.tables import plain, table
from core.config.load import differences
from core.config.schema import Settings
from core.jobs.engines.choose import observed_status
from core.runs.listing import run_details
from core.runs.notes import Notes, read_notes
from core.runs.run import Run, Status
from core.words import ago, duration, size


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "show",
        "Show one run: state, last values, checkpoints and changed settings.",
        ("show RUN", "show RUN --json"),
    )
    parser.add_argument("run", metavar="RUN", help="the run's id, a unique beginning or end of it, or its name")


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    found = store_of(arguments).get(arguments.run)
    status = observed_status(found)
    details = run_details(found, status)
    notes = read_notes(found)
    about = {"notes": notes.notes, "tags": notes.tags, "favourite_of": notes.favourite_of}
    answer(arguments, {**details, **about}, lambda: in_full(found, status, details, notes))
    return 0


def in_full(found: Run, status: Status, details: Mapping[str, Any], notes: Notes) -> str:
    """What is known of a run, for people."""
    info = found.info
    speed = f"{status.images_per_s:,.0f} images/s" if status.images_per_s else "-"
    facts = [
        ("run", found.id),
        ("name", details["name"] or "-"),
        ("kind", details["kind"]),
        ("state", details["state"] + (f": {status.reason}" if status.reason else "")),
        *([("problem", details["problem"])] if details["problem"] else []),
        ("stage", status.stage or "-"),
        ("step", f"{status.step:,} of {status.steps_total:,}"),
        ("speed", f"{speed}, {duration(status.eta_s)} left" if status.state.is_active else speed),
        ("trained for", duration(status.elapsed_s)),
        ("device", status.device or "-"),
        ("dataset", details["dataset"].get("name", "-")),
        ("preset", details["preset"] or "-"),
        ("parents", ", ".join(details["parents"]) or "-"),
        ("branched from", f"{info.branched_from} at step {info.branched_step:,}" if info.branched_from else "-"),
        ("owner", details["owner"]),
        ("tags", ", ".join(notes.tags) or "-"),
        ("created", f"{ago(details['created_at'])} ({details['created_at']})"),
        ("revision", details["revision"] or "-"),
        ("folder", details["folder"]),
    ]
    width = max(len(label) for label, _ in facts)
    parts = ["\n".join(f"{label.ljust(width)}  {plain(value)}" for label, value in facts)]
    if notes.notes:
        parts.append("Notes\n" + "\n".join(plain(line) for line in notes.notes.splitlines()))
    if details["metrics"]:
        parts.append("Last values\n" + table(["metric", "value"], [list(each) for each in details["metrics"].items()]))
    if details["checkpoints"]:
        rows = [[item["step"], size(item["size_bytes"])] for item in details["checkpoints"]]
        parts.append("Checkpoints\n" + table(["step", "size"], rows))
    changed = [[name, new, old] for name, old, new in differences(Settings(), found.shown_settings)]
    if changed:
        parts.append("Settings that differ from the defaults\n" + table(["setting", "value", "default"], changed))
    return "\n\n".join(parts)
