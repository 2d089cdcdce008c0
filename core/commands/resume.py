"""`resume RUN`: go on from the last good checkpoint."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.options import add_settings_options, store_of
from core.commands.train import finish_launch
from core.jobs.service import resume_run


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("resume", help="go on with a stopped, failed or interrupted run")
    parser.add_argument("run", metavar="RUN", help="id, unique beginning or end of it, or name")
    parser.add_argument("--detach", action="store_true", help="train in a process of its own and return")
    add_settings_options(parser)
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the ids of the runs that go on, then train."""
    store = store_of(arguments)
    runs = resume_run(store, arguments.run, detach=arguments.detach)
    return finish_launch(store, runs, detach=arguments.detach)
