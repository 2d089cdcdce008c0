"""`film RUN OUT.webp`: an animation of the previews of a run."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from core import atomic
from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import find_run
from core.commands.progress import progress_bar
from core.commands.sample_files import check_free
from core.errors import UsageError
from core.runs.film import HELD, PREDICTED, read_film
from core.runs.film_export import animation, check_suffix

CHOICES = {"current": HELD, "predicted": PREDICTED}
OLD_NAMES = {"held": "current"}


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "film",
        "Render the previews of a run as an animation.",
        ("film RUN film.webp", "film RUN film.gif --axis training --per-class 2"),
    )
    parser.add_argument("run", metavar="RUN", help="a VAE or U-Net run: id, name or path of its folder")
    parser.add_argument("out", metavar="OUT", type=Path, help="the file to write: .webp or .gif")
    parser.add_argument(
        "--axis",
        choices=("both", "training", "denoising"),
        default="both",
        help="play all denoising steps at every training step, or one of the two",
    )
    parser.add_argument(
        "--layer",
        type=lambda text: OLD_NAMES.get(text, text),
        choices=tuple(CHOICES),
        help="of a U-Net: only the current sample or only the predicted x0 (default: both)",
    )
    parser.add_argument("--per-class", type=int, default=1, metavar="N", help="images per class")
    parser.add_argument("--overwrite", action="store_true", help="replace the file where it exists")


def run(arguments: argparse.Namespace) -> int:
    """Write the file and print its path."""
    format = check_suffix(arguments.out)
    check_free(arguments.out, "film", overwrite=arguments.overwrite)
    if arguments.per_class < 1:
        raise UsageError(f"--per-class: expected 1 or more, got {arguments.per_class}")
    source = find_run(arguments, arguments.run)
    film = read_film(source, per_class=arguments.per_class)
    if arguments.layer and not film.denoises:
        raise UsageError(
            f"--layer: {source.id} is a {source.kind.noun}, which has {' and '.join(film.layers)}", "leave it out"
        )
    layers = (CHOICES[arguments.layer],) if arguments.layer else ()
    with progress_bar("rendering") as show:
        told = partial(show, "rendering")
        data = animation(film, axis=arguments.axis, layers=layers, format=format, progress=told)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(arguments.out, data)
    answer(arguments, {"path": str(arguments.out), "run": source.id}, str(arguments.out))
    return 0
