"""`supervise`: start and end what is queued, in the foreground; for a service manager that keeps it alive."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.options import store_of


def add_parser(commands: Any) -> None:
    """Its options."""
    commands.add_parser("supervise", help="be the supervisor of the queue (started by itself when needed)")


def run(arguments: argparse.Namespace) -> int:
    """Supervise until told to stop; ends at once when another one does."""
    from core.jobs.supervisor import main

    return main(["--runs", str(store_of(arguments).root)])
