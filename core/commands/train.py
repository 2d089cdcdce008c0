"""`train vae|unet|all`: create runs, queue them, and watch them. `resume RUN` shares its endings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from core.commands.answer import answer, say
from core.commands.command_help import add_command
from core.commands.options import chosen_settings, read_settings, store_of
from core.commands.request_options import add_request_options, request_of
from core.home import PROGRAM
from core.jobs.engines.choose import observed_status
from core.jobs.exit_reason import in_words
from core.jobs.queue_order import wait_until_taken
from core.jobs.service import inherited_values, start_training
from core.runs.kinds import trained_by
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "train",
        "Train a VAE, a U-Net on a finished VAE, or one after the other.",
        ("train all --preset quick", "train all --preset quick --set data.name=digits --name 'first try' --detach"),
    )
    kinds = [part.name for part in trained_by("all")]
    parser.add_argument("kind", choices=(*kinds, "all"), help="'all' trains a VAE, then its U-Net")
    parser.add_argument("--vae", metavar="RUN", help="the finished VAE run that a U-Net trains on (default: none)")
    add_launch_options(parser)


def add_launch_options(parser: argparse.ArgumentParser) -> None:
    """Of every command that queues runs of its own and watches them: see `finish_launch`."""
    parser.add_argument("--name", default="", help="a name of your choice (default: none; the id is generated)")
    parser.add_argument("--priority", type=int, default=0, metavar="N", help="-10 to 10; higher goes first")
    parser.add_argument("--detach", action="store_true", help="queue it and return instead of watching it")
    add_request_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the run ids, then watch the training."""
    store, inherited = store_of(arguments), None
    if arguments.vae and trained_by(arguments.kind)[0].parent:
        vae_run = store.get(arguments.vae)
        inherited = inherited_values(vae_run) if vae_run.kind.vae == "own" else None
    settings = read_settings(arguments, inherited)
    runs = start_training(
        arguments.kind,
        settings,
        store=store,
        vae_run=arguments.vae,
        name=arguments.name,
        preset=arguments.preset or "",
        explicit=chosen_settings(arguments),
        priority=arguments.priority,
        request=request_of(arguments),
    )
    code = finish_launch(arguments, store, runs, detach=arguments.detach)
    answer(arguments, ends_of(runs))
    return code


def finish_launch(arguments: argparse.Namespace, store: RunStore, runs: Sequence[Run], *, detach: bool) -> int:
    """Print the ids; then return (detached) or watch until the last run has ended. The caller answers --json."""
    for each in runs:
        say(arguments, each.id)
    wait_until_taken(store, runs)
    if detach:
        return 0
    from core.jobs.attach import attach

    result = attach(store, runs)
    unfinished = [each for each in runs if result.states[each.id] is not RunState.FINISHED]
    for each in unfinished:
        print(f"{each.id} is {in_words(each.status())}", file=sys.stderr)
    if unfinished and result.was_interrupted:
        print(f"resume it: {PROGRAM} resume {unfinished[-1].id}", file=sys.stderr)
        return 130
    return 1 if unfinished else 0


def ends_of(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The runs with --json: as of `wait`, id, state and why it is in that state."""
    return [end_of(each, observed_status(each)) for each in runs]


def end_of(run: Run, status: Status) -> dict[str, str]:
    """One element of `ends_of`."""
    return {"id": run.id, "state": str(status.state), "reason": status.reason}
