"""`delete RUN`: remove a run and all it made."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.options import add_settings_options, store_of
from core.jobs.service import delete_run


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("delete", help="remove a run and all it made")
    parser.add_argument("run", metavar="RUN", help="id, unique beginning or end of it, or name")
    add_settings_options(parser)
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Remove it."""
    store = store_of(arguments)
    found = store.get(arguments.run)
    delete_run(store, found.id)
    print(f"{found.id} is deleted")
    return 0
