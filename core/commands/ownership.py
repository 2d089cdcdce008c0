"""Acting on another person's run is asked for first: at a terminal by a question, elsewhere by --yes."""

from __future__ import annotations

import argparse
import sys

from core.commands.tables import plain
from core.errors import UsageError
from core.runs.provenance import current_user
from core.runs.rights import require_right, same_person
from core.runs.run import Run


def add_yes_option(parser: argparse.ArgumentParser, what: str = "run") -> None:
    """--yes."""
    parser.add_argument("--yes", action="store_true", help=f"do not ask where the {what} is another person's")


def confirm_owner(run: Run, verb: str, *, yes: bool) -> None:
    """Return when the run is one's own or the person agrees. Raises UsageError otherwise; NotAllowed."""
    ask_owner(
        run.id, run.info.owner, verb, yes=yes, hint="add --yes to do it all the same; it is written in the run's events"
    )


def ask_owner(what: str, owner: str, verb: str, *, yes: bool, hint: str = "add --yes to do it all the same") -> None:
    """As `confirm_owner`, for anything that has an owner. what: its id, as the sentence begins."""
    if owner:
        require_right(owner, "", f"{verb} {plain(what)}")
    if not yes and not is_mine(owner):
        words = f"{plain(what)} belongs to {plain(owner)}, you are {plain(current_user())}"
        ask(verb, words, f"{verb.capitalize()} it?", hint)


def is_mine(owner: str) -> bool:
    """True for what belongs to whoever types, or to nobody."""
    return not owner or same_person(owner, current_user())


def ask(command: str, words: str, question: str, hint: str) -> None:
    """Return when a person at a terminal agrees. Raises UsageError otherwise: `words`, and `hint` at no terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{command}: {words}", hint)
    print(f"{words}. {question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError(f"{command}: you did not say yes, and nothing was changed")
