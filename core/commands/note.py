"""`note RUN`: read or change a run's notes, tags, favourite mark and name."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.options import store_of
from core.commands.tables import plain
from core.jobs.service import describe_run
from core.runs.notes import Notes, read_notes


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("note", help="read or change a run's notes, tags and name")
    parser.add_argument("run", metavar="RUN", help="id, unique beginning or end of it, or name")
    parser.add_argument("--text", metavar="TEXT", help="replaces the notes; '' empties them")
    parser.add_argument("--tag", action="append", default=[], metavar="TAG", help="add a tag; repeatable")
    parser.add_argument("--untag", action="append", default=[], metavar="TAG", help="take a tag away; repeatable")
    mark = parser.add_mutually_exclusive_group()
    mark.add_argument("--favourite", dest="favourite", action="store_true", default=None, help="mark it as yours")
    mark.add_argument("--unfavourite", dest="favourite", action="store_false", help="take your mark away")
    parser.add_argument("--name", metavar="NAME", help="give the run another name; its id stays")


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
    print(in_words(notes, found.id, found.info.name))
    return 0


def in_words(notes: Notes, run_id: str, name: str) -> str:
    """What `note` prints."""
    lines = [f"{plain(run_id)}  {plain(name) or '-'}"]
    if notes.tags:
        lines.append("tags: " + ", ".join(plain(tag) for tag in notes.tags))
    if notes.favourite_of:
        lines.append("favourite of: " + ", ".join(plain(person) for person in notes.favourite_of))
    lines += [plain(line) for line in notes.notes.splitlines()] or ["No notes."]
    return "\n".join(lines)
