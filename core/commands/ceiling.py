"""`ceiling RUN [--samples N] [--json]`: what real pictures are worth after the VAE alone."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import check_has_begun, find_run, settings_of_run, site_of
from core.commands.progress import progress_bar
from core.commands.tables import table
from core.evaluation.ceiling_results import CEILINGS, ceiling_rows, check_count, in_words, subject_of


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "ceiling",
        "Measure how well the VAE alone reproduces real images, which limits every U-Net on it.",
        ("ceiling RUN", "ceiling RUN --samples 1000 --json"),
    )
    parser.add_argument("run", metavar="RUN", help="a VAE or U-Net run: id, name or path of its folder")
    parser.add_argument(
        "--checkpoint", "--step", type=int, metavar="STEP", help="the checkpoint of that step (default: the newest)"
    )
    parser.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="held-out images, at most all of them (default: as many as an evaluation of the run generates)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table; the ceiling is stored in the run."""
    if arguments.samples is not None:
        check_count(arguments.samples)
    source = find_run(arguments, arguments.run)
    subject_of(source, arguments.checkpoint)
    check_has_begun(source)
    settings = settings_of_run(arguments, source, ("evaluation", "machine"))

    from core.data.arrays import prepare
    from core.device import resolve_device, take_free_cores
    from core.evaluation.vae_ceiling import vae_ceiling

    site = site_of(arguments)
    take_free_cores(settings.machine.num_threads)
    with progress_bar("reading the dataset") as show:
        image_set = prepare(source.settings.data, data_dir=site.data, cache_dir=site.cache, rules=source.rules)
        found = vae_ceiling(
            source,
            image_set,
            num_pictures=arguments.samples or settings.evaluation.num_samples,
            evaluation=settings.evaluation,
            cache_dir=site.cache,
            device=resolve_device(settings.machine.device),
            step=arguments.checkpoint,
            progress=show,
        )
    answer(
        arguments,
        CEILINGS.as_json(found),
        lambda: f"{table(['metric', 'value', 'note'], ceiling_rows(found))}\n\n{in_words(found)}",
    )
    return 0
