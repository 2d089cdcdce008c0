"""`config show`: the settings that a training would use now."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import read_settings
from core.commands.tables import table
from core.config.load import get_value
from core.config.schema import Settings, field_rows


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "config",
        "Show the settings that a training would use now, and what differs from the defaults.",
        ("config show", "config show --preset reference --changed"),
    )
    parser.add_argument("what", choices=("show",), help="print the settings")
    parser.add_argument("--changed", action="store_true", help="only settings that differ from the defaults")


def run(arguments: argparse.Namespace) -> int:
    """Print value and default of each setting, or with --json the values by dotted name."""
    settings, defaults = read_settings(arguments), Settings()
    pairs = {name: (get_value(settings, name), get_value(defaults, name)) for name, _ in field_rows()}
    shown = {name: pair for name, pair in pairs.items() if not arguments.changed or pair[0] != pair[1]}
    rows = [(name, str(value), str(old)) for name, (value, old) in shown.items()]
    values = {name: value for name, (value, _) in shown.items()}
    answer(arguments, values, lambda: table(["setting", "value", "default"], rows))
    return 0
