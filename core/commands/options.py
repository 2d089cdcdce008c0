"""Options that commands share, and how settings and the runs folder follow from them."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.config.load import (
    load_config,
    names_setting,
    parse_override,
    rescue_config,
    resolve_path,
    told_folders,
)
from core.config.schema import Settings
from core.errors import quoted
from core.jobs.service import open_store
from core.runs.store import RunStore

IMPORTS = "paths.imports"


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """--config, --preset and --set."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (default: config.yaml)")
    parser.add_argument("--preset", metavar="NAME", help="quick, standard or reference: what differs from the file")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE", help="repeatable"
    )


def read_settings(arguments: argparse.Namespace, inherited: Mapping[str, Any] | None = None) -> Settings:
    """The settings these options ask for; `inherited` dotted values rank below --set."""
    chosen = dict(parse_override(text) for text in arguments.overrides)
    return load_config(arguments.config, preset=arguments.preset, overrides={**(inherited or {}), **chosen})


def chosen_names(arguments: argparse.Namespace) -> list[str]:
    """Dotted names given with --set."""
    return [parse_override(text)[0] for text in arguments.overrides]


@contextlib.contextmanager
def imports_told(arguments: argparse.Namespace) -> Iterator[None]:
    """Where imported sets are kept is not part of a run: what --set or --config says of paths.imports holds for all
    that this command does and queues, as LAB_IMPORTS does, which goes before it. Raises ConfigError."""
    folder = ""
    if hasattr(arguments, "overrides") and (
        any(name in ("paths", IMPORTS) for name in chosen_names(arguments))
        or (arguments.config and names_setting(arguments.config, IMPORTS))
    ):
        folder = str(resolve_path(usable_settings(arguments)[0].paths.imports))
    with told_folders({"LAB_IMPORTS": folder}):
        yield


def usable_settings(arguments: argparse.Namespace) -> tuple[Settings, str]:
    """As `read_settings`, but the project's own config.yaml may be broken: then what can be used of it, and what is
    wrong with it in words ('' for nothing). For commands that must work all the same: look, stop, repair."""
    if arguments.config:
        return read_settings(arguments), ""
    return rescue_config(preset=arguments.preset, overrides=arguments.overrides)


def store_of(arguments: argparse.Namespace) -> RunStore:
    """The runs folder these options ask for; with a warning where the project's config.yaml is broken."""
    settings, problem = usable_settings(arguments)
    store = open_store(settings)
    if problem:
        print(f"warning: {quoted(problem, 500)}; using the runs folder {store.root}", file=sys.stderr)
    return store
