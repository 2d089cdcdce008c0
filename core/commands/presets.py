"""`presets [NAME]`: the presets and the settings that each one changes."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.tables import table
from core.config.load import load_preset, preset_names
from core.config.schema import field_rows


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands, "presets", "List the presets and the settings that each one changes.", ("presets", "presets quick")
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="one preset (default: all of them)")


def run(arguments: argparse.Namespace) -> int:
    """Print them, the default first. Raises ConfigError for an unknown name."""
    found = {name: load_preset(name) for name in ([arguments.name] if arguments.name else preset_names())}
    rows = [
        (name, setting, str(values[section][key]))
        for name, values in found.items()
        for setting, _ in field_rows()
        for section, _, key in [setting.partition(".")]
        if key in values.get(section, {})
    ]
    answer(arguments, found, lambda: table(["preset", "setting", "value"], rows))
    return 0
