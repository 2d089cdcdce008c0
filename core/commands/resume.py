"""`resume RUN`: go on from the last good checkpoint."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import chosen_settings, store_of
from core.commands.ownership import add_yes_option, confirm_owner
from core.commands.request_options import add_request_options, request_of
from core.commands.train import ends_of, finish_launch
from core.errors import UsageError
from core.home import PROGRAM
from core.jobs.service import resume_run


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "resume",
        "Resume a paused, stopped, failed or interrupted run from its last good checkpoint.",
        ("resume RUN", "resume RUN --detach"),
    )
    parser.add_argument("run", metavar="RUN", help="the run's id, a unique beginning or end of it, or its name")
    parser.add_argument("--detach", action="store_true", help="queue it and return instead of watching it")
    add_request_options(parser)
    add_yes_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the ids of the runs that go on, then watch them.

    Raises UsageError for a setting that is not of the site: a run's settings never change.
    """
    changed = list(chosen_settings(arguments))
    if changed or arguments.preset:
        raise UsageError(
            f"resume: a run continues with its own settings, got {changed[0] if changed else '--preset'}",
            f"to change settings, branch the run: {PROGRAM} branch {arguments.run}",
        )
    store = store_of(arguments)
    found = store.get(arguments.run)
    confirm_owner(found, "resume", yes=arguments.yes)
    runs = resume_run(store, found.id, request=request_of(arguments))
    code = finish_launch(arguments, store, runs, detach=arguments.detach)
    answer(arguments, ends_of(runs))
    return code
