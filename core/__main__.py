"""`python -m core COMMAND`: the lab without a screen. Exit 0 done, 1 failed with one sentence, 2 bad usage,
28 the disk is full."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from core.commands.options import add_settings_options, folders_exported
from core.errors import LabError, StorageFull, is_full_disk, is_full_gpu, quoted
from core.home import PROGRAM
from core.version import VERSION

GROUPS = {  # each command is a module of core/commands: `add_parser` says what may be typed, `run` does it
    "Train": ("train", "stop", "pause", "resume", "branch", "wait", "queue"),
    "Look": ("runs", "show", "logs", "film", "machine", "doctor", "config", "presets", "paths"),
    "Generate and measure": ("sample", "evaluate", "compare", "latents", "ceiling", "timestep_loss", "self_test"),
    "Models and data": ("models", "import_model", "export", "data", "import_data", "remove_data"),
    "Keep order": ("note", "delete", "restore", "trash", "serve", "supervise"),
}
COMMANDS = tuple(name for group in GROUPS.values() for name in group)
MAX_SENTENCE = 1000
FULL_DISK = "the disk or the quota is full; free some space"
FULL_GPU = f"the GPU has no room left; `{PROGRAM} machine` shows who uses it, --set machine.device=cpu does without"


class _Parser(argparse.ArgumentParser):
    """Repeats what was typed only as `_tell` does."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        sys.exit(_tell(f"{message}; see {self.prog} --help", 2))


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
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a problem is one sentence on stderr."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        with folders_exported(arguments):
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
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if is_full_disk(error):
            return _tell(f"{where}{FULL_DISK}", StorageFull.exit_code)
        return _tell(f"{where}{error.strerror or error}", 1)
    except Exception as error:  # a mistake in this program: one sentence as well, the traceback on demand
        if os.environ.get("LAB_DEBUG"):
            traceback.print_exc()
        if is_full_gpu(error):
            return _tell(FULL_GPU, 1)
        if is_full_disk(error):
            return _tell(FULL_DISK, StorageFull.exit_code)
        reason = (str(error).splitlines() or ["no reason given"])[0]
        return _tell(f"unexpected {type(error).__name__}: {reason}; LAB_DEBUG=1 shows the traceback", 1)


def _tell(sentence: str, code: int) -> int:
    print(f"error: {quoted(sentence, MAX_SENTENCE)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
