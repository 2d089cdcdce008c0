"""`branch RUN --step N`: go on from a checkpoint with other training settings, as a run of its own."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import chosen_settings, store_of
from core.commands.request_options import add_request_options, request_of
from core.commands.train import ends_of, finish_launch
from core.errors import UsageError
from core.jobs.service import branch_run
from core.runs.branch import branch_in_words


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "branch",
        "Start a new run from a checkpoint, with other training settings.",
        (
            "branch RUN --checkpoint 500 --set train_unet.learning_rate=1e-4",
            "branch RUN --checkpoint 500 --steps 1000 --name 'longer' --detach",
        ),
    )
    parser.add_argument("run", metavar="RUN", help="the run's id, a unique beginning or end of it, or its name")
    parser.add_argument(
        "--checkpoint",
        "--step",
        type=int,
        required=True,
        metavar="STEP",
        help="step of one of its checkpoints; see `show RUN`",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="step at which the branch ends (default: as the run planned; when none are left, half as many again)",
    )
    parser.add_argument("--name", default="", help="a name of your choice (default: none)")
    parser.add_argument("--detach", action="store_true", help="queue it and return instead of watching it")
    add_request_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Say what the branch does, print its id, then watch it. --set changes settings of the origin."""
    if arguments.preset is not None:
        raise UsageError("--preset: a branch starts from the settings of its origin", "change some with --set")
    store = store_of(arguments)
    made = branch_run(
        store,
        arguments.run,
        arguments.checkpoint,
        name=arguments.name,
        overrides=chosen_settings(arguments),
        steps=arguments.steps,
        request=request_of(arguments),
    )
    print(branch_in_words(made), file=sys.stderr)
    code = finish_launch(arguments, store, [made], detach=arguments.detach)
    answer(arguments, ends_of([made]))
    return code
