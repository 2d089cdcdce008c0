"""`tune RUN`: guidance and its interval found by a search, as a job."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import settings_of_run, store_of
from core.commands.request_options import request_of
from core.commands.tables import table
from core.commands.train import add_launch_options, end_of, finish_launch
from core.comparison.tuning import IMAGES, TUNINGS, as_settings, in_words, rows_of, tuning_path
from core.home import PROGRAM
from core.jobs.engines.choose import observed_status
from core.jobs.tuning_job import start_tuning
from core.runs.store import RunStore


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "tune",
        "Search guidance scale and interval that lower FD-judge without losing recall.",
        ("tune RUN", "tune RUN --set sampling.num_inference_steps=20 --detach"),
    )
    parser.add_argument("run", metavar="RUN", help="a U-Net run: id, unique beginning or end of it, or name")
    parser.add_argument(
        "--samples",
        type=int,
        default=IMAGES,
        metavar="N",
        help=f"images per candidate in the second stage (default: {IMAGES})",
    )
    add_launch_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Queue the search, watch it, and print what it found."""
    store = store_of(arguments)
    unet_run = store.get(arguments.run)
    settings = settings_of_run(arguments, unet_run, ("sampling", "evaluation", "machine"))
    job = start_tuning(
        store,
        unet_run,
        settings=settings,
        images=arguments.samples,
        name=arguments.name,
        priority=arguments.priority,
        request=request_of(arguments),
    )
    code = finish_launch(arguments, RunStore(job.folder.parent), [job], detach=arguments.detach)
    found = None if arguments.detach else TUNINGS.find(tuning_path(unet_run, job.id))
    if found is None:
        answer(arguments, end_of(job, observed_status(job)))
        return code

    def words() -> str:
        parts = [table(["", "the run's own", "found"], rows_of(found)), in_words(found)]
        if found.is_new:
            use = " ".join(f"--set '{each}'" for each in as_settings(found))
            parts.append(f"use it: {PROGRAM} sample {unet_run.id} {use}")
        return "\n".join(parts)

    answer(arguments, {**TUNINGS.as_json(found), "set": as_settings(found) if found.is_new else []}, words)
    return code
