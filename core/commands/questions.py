"""Questions about somebody's images, asked at a terminal; elsewhere they end the command with exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from core.data.reader.reading_of_set import answered
from core.errors import Unanswered, quoted

MOST_QUESTIONS = 10


def with_answers(arguments: argparse.Namespace, act: Callable[[argparse.Namespace], int]) -> int:
    """`act`, and again with each answer that a person at a terminal gives. Raises Unanswered without one.

    An answer is what the option takes that the question names, or the setting of that name for `train`. An empty line
    stops. No command has begun anything when it asks.
    """
    for _ in range(MOST_QUESTIONS):
        try:
            return act(arguments)
        except Unanswered as error:
            takes_option, takes_settings = hasattr(arguments, error.option), arguments.command == "train"
            if not (takes_option or takes_settings) or getattr(arguments, "json", False):
                raise
            answer = asked(error)
            if not answer:
                raise
            if takes_option:
                setattr(arguments, error.option, answer)
                answered(arguments)
            else:
                arguments.overrides.append(f"data.{error.option}={answer}")
    return act(arguments)


def asked(error: Unanswered) -> str:
    """What somebody at a terminal answers; '' for nothing, and without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    words = f"{quoted(error.message, 600)}. Type {error.value} if that is right, or another value"
    print(f"{words}; Enter alone stops.\n--{error.option.replace('_', '-')} ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()
