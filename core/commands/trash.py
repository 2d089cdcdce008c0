"""`trash [--json] [--empty]`: deleted runs, and removing them for good."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from core.commands.options import site_of, store_of, usable_site_of
from core.commands.tables import table
from core.errors import ConfigError
from core.runs.store import RunStore
from core.runs.trash import empty_trash, list_trash
from core.words import ago, size


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("trash", help="deleted runs, which can be brought back for site.trash_days")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--empty", action="store_true", help="remove all of them for good")


def run(arguments: argparse.Namespace) -> int:
    """List it, or empty it. What is removed for good lies where sound settings say, never in a folder guessed at."""
    if arguments.empty:
        site, problem = usable_site_of(arguments)
        if problem:
            raise ConfigError(problem)
        print(f"{size(empty_trash(RunStore(site.runs)))} freed")
        return 0
    store = store_of(arguments)
    found = list_trash(store, keep_days=site_of(arguments).trash_days)
    if arguments.json:
        print(json.dumps([asdict(each) for each in found], indent=1))
    elif not found:
        print("The trash is empty.")
    else:
        rows = [[each.id, each.name or "-", each.by or "-", ago(each.at), size(each.size_bytes)] for each in found]
        print(table(["run", "name", "deleted by", "when", "size"], rows))
    return 0
