"""`logs RUN [--follow]`: what a run's process printed."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from core import reading
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.tables import plain
from core.jobs.engines.choose import observed_status

LOOK_EVERY_S = 0.5
MOST_AT_ONCE = 1 << 20


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands, "logs", "Print the log of a run, or follow it until the run ends.", ("logs RUN", "logs RUN -f")
    )
    parser.add_argument("run", metavar="RUN", help="the run's id, a unique beginning or end of it, or its name")
    parser.add_argument("-f", "--follow", action="store_true", help="print new lines until the run has ended")


def run(arguments: argparse.Namespace) -> int:
    """Print it; control characters in it never reach the terminal. A run that has not started has no lines."""
    found = store_of(arguments).get(arguments.run)
    place, is_over = 0, False
    while not is_over:
        is_over = not arguments.follow or not observed_status(found).state.is_active  # before the last look
        place = _print_from(found.log_path, place, to_the_end=is_over)
        if not is_over:
            time.sleep(LOOK_EVERY_S)
    return 0


def _print_from(path: Path, place: int, *, to_the_end: bool) -> int:
    """Print the whole lines behind byte `place`, and to the end also a half one. Returns where to go on.

    Raises Unreadable.
    """
    try:
        with reading.open_regular(path, limit=0) as file:
            file.seek(place)
            while data := file.read(MOST_AT_ONCE):
                is_half = b"\n" not in data and len(data) < MOST_AT_ONCE
                if is_half and not to_the_end:
                    break
                whole = data[: data.rfind(b"\n") + 1] or data
                place += len(whole)
                file.seek(place)
                for line in whole.decode(errors="replace").splitlines():
                    print(plain(line))
    except FileNotFoundError:
        return place
    sys.stdout.flush()
    return place
