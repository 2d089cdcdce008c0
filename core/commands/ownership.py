"""Acting on another person's run is asked for first: at a terminal by a question, elsewhere by --yes."""

from __future__ import annotations

import argparse
import sys

from core.commands.tables import plain
from core.errors import UsageError
from core.runs.provenance import current_user
from core.runs.run import Run


def add_yes_option(parser: argparse.ArgumentParser) -> None:
    """--yes."""
    parser.add_argument("--yes", action="store_true", help="do it although the run is another person's")


def confirm_owner(run: Run, verb: str, *, yes: bool) -> None:
    """Return when the run is one's own or the person agrees. Raises UsageError otherwise."""
    owner, me = run.info.owner, current_user()
    if yes or not owner or owner == me:
        return
    words = f"{run.id} belongs to {plain(owner)}, you are {plain(me)}"
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"{words}. {verb.capitalize()} it? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise UsageError(f"{verb}: {words}", "add --yes to do it all the same; it is written in the run's events")
