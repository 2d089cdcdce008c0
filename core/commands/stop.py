"""`stop RUN`: save and stop; killed after `machine.stop_grace_s`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.ownership import add_yes_option, confirm_owner
from core.commands.train import end_of
from core.jobs.engines.choose import observed_status
from core.jobs.exit_reason import in_words
from core.jobs.service import stop_run
from core.jobs.sweeps import stop_sweep
from core.runs.groups import SWEEP, runs_of_sweep
from core.runs.run import RunState
from core.words import counted


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(commands, "stop", "Save a run and stop it.", ("stop RUN", "stop RUN --force"))
    parser.add_argument(
        "run",
        metavar="RUN",
        help="the run's id, a unique beginning or end of it, or its name; or sweep:ID",
    )
    parser.add_argument("--force", action="store_true", help="kill it now, without saving")
    add_yes_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stop it and wait until it has."""
    store = store_of(arguments)
    if arguments.run.startswith(SWEEP):
        for each in runs_of_sweep(store, arguments.run):
            confirm_owner(each, "stop", yes=arguments.yes)
        asked = stop_sweep(store, arguments.run)
        words = f"{counted(len(asked), 'run')} asked to save and stop"
        answer(arguments, [end_of(each, observed_status(each)) for each in asked], words)
        return 0
    found = store.get(arguments.run)
    confirm_owner(found, "stop", yes=arguments.yes)

    def tell(stage: str) -> None:
        print(f"{found.id}: {stage}", file=sys.stderr)

    status = stop_run(store, found.id, force=arguments.force, on_stage=tell)
    answer(arguments, end_of(found, status), f"{found.id} is {in_words(status)}")
    return 0 if status.state in (RunState.STOPPED, RunState.FINISHED) else 1
