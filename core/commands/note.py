"""`note RUN`: read or change a run's notes, tags, favourite mark and name."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.tables import plain
from core.jobs.service import describe_run
from core.runs.notes import Notes, read_notes


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "note",
        "Show or change a run's notes, tags, favorite mark and name.",
        ("note RUN", "note RUN --text 'lower learning rate' --tag sweep"),
    )
    parser.add_argument("run", metavar="RUN", help="the run's id, a unique beginning or end of it, or its name")
    parser.add_argument("--text", metavar="TEXT", help="replace the notes; '' empties them (default: no change)")
    parser.add_argument("--tag", action="append", default=[], metavar="TAG", help="add a tag. Repeatable.")
    parser.add_argument("--untag", action="append", default=[], metavar="TAG", help="remove a tag. Repeatable.")
    mark = parser.add_mutually_exclusive_group()
    mark.add_argument(
        "--favorite",
        "--favourite",
        dest="favourite",
        action="store_true",
        default=None,
        help="mark it as your favorite",
    )
    mark.add_argument(
        "--unfavorite", "--unfavourite", dest="favourite", action="store_false", help="remove your favorite mark"
    )
    parser.add_argument("--name", metavar="NAME", help="give the run another name; its id stays (default: no change)")


def run(arguments: argparse.Namespace) -> int:
    """Change what was asked for, all of it or nothing, and print what there is now."""
    store = store_of(arguments)
    found = store.get(arguments.run)
    given = (arguments.name, arguments.text, arguments.favourite)
    if arguments.tag or arguments.untag or any(each is not None for each in given):
        found, notes = describe_run(
            store,
            found.id,
            name=arguments.name,
            notes=arguments.text,
            add_tags=arguments.tag,
            remove_tags=arguments.untag,
            favourite=arguments.favourite,
        )
    else:
        notes = read_notes(found)
    facts = {"id": found.id, "name": found.info.name, **asdict(notes)}
    answer(arguments, facts, lambda: in_words(notes, found.id, found.info.name))
    return 0


def in_words(notes: Notes, run_id: str, name: str) -> str:
    """What `note` prints."""
    lines = [f"{plain(run_id)}  {plain(name) or '-'}"]
    if notes.tags:
        lines.append("tags: " + ", ".join(plain(tag) for tag in notes.tags))
    if notes.favourite_of:
        lines.append("favorite of: " + ", ".join(plain(person) for person in notes.favourite_of))
    lines += [plain(line) for line in notes.notes.splitlines()] or ["No notes."]
    return "\n".join(lines)
