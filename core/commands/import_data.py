"""`import-data PATH --name NAME`: keep images or arrays as a data set that everybody here can train on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.commands.answer import answer, say
from core.commands.command_help import add_command
from core.commands.progress import progress_bar
from core.commands.set_options import add_set_options
from core.commands.tables import plain
from core.config.schema import one_spelling
from core.data.importing.import_set import COLORS, import_set
from core.data.imports import Imported
from core.data.reader.reading_of_set import Reading, answered, reading_lines
from core.home import PROGRAM
from core.limited_child import Measured
from core.words import size

MOST_CLASSES = 20  # that are named with their counts


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "import-data",
        "Import a folder, a zip or a file of arrays as a dataset for everyone on this server.",
        (
            "import-data pictures/flowers.zip --name flowers",
            "import-data pictures/flowers --name flowers --title Flowers --license CC0",
        ),
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="PATH",
        help="a folder or .zip of images, or arrays: .npz, Parquet, IDX, a CSV of pixels",
    )
    parser.add_argument("--name", required=True, help="the name in data.name: small letters, digits, - and _")
    parser.add_argument("--title", default="", metavar="TEXT", help="the title that people see (default: the name)")
    parser.add_argument(
        "--license",
        "--licence",
        default="",
        metavar="TEXT",
        help="what may be done with the images (default: not stated)",
    )
    parser.add_argument(
        "--color",
        type=one_spelling,
        choices=COLORS,
        default="native",
        help="native refuses a mixture of gray and color images",
    )
    add_set_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Import it and say what there is now."""
    took: list[Measured] = []
    with progress_bar("reading") as show:
        found = import_set(
            arguments.source,
            name=arguments.name,
            title=arguments.title,
            licence=arguments.license,
            color=arguments.color,
            answers=answered(arguments),
            progress=lambda fraction: show("reading", fraction),
            measured=took.append,
            shown=lambda reading: say(arguments, reading_words(reading)),
        )
    held = f"{found.heldout_count:,} of its own test split" if found.heldout_count else "no test split of its own"
    words = (
        f"{found.name}: {found.train_count:,} images of {len(found.class_names)} classes, {held}, "
        f"{'color' if found.channels == 3 else 'gray'}; other files left out: {found.left_out}",
        f"read in {took[-1].seconds:.1f} s with {size(took[-1].peak_bytes)}; stored in {plain(found.folder)}",
        f"train on it: {PROGRAM} train all --set data.name={found.name}",
    )
    answer(arguments, facts(found), "\n".join(words))
    return 0


def reading_words(found: Reading) -> str:
    """What the source was taken for, class by class."""
    lines = [f"{what:<9} {plain(words)}" for what, words in reading_lines(found)]
    counts = list(zip(found.class_names, found.counts_train, strict=True))
    named = ", ".join(f"{plain(name)} {number:,}" for name, number in counts[:MOST_CLASSES])
    rest = f" and {len(counts) - MOST_CLASSES:,} more" if len(counts) > MOST_CLASSES else ""
    return "\n".join([*lines, f"{'images':<9} {named}{rest}"])


def facts(found: Imported) -> dict[str, Any]:
    """`import-data --json`."""
    return {
        "name": found.name,
        "title": found.title,
        "license": found.licence,
        "class_names": list(found.class_names),
        "channels": found.channels,
        "train_count": found.train_count,
        "heldout_count": found.heldout_count,
        "left_out": found.left_out,
        "left_out_kinds": dict(found.left_out_kinds),
        "reading": found.reading.written() if found.reading else None,
        "path": str(found.folder),
    }
