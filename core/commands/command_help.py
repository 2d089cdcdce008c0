"""How a command explains itself in --help: one sentence, examples, and the default of every option."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from typing import Any

from core.home import PROGRAM


class HelpWithDefaults(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows every default, and of an option's long names the first only: the others are old ones that still work."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        is_plain = action.nargs == 0 or action.default is None or action.default in ("", [], argparse.SUPPRESS)
        return action.help if is_plain else super()._get_help_string(action)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        shown = copy.copy(action)
        shown.option_strings = names_shown(action)
        return super()._format_action_invocation(shown)


def names_shown(action: argparse.Action) -> list[str]:
    """The names of an option that help shows: short ones, and the first long one."""
    long = [name for name in action.option_strings if name.startswith("--")]
    return [name for name in action.option_strings if name not in long[1:]]


def add_command(commands: Any, name: str, sentence: str, examples: Sequence[str]) -> argparse.ArgumentParser:
    """A command among `commands`. examples: what stands behind the program's name; RUN is a run's id or name."""
    shown = "\n".join(f"  {PROGRAM} {example}" for example in examples)
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=sentence[0].lower() + sentence[1:].rstrip("."),
        description=sentence,
        epilog=f"examples:\n{shown}",
        formatter_class=HelpWithDefaults,
    )
    added.set_defaults(examples=tuple(examples))
    return added
