"""`wait RUN ...`: block until runs have ended; the exit code says how."""

from __future__ import annotations

import argparse
import time
from typing import Any

from core.commands.answer import answer, say
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.train import end_of
from core.jobs.engines.choose import observed_status
from core.jobs.exit_reason import in_words
from core.runs.run import RunState

LOOK_EVERY_S = 0.5


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "wait",
        "Wait until runs have ended; exit 0 when all finished, 130 when one was stopped, 1 when one failed.",
        ("wait RUN", "wait RUN RUN --json"),
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="ids, unique beginnings or ends of them, or names; a paused run waits on"
    )


def run(arguments: argparse.Namespace) -> int:
    """Wait for one after the other and print how each ended."""
    store = store_of(arguments)
    runs = [store.get(text) for text in arguments.runs]
    ended = []
    for each in runs:
        while (status := observed_status(each)).state.is_active:
            time.sleep(LOOK_EVERY_S)
        ended.append((each, status))
        say(arguments, f"{each.id} is {in_words(status)}")
    answer(arguments, [end_of(each, status) for each, status in ended])
    states = {status.state for _, status in ended}
    if states == {RunState.FINISHED}:
        return 0
    return 130 if states <= {RunState.FINISHED, RunState.STOPPED} else 1
