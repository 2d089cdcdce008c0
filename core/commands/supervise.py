"""`supervise`: start and end what is queued, in the foreground; for a service manager that keeps it alive."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.command_help import add_command
from core.commands.options import store_of
from core.errors import UsageError
from core.jobs.engines.choose import elsewhere_of


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

    store = store_of(arguments)
    if elsewhere_of(store):
        raise UsageError("supervise: Slurm starts the runs of this folder, so there is nothing to supervise")
    return main(["--runs", str(store.root)])
