"""`report RUN… --out FILE.html`: everything about runs in one file that needs no network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core import atomic
from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import find_run, store_of
from core.commands.progress import progress_bar
from core.commands.sample_files import check_free
from core.errors import UsageError, quoted
from core.handround.report import report_html
from core.words import size


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "report",
        "Write everything about runs into one HTML file that opens without a network.",
        ("report RUN --out report.html", "report RUN RUN --out two-runs.html --with-owner"),
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="VAE or U-Net runs: id, name or path of the folder")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="the file to write: .html")
    parser.add_argument("--with-owner", action="store_true", help="name the owners of the runs")
    parser.add_argument("--overwrite", action="store_true", help="replace the file where it exists")


def run(arguments: argparse.Namespace) -> int:
    """Write the file and print its path."""
    out: Path = arguments.out
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {quoted(out.name)}: a report is an HTML file", "name it report.html")
    check_free(out, "--out", overwrite=arguments.overwrite)
    runs = [find_run(arguments, text) for text in arguments.runs]
    with progress_bar("reading") as show:
        page = report_html(store_of(arguments), runs, with_owner=arguments.with_owner, progress=show)
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(out, page)
    facts = {"path": str(out), "runs": [each.id for each in runs], "size_bytes": len(page)}
    answer(arguments, facts, f"{out} ({size(len(page))})")
    return 0
