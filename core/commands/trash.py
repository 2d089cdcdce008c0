"""`trash [--json] [--empty [--everyone] [--yes]]`: deleted runs, and removing them permanently."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import site_of, store_of, usable_site_of
from core.commands.ownership import ask, is_mine
from core.commands.progress import progress_bar
from core.commands.tables import plain, table
from core.errors import ConfigError, UsageError
from core.runs.provenance import current_user
from core.runs.rights import may_act
from core.runs.store import RunStore
from core.runs.trash import empty_trash, list_trash
from core.words import ago, size


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands, "trash", "List the deleted runs, or permanently remove them.", ("trash", "trash --empty --yes")
    )
    parser.add_argument("--empty", action="store_true", help="permanently remove your own runs; asks first")
    parser.add_argument("--everyone", action="store_true", help="with --empty: other people's runs too")
    parser.add_argument("--yes", action="store_true", help="with --empty: do not ask")


def run(arguments: argparse.Namespace) -> int:
    """List it, or empty it. What is removed lies where sound settings say, never in a folder guessed at."""
    if arguments.empty:
        return _empty(arguments)
    if arguments.everyone or arguments.yes:
        raise UsageError("trash: --everyone and --yes belong to --empty", "add --empty")
    store = store_of(arguments)
    found = list_trash(store, keep_days=site_of(arguments).trash_days)
    rows = [[each.id, each.name or "-", each.by or "-", ago(each.at), size(each.size_bytes)] for each in found]
    words = table(["run", "name", "deleted by", "when", "size"], rows) if found else "The trash is empty."
    answer(arguments, [asdict(each) for each in found], words)
    return 0


def _empty(arguments: argparse.Namespace) -> int:
    """Remove what the person agreed to, and nothing that was deleted meanwhile."""
    site, problem = usable_site_of(arguments)
    if problem:
        raise ConfigError(problem)
    store = RunStore(site.runs)
    found = list_trash(store)
    chosen = [each for each in found if arguments.everyone or is_mine(each.owner)]
    goes = [each for each in chosen if may_act(each.owner, current_user())]
    if others := len(found) - len(goes):
        print(f"{_runs(others)} of other people will stay; --everyone includes them", file=sys.stderr)
    if goes and not arguments.yes:
        owners = sorted({each.owner for each in goes if not is_mine(each.owner)})
        words = f"{_runs(len(goes))}, {size(sum(each.size_bytes for each in goes))}"
        words += f", also of {plain(', '.join(owners))}" if owners else ""
        ask("trash --empty", words, "Permanently remove them?", "add --yes to permanently remove them")
    with progress_bar("removing"):
        freed = empty_trash(store, only={each.id for each in goes})
    answer(arguments, {"removed": [each.id for each in goes], "freed_bytes": freed}, f"{size(freed)} freed")
    return 0


def _runs(number: int) -> str:
    return f"{number} deleted run{'s' if number != 1 else ''}"
