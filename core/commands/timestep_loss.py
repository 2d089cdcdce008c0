"""`timestep-loss RUN`: held-out loss of a U-Net against t, with fixed pictures and noise."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from core.commands.options import add_settings_options
from core.commands.sources import class_names_of, find_source
from core.commands.tables import table
from core.jobs.worker import place


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("timestep-loss", help="held-out loss at each timestep: where the network works hard")
    parser.add_argument("run", metavar="RUN", help="a U-Net run: id or name, or the path of a run folder")
    parser.add_argument("--step", type=int, metavar="S", help="the checkpoint of that step (default: the newest)")
    parser.add_argument("--pictures", type=int, default=512, metavar="N", help="held-out pictures (default 512)")
    parser.add_argument("--points", type=int, default=25, metavar="P", help="timesteps (default 25)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_settings_options(parser)
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table; the measurement is kept in the run."""
    source = find_source(arguments, arguments.run)
    class_names_of(source)

    from core.data.arrays import prepare
    from core.evaluation.timestep_loss import check_counts, timestep_loss
    from core.sampling.load import load_model

    check_counts(arguments.pictures, arguments.points)
    model = load_model(source, device=source.settings.machine.device, step=arguments.step)
    image_set = prepare(source.settings.data, data_dir=place(source, "data"), cache_dir=place(source, "cache"))

    def show(text: str, fraction: float) -> None:
        print(f"\r{text}, {fraction:.0%}", end="" if fraction < 1 else "\n", file=sys.stderr, flush=True)

    found = timestep_loss(
        source,
        model,
        image_set,
        num_pictures=arguments.pictures,
        num_points=arguments.points,
        progress=show if sys.stderr.isatty() else None,
    )
    if arguments.json:
        print(json.dumps(asdict(found), indent=1))
        return 0
    rows = [
        (
            f"{t:,}",
            f"{found.alpha_bar[place]:.4f}",
            f"{found.target[place]:.4f} ± {2 * found.target_error[place]:.4f}",
            f"{found.epsilon[place]:.4f}",
            f"{found.original[place]:.4f}",
            f"{found.linear[place]:.4f}",
        )
        for place, t in enumerate(found.t)
    ]
    head = ["t", "alpha_bar", f"{found.prediction_type} (± 2 s.e.)", "noise", "clean latents", "best linear guess"]
    print(table(head, rows))
    print(f"\nmean squared errors over {found.num_pictures:,} held-out pictures, step {found.step:,}")
    return 0
