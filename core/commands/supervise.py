"""`supervise`: start and end what is queued, in the foreground; for a service manager that keeps it alive."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.command_help import add_command
from core.commands.options import store_of


def add_parser(commands: Any) -> None:
    """Its options."""
    add_command(
        commands,
        "supervise",
        "Serve the queue in the foreground, for a service manager.",
        ("supervise", "supervise --set site.runs=runs"),
    )


def run(arguments: argparse.Namespace) -> int:
    """Supervise until told to stop; ends at once when another one does."""
    from core.jobs.supervisor import main

    return main(["--runs", str(store_of(arguments).root)])
