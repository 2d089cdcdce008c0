"""`timestep-loss RUN`: held-out loss of a U-Net against t, with fixed pictures and noise."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import add_checkpoint_options, find_unet_run, settings_of_run, site_of
from core.commands.progress import progress_bar
from core.commands.tables import table
from core.evaluation.timestep_loss_results import LOSSES, TimestepLoss, check_counts, in_words


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "timestep-loss",
        "Measure the held-out loss of a U-Net at each timestep.",
        ("timestep-loss RUN", "timestep-loss RUN --samples 256 --points 10 --json"),
    )
    parser.add_argument("run", metavar="RUN", help="a U-Net run: id, name or path of its folder")
    add_checkpoint_options(parser, "--step")
    parser.add_argument("--samples", "--pictures", type=int, default=512, metavar="N", help="held-out images")
    parser.add_argument("--points", type=int, default=25, metavar="K", help="timesteps, 5 to 100")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; the measurement is stored in the run."""
    check_counts(arguments.samples, arguments.points)
    source = find_unet_run(arguments, arguments.run)
    settings = settings_of_run(arguments, source, ("machine",))

    from core.data.arrays import prepare
    from core.device import take_free_cores
    from core.evaluation.timestep_loss import timestep_loss
    from core.sampling.load import load_model

    site = site_of(arguments)
    with progress_bar("loading the model") as show:
        model = load_model(source, device=settings.machine.device, weights=arguments.weights, step=arguments.checkpoint)
        take_free_cores(settings.machine.num_threads)
        show("reading the dataset", 0.0)
        image_set = prepare(source.settings.data, data_dir=site.data, cache_dir=site.cache, rules=source.rules)
        found = timestep_loss(
            source,
            model,
            image_set,
            weights=arguments.weights,
            num_pictures=arguments.samples,
            num_points=arguments.points,
            progress=show,
        )
    answer(arguments, LOSSES.as_json(found), lambda: in_full(found))
    return 0


def in_full(found: TimestepLoss) -> str:
    """A row a timestep, and what it says."""
    rows = [
        (
            f"{t:,}",
            f"{found.alpha_bar[index]:.4f}",
            f"{found.target[index]:.4f} ± {2 * found.target_error[index]:.4f}",
            f"{found.epsilon[index]:.4g}",
            f"{found.original[index]:.4g}",
            f"{found.linear[index]:.4g}",
        )
        for index, t in enumerate(found.t)
    ]
    heading = ["t", "alpha_bar", f"{found.prediction_type} ± 2 s.e.", "noise", "clean latents", "best linear guess"]
    weights = "averaged weights" if found.weights == "ema" else "last weights"
    return "\n".join(
        [
            table(heading, rows),
            "",
            f"mean squared errors over {found.num_pictures:,} held-out images; step {found.step:,}, {weights}; "
            f"the best linear guess is of the clean latents, whose variance is {found.variance:.4f}",
            in_words(found),
        ]
    )
