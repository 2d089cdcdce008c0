"""`python -m core COMMAND`: the lab without a screen. Exit 0 done, 1 failed with one sentence, 2 bad usage,
28 the disk is full."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__":
    from core.startup import check_start

    check_start()

from core.commands.answer import add_json_option
from core.commands.completion import answer_shell
from core.commands.options import add_settings_options, folders_exported
from core.commands.questions import with_answers
from core.errors import LabError, StorageFull, is_full_disk, is_full_gpu, quoted
from core.home import PROGRAM, fix_home
from core.jobs.plain_lines import WITHOUT_BARS
from core.permissions import refusal
from core.version import VERSION

GROUPS = {  # each command is a module of core/commands: `add_parser` says what may be typed, `run` does it
    "Train": ("train", "sweep", "stop", "pause", "resume", "branch", "wait", "queue"),
    "Look": (
        "runs",
        "show",
        "logs",
        "film",
        "report",
        "machine",
        "doctor",
        "diagnose",
        "config",
        "presets",
        "paths",
        "completion",
    ),
    "Generate and measure": (
        "sample",
        "evaluate",
        "compare",
        "compare_runs",
        "latents",
        "tune",
        "ceiling",
        "timestep_loss",
        "self_test",
    ),
    "Models and data": ("models", "import_model", "export", "data", "import_data", "remove_data"),
    "Organize and run": ("note", "hand_over", "delete", "restore", "trash", "serve", "supervise"),
}
COMMANDS = tuple(name for group in GROUPS.values() for name in group)
MAX_SENTENCE = 1000
FULL_DISK = "the disk or the quota is full; free some space"
FULL_GPU = f"the GPU has no room left; `{PROGRAM} machine` shows who uses it, --set machine.device=cpu does without"


WITHOUT_RESULT = {  # commands that have no --json, and why
    "completion": "prints a script for a shell",
    "logs": "prints lines of a file",
    "serve": "becomes the server",
    "supervise": "works until it gets a signal",
}


class _BadUsage(SystemExit):
    """What was typed is no command; `sentence` says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(2)
        self.sentence = sentence


class _Parser(argparse.ArgumentParser):
    """Repeats what was typed only as `_tell` does."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        sentence = f"{message}; see {self.prog} --help"
        _tell(sentence, 2)
        raise _BadUsage(sentence)


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = _Parser(
        prog=PROGRAM, description="Train, watch and look inside latent diffusion models.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"latent-diffusion-lab {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = importlib.import_module(f"core.commands.{name}")
        command.add_parser(commands)
        added = commands.choices[name.replace("_", "-")]
        added.set_defaults(handler=command.run)
        if name != "self_test":
            add_settings_options(added)
        if name not in WITHOUT_RESULT:
            add_json_option(added)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a problem is one sentence on stderr, with --json also on stdout."""
    words = sys.argv[1:] if argv is None else argv
    told = _as_json if "--json" in words else _tell
    fix_home()
    try:
        parser = build_parser()
        answer_shell(parser)
        arguments = parser.parse_args(words)
    except _BadUsage as error:
        if told is _as_json:
            _print_json(error.sentence, 2)
        raise
    os.environ.update(WITHOUT_BARS)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        with folders_exported(arguments):
            code = with_answers(arguments, arguments.handler)
        sys.stdout.flush()
        return code
    except LabError as error:
        return told(str(error), error.exit_code)
    except KeyboardInterrupt:
        return told("interrupted", 130)
    except BrokenPipeError:  # the reader went away, as in `runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if is_full_disk(error):
            return told(f"{where}{FULL_DISK}", StorageFull.exit_code)
        found = refusal(error, Path.cwd())
        if found:
            return told(str(found), found.exit_code)
        return told(f"{where}{error.strerror or error}", 1)
    except UnicodeEncodeError as error:  # a path of other bytes than UTF-8, in a place that takes text only
        return told(f"'{quoted(error.object)}' is not UTF-8 text; rename that file or folder", 2)
    except Exception as error:  # a mistake in this program: one sentence as well, the traceback on demand
        if os.environ.get("LAB_DEBUG"):
            traceback.print_exc()
        if is_full_gpu(error):
            return told(FULL_GPU, 1)
        if is_full_disk(error):
            return told(FULL_DISK, StorageFull.exit_code)
        reason = (str(error).splitlines() or ["no reason given"])[0]
        return told(f"unexpected {type(error).__name__}: {reason}; LAB_DEBUG=1 shows the traceback", 1)


def _tell(sentence: str, code: int) -> int:
    print(f"error: {quoted(sentence, MAX_SENTENCE)}", file=sys.stderr)
    return code


def _as_json(sentence: str, code: int) -> int:
    _print_json(sentence, code)
    return _tell(sentence, code)


def _print_json(sentence: str, code: int) -> None:
    print(json.dumps({"error": quoted(sentence, MAX_SENTENCE), "exit_code": code}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
