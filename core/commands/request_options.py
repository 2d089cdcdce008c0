"""Options of every command that queues runs: when and how they may run. See `core.jobs.request`."""

from __future__ import annotations

import argparse
from typing import Any

from core.errors import UsageError
from core.jobs.request import MOST_PROCESSES, moment_in, seconds_in


def add_request_options(parser: argparse.ArgumentParser) -> None:
    """The options; `request_of` reads them."""
    group = parser.add_argument_group("when and how it may run")
    group.add_argument(
        "--time-limit",
        metavar="TIME",
        help="save and end after this long from each start, e.g. 2h or 90m (default: none)",
    )
    group.add_argument(
        "--requeue",
        action=argparse.BooleanOptionalAction,
        help="at the time limit, queue it again instead (default: no)",
    )
    group.add_argument(
        "--start-at", metavar="WHEN", help="do not start before 22:00, '2026-12-24 08:30' or +2h (default: now)"
    )
    interrupt = group.add_mutually_exclusive_group()
    interrupt.add_argument(
        "--preemptible",
        action="store_true",
        default=None,
        help="it may be saved and queued again for others (default: site.preemptible)",
    )
    interrupt.add_argument(
        "--not-preemptible", dest="preemptible", action="store_false", default=None, help="it is never interrupted"
    )
    group.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="processes that share each batch of a training: one per GPU, or several on a CPU; 0 = automatic "
        "(default: machine.num_processes)",
    )
    for name, words in (("partition", "partition"), ("account", "account"), ("qos", "quality of service")):
        group.add_argument(f"--{name}", metavar="NAME", help=f"Slurm {words} (default: site.slurm.{name})")
    group.add_argument(
        "--directive", action="append", metavar="OPTION", help="one more option of sbatch, e.g. =--mem=32G. Repeatable."
    )


def request_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields that were named. Raises UsageError for a text that is no time, and a number out of range."""
    found: dict[str, Any] = {
        "requeue": arguments.requeue,
        "preemptible": arguments.preemptible,
        "num_processes": arguments.processes,
        "partition": arguments.partition,
        "account": arguments.account,
        "qos": arguments.qos,
        "directives": arguments.directive,
    }
    if arguments.processes is not None and not 0 <= arguments.processes <= MOST_PROCESSES:
        raise UsageError(f"--processes: must be 0 to {MOST_PROCESSES}, got {arguments.processes}")
    if arguments.time_limit is not None:
        found["time_limit_s"] = seconds_in(arguments.time_limit)
    if arguments.start_at is not None:
        found["start_at"] = moment_in(arguments.start_at)
    return {name: value for name, value in found.items() if value is not None}
