"""`show RUN [--json]`: everything about one run."""

from __future__ import annotations

import argparse
import json
from typing import Any

from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.tables import plain, table
from core.config.load import differences
from core.config.schema import Settings
from core.jobs.engines.choose import observed_status
from core.runs.listing import run_details
from core.runs.notes import read_notes
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
    parser.add_argument("--json", action="store_true", help="print JSON, with all settings")


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    found = store_of(arguments).get(arguments.run)
    status = observed_status(found)
    details = run_details(found, status)
    if arguments.json:
        notes = read_notes(found)
        about = {"notes": notes.notes, "tags": notes.tags, "favourite_of": notes.favourite_of}
        print(json.dumps({**details, **about}, indent=1))
        return 0
    info, notes = found.info, read_notes(found)
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
    print("\n".join(f"{label.ljust(width)}  {plain(value)}" for label, value in facts))
    if notes.notes:
        print("\nNotes\n" + "\n".join(plain(line) for line in notes.notes.splitlines()))
    if details["metrics"]:
        print(
            "\nLast values\n" + table(["metric", "value"], [[key, value] for key, value in details["metrics"].items()])
        )
    if details["checkpoints"]:
        rows = [[item["step"], size(item["size_bytes"])] for item in details["checkpoints"]]
        print("\nCheckpoints\n" + table(["step", "size"], rows))
    changed = [[name, new, old] for name, old, new in differences(Settings(), found.shown_settings)]
    if changed:
        print("\nSettings that differ from the defaults\n" + table(["setting", "value", "default"], changed))
    return 0
