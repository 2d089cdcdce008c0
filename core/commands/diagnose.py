"""`diagnose [RUN] --out FILE.zip`: what a lab or a run says of itself, without secrets and names."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core import atomic
from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.doctor import findings
from core.commands.options import find_run, store_of, usable_site_of
from core.commands.sample_files import check_free
from core.errors import LabError, UsageError, quoted
from core.handround.diagnostic import diagnostic_zip
from core.jobs.queue_view import queue_view
from core.jobs.serving import FOLDER
from core.jobs.start_supervisor import LOG_NAME
from core.machine.snapshot import read_machine
from core.words import size


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "diagnose",
        "Write a zip for whoever helps you, with secrets and names taken out.",
        ("diagnose RUN --out problem.zip", "diagnose --out lab.zip"),
    )
    parser.add_argument("run", metavar="RUN", nargs="?", help="a run: id, name or path (default: the lab alone)")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="the file to write: .zip")
    parser.add_argument("--overwrite", action="store_true", help="replace the file where it exists")


def run(arguments: argparse.Namespace) -> int:
    """Write the zip and print its path."""
    out: Path = arguments.out
    if out.suffix.lower() != ".zip":
        raise UsageError(f"--out {quoted(out.name)}: a diagnostic is a zip", "name it problem.zip")
    check_free(out, "--out", overwrite=arguments.overwrite)
    store, (site, problem) = store_of(arguments), usable_site_of(arguments)
    found = find_run(arguments, arguments.run) if arguments.run else None
    machine = asdict(read_machine(site.runs))
    machine.pop("others")  # what others compute is theirs
    for gpu in machine["gpus"]:
        gpu.pop("processes", None)
    try:
        queue: Any = [
            {
                "run": entry.run.id,
                "state": entry.state,
                "place": entry.place,
                "device": entry.device,
                "waits_for": entry.waits_for,
            }
            for entry in queue_view(store)
        ]
    except (LabError, OSError) as error:
        queue = {"problem": str(error)}
    doctor = [finding._asdict() for finding in findings(site)]
    facts = {"doctor": doctor, "machine": machine, "queue": queue, "site": {"problem": problem}}
    data = diagnostic_zip(store, found, facts, {"supervisor": store.root / FOLDER / LOG_NAME})
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(out, data)
    answer(arguments, {"path": str(out), "size_bytes": len(data)}, f"{out} ({size(len(data))}): look through it first")
    return 0
