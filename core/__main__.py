"""`python -m core COMMAND`: the lab without a screen. Exit 0 done, 1 failed with one sentence, 2 bad usage."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from core.commands import (
    branch,
    delete,
    doctor,
    evaluate,
    machine,
    note,
    pause,
    queue,
    restore,
    resume,
    runs,
    sample,
    show,
    stop,
    supervise,
    train,
    trash,
)
from core.errors import LabError

COMMANDS = (
    train,
    sample,
    evaluate,
    runs,
    show,
    queue,
    machine,
    note,
    stop,
    pause,
    resume,
    branch,
    delete,
    restore,
    trash,
    supervise,
    doctor,
)


MAX_SENTENCE = 1000


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="python -m core", description="Train, watch and look inside latent diffusion models.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a problem is one sentence on stderr."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        code: int = arguments.handler(arguments)
        sys.stdout.flush()
        return code
    except LabError as error:
        return _tell(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _tell("interrupted", 130)
    except BrokenPipeError:  # the reader went away, as in `runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the last line of defence: one sentence, whatever it was
        if not isinstance(error, OSError):
            if os.environ.get("LAB_DEBUG"):
                raise
            first = (str(error).splitlines() or [""])[0]
            return _tell(f"unexpected {type(error).__name__}: {first}; LAB_DEBUG=1 shows where", 1)
        where = f"{error.filename}: " if error.filename else ""
        return _tell(f"{where}{error.strerror or error}", 1)


def _tell(sentence: str, code: int) -> int:
    """One line on stderr that a terminal can take: printable, and not endless."""
    flat = "".join(character if character.isprintable() else "?" for character in sentence)
    print(f"error: {flat if len(flat) <= MAX_SENTENCE else flat[: MAX_SENTENCE - 1] + '…'}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
