"""`branch RUN --step N`: go on from a checkpoint with other training settings, as a run of its own."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.options import chosen_settings, store_of
from core.commands.train import finish_launch
from core.errors import UsageError
from core.jobs.service import branch_run


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("branch", help="go on from a checkpoint with other settings, as a new run")
    parser.add_argument("run", metavar="RUN", help="id, unique beginning or end of it, or name")
    parser.add_argument("--step", type=int, required=True, help="step of one of its checkpoints; see `show RUN`")
    parser.add_argument("--name", default="", help="a name for people")
    parser.add_argument("--detach", action="store_true", help="queue it and return, instead of watching it")


def run(arguments: argparse.Namespace) -> int:
    """Print the new run's id, then watch it. --set changes settings of the origin."""
    if arguments.preset is not None:
        raise UsageError("--preset: a branch starts from the settings of its origin", "change some with --set")
    store = store_of(arguments)
    made = branch_run(store, arguments.run, arguments.step, name=arguments.name, overrides=chosen_settings(arguments))
    return finish_launch(store, [made], detach=arguments.detach)
