"""`restore RUN`: bring a deleted run back from the trash."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.options import store_of
from core.jobs.service import restore_run


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("restore", help="bring a deleted run back")
    parser.add_argument("run", metavar="RUN", help="id, or a unique beginning or end of it; see `trash`")


def run(arguments: argparse.Namespace) -> int:
    """Bring it back."""
    found = restore_run(store_of(arguments), arguments.run)
    print(f"{found.id} is back")
    return 0
