"""What a command prints: its result in words, or with --json as one JSON value and nothing else."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print the result, or the error, as JSON")


def say(arguments: argparse.Namespace, words: str) -> None:
    """Print a part of the result as soon as it is there; with --json all of it comes at the end."""
    if not arguments.json:
        print(words, flush=True)


def answer(arguments: argparse.Namespace, facts: Any, words: str | Callable[[], str] = "") -> None:
    """Print the result. facts: what JSON can hold. words: the same for people, '' where `say` has said it."""
    if arguments.json:
        print(json.dumps(facts, indent=1), flush=True)
    elif words:
        print(words if isinstance(words, str) else words(), flush=True)
