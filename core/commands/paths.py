"""`paths`: the folders of this installation."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import site_of
from core.commands.tables import table
from core.config.site import FOLDERS
from core.home import HOME_VARIABLE, code_root, config_file, lab_home


def add_parser(commands: Any) -> None:
    """Its options."""
    add_command(
        commands, "paths", "Show the folders of this installation and what sets each.", ("paths", "paths --json")
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the folders of code and data, the settings file and each folder of the site."""
    site = site_of(arguments)
    found = {"project": str(code_root()), "home": str(lab_home()), "config": str(arguments.config or config_file())}
    found |= {name: str(getattr(site, name)) for name in FOLDERS.values()}
    names = {"home": HOME_VARIABLE} | {name: f"site.{name} or {variable}" for variable, name in FOLDERS.items()}
    rows = [(name, path, names.get(name, "-")) for name, path in found.items()]
    answer(arguments, found, lambda: table(["folder", "path", "set by"], rows))
    return 0
