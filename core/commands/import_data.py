"""`import-data PATH --name NAME`: keep a folder, a zip or an npz as a data set that everybody here can train on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from core.commands.tables import plain
from core.data.importing.import_set import COLORS, import_set
from core.limited_child import Measured
from core.words import size


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("import-data", help="keep a folder, a zip or an npz of pictures as a data set")
    parser.add_argument(
        "source", type=Path, metavar="PATH", help="folder with one directory a class, .zip of one, or .npz"
    )
    parser.add_argument("--name", required=True, help="as data.name will say it: small letters, digits, - and _")
    parser.add_argument("--title", default="", metavar="TEXT", help="for people; default: the name")
    parser.add_argument("--licence", default="", metavar="TEXT", help="what may be done with the pictures")
    parser.add_argument(
        "--color", choices=COLORS, default="native", help="native refuses a mixture of grey and coloured pictures"
    )


def run(arguments: argparse.Namespace) -> int:
    """Import it and say what there is now."""
    took: list[Measured] = []
    shows = sys.stderr.isatty()

    def progress(fraction: float) -> None:
        if shows:
            print(f"\rreading {fraction:4.0%}", end="", file=sys.stderr, flush=True)

    try:
        found = import_set(
            arguments.source,
            name=arguments.name,
            title=arguments.title,
            licence=arguments.licence,
            color=arguments.color,
            progress=progress,
            measured=took.append,
        )
    finally:
        if shows and took:
            print("\r            \r", end="", file=sys.stderr)
    held = f"{found.heldout_count:,} of its own test split" if found.heldout_count else "no test split of its own"
    print(
        f"{found.name}: {found.train_count:,} pictures of {len(found.class_names)} classes, {held}, "
        f"{'colour' if found.channels == 3 else 'grey'}; other files left out: {found.left_out}"
    )
    print(f"read in {took[-1].seconds:.1f} s with {size(took[-1].peak_bytes)}; kept in {plain(found.folder)}")
    print(f"train on it: python -m core train all --set data.name={found.name}")
    return 0
