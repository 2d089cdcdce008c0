"""`data [NAME|PATH]`: what data sets there are, or what one holds."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import read_settings, site_of
from core.commands.progress import progress_bar
from core.commands.set_options import add_set_options
from core.commands.tables import plain, table
from core.config.schema import DataSettings, Settings
from core.config.site import SiteSettings
from core.data import catalog
from core.data.reader.names import NPZ
from core.data.reader.reading_of_set import answered, reading_lines
from core.errors import DataUnavailable, LabError, UsageError
from core.typed_paths import FOLDER, kind_of
from core.words import size

if TYPE_CHECKING:
    from core.data.overview import Overview

LINE_EVERY_S = 0.1


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(commands, "data", "List the datasets, or show what one holds.", ("data", "data digits --json"))
    parser.add_argument(
        "what",
        nargs="?",
        metavar="NAME|PATH",
        help="a dataset, a folder or zip of images, or an .npz file (default: list all datasets)",
    )
    add_set_options(parser)
    parser.add_argument("--download", action="store_true", help="download it first where it is missing")
    parser.add_argument("--progress", action="store_true", help="print progress as lines on stderr: words, tab, 0 to 1")


def run(arguments: argparse.Namespace) -> int:
    """Print the list, or one set."""
    settings, site = read_settings(arguments), site_of(arguments)
    if not arguments.what:
        rows = [row(name, site.data) for name in catalog.names()]
        answer(arguments, rows, lambda: listed(rows))
        return 0
    data = chosen(arguments.what, settings, download=arguments.download)
    said = answered(arguments).given() if catalog.entry(data.name).needs_path else {}
    found = described(DataSettings.model_validate({**data.model_dump(), **said}), site, arguments.progress)
    answer(arguments, facts(found), lambda: told(found))
    return 0


def chosen(what: str, settings: Settings, *, download: bool = False) -> DataSettings:
    """The data settings with this name, folder or file. A name of the catalog wins over a folder of that name."""
    if what in catalog.names():
        changes: dict[str, Any] = {"name": what}
    elif os.path.lexists(what):
        path = Path(what).absolute()
        is_npz = kind_of(path, refused=UsageError) != FOLDER and path.suffix.lower() in NPZ
        changes = {"name": "npz" if is_npz else "image_folder", "path": str(path)}
    else:
        catalog.entry(what)
        raise AssertionError("an unknown name was accepted")
    return settings.data.model_copy(update={**changes, "download": download})


def described(data: DataSettings, site: SiteSettings, as_lines: bool = False) -> Overview:
    """Its overview, with progress on a terminal, or as lines for a program."""
    from core.data.overview import describe

    if not as_lines:
        with progress_bar("reading the dataset") as show:
            return describe(data, data_dir=site.data, cache_dir=site.cache, progress=show)
    told_at = 0.0

    def progress(stage: str, fraction: float) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > LINE_EVERY_S:
            told_at = time.monotonic()
            print(f"{stage}\t{fraction:.3f}", file=sys.stderr, flush=True)

    return describe(data, data_dir=site.data, cache_dir=site.cache, progress=progress)


def row(name: str, data_dir: Path) -> dict[str, Any]:
    """One element of `data --json`."""
    try:
        found = catalog.entry(name)
    except DataUnavailable as error:
        return {"name": name, "title": name, "state": "damaged", "problem": str(error)}
    try:
        state = "yours" if found.needs_path else "here" if catalog.is_present(name, data_dir) else "absent"
    except LabError:
        state = "damaged"
    return {
        "name": name,
        "title": found.title,
        "state": state,
        "classes": found.classes,
        "channels": found.channels,
        "train_count": found.train_count,
        "test_count": found.test_count or None,
        "download_bytes": found.download_bytes,
        "licence": found.licence,
        "source": found.source,
        "imported_by": found.imported.imported_by if found.imported else None,
        "imported_at": found.imported.imported_at if found.imported else None,
    }


def listed(rows: list[dict[str, Any]]) -> str:
    """The list as a table."""
    lines = []
    for each in rows:
        state = each["state"]
        if state == "absent" and each["download_bytes"]:
            state = f"absent, {size(each['download_bytes'])} to fetch"
        elif each.get("imported_by"):
            state = f"here, imported by {each['imported_by']}"
        pictures = f"{each['train_count']:,}" if each.get("train_count") else "-"
        lines.append((each["name"], state, pictures, each.get("classes") or "-", each["title"]))
    return table(["name", "", "images", "classes", "title"], lines)


def facts(found: Overview) -> dict[str, Any]:
    """`data NAME --json`."""
    copies = found.duplicates
    return {
        "name": found.name,
        "title": found.title,
        "reading": found.reading.written() if found.reading else None,
        "class_names": list(found.class_names),
        "channels": found.channels,
        "has_own_heldout": found.has_own_heldout,
        "counts_train": found.counts_train.tolist(),
        "counts_heldout": found.counts_heldout.tolist(),
        "sizes": [{"height": h, "width": w, "count": n} for h, w, n in found.sizes.tolist()],
        "mean": found.mean.tolist(),
        "deviation": found.deviation.tolist(),
        "duplicates": {
            "within_train": copies.within_train,
            "within_heldout": copies.within_heldout,
            "across": copies.across,
            "conflicts": copies.conflicts,
            "near_train": copies.near_train,
            "near_across": copies.near_across,
            "searched": copies.searched,
        },
    }


def told(found: Overview) -> str:
    """One set in words and tables."""
    total = int(found.counts_train.sum())
    held = "its own test split" if found.has_own_heldout else "held out of each class"
    copies = found.duplicates
    height, width, most = found.sizes[0]
    sizes = f"{height} x {width}" if len(found.sizes) == 1 else f"{len(found.sizes):,}, most often {height} x {width}"
    counts = zip(found.class_names, found.counts_train.tolist(), found.counts_heldout.tolist(), strict=True)
    lines = [
        ("title", found.title),
        (
            "images",
            f"{total:,} to train on, of which {found.num_validation:,} validate, "
            f"{int(found.counts_heldout.sum()):,} held out ({held})",
        ),
        ("sizes", f"{sizes} ({most:,} images), {'color' if found.channels == 3 else 'gray'}"),
        (
            "values",
            f"mean {' '.join(f'{m:.1f}' for m in found.mean)}, "
            f"deviation {' '.join(f'{d:.1f}' for d in found.deviation)} of 255",
        ),
        (
            "copies",
            f"{copies.within_train:,} in train, {copies.within_heldout:,} in held-out, "
            f"{copies.across:,} held-out ones are in train, {copies.conflicts:,} under two labels",
        ),
        (
            "near copies",
            f"{copies.near_train:,} in train, {copies.near_across:,} held-out ones near one in train; "
            f"{copies.searched:,} images compared",
        ),
    ]
    if found.reading:
        lines += [(f"read: {what}" if what != "note" else what, words) for what, words in reading_lines(found.reading)]
    words = "\n".join(f"{name:<15} {plain(value)}" for name, value in lines)
    return f"{words}\n\n{table(['class', 'train', 'held-out'], [list(each) for each in counts])}"
