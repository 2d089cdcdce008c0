"""`paths`: the folders of this installation."""

from __future__ import annotations

import argparse
import json
from typing import Any

from core.commands.command_help import add_command
from core.commands.options import site_of
from core.commands.tables import table
from core.config.schema import project_root
from core.config.site import FOLDERS


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands, "paths", "Show the folders of this installation and what sets each.", ("paths", "paths --json")
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the project folder, the settings file and each folder of the site."""
    site, root = site_of(arguments), project_root()
    found = {"project": str(root), "config": str(arguments.config or root / "config.yaml")}
    found |= {name: str(getattr(site, name)) for name in FOLDERS.values()}
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    names = {name: f"site.{name} or {variable}" for variable, name in FOLDERS.items()}
    print(table(["folder", "path", "set by"], [(name, path, names.get(name, "-")) for name, path in found.items()]))
    return 0
