"""Options that commands share, and how settings and the runs folder follow from them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.config.load import load_config, parse_override, resolve_path, settings_from
from core.config.schema import PathSettings, Settings
from core.errors import ConfigError, UsageError
from core.jobs.service import open_store
from core.runs.run import Run
from core.runs.store import RunStore


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


def store_of(arguments: argparse.Namespace) -> RunStore:
    """The runs folder these options ask for. A broken config.yaml of the project does not stand between a person and
    the runs: then the folder is LAB_RUNS or the default, and a warning says so."""
    try:
        return open_store(read_settings(arguments))
    except ConfigError as error:
        if arguments.config or arguments.preset is not None or arguments.overrides:
            raise
        folder = resolve_path(os.environ.get("LAB_RUNS") or PathSettings().runs)
        print(f"warning: {error}; using the runs folder {folder}", file=sys.stderr)
        return RunStore(folder)


def settings_of_run(arguments: argparse.Namespace, run: Run, sections: Sequence[str]) -> Settings:
    """A run's frozen settings, but for `sections`, which --config, --preset and --set may change.

    Raises UsageError for a setting that is part of what was trained.
    """
    for name in chosen_names(arguments):
        if name.split(".")[0] not in (*sections, "paths"):
            raise UsageError(
                f"--set {name}: belongs to what run {run.id} trained and cannot be changed now",
                f"here one of {', '.join(sections)} can be set",
            )
    values = run.settings.model_dump(mode="json")
    if arguments.config or arguments.preset:
        asked = read_settings(arguments).model_dump(mode="json")
        for section in sections:
            values[section] = asked[section]
    for text in arguments.overrides:
        section, _, key = (parsed := parse_override(text))[0].partition(".")
        if section in sections:
            values[section] = {**values[section], key: parsed[1]} if key else parsed[1]
    return settings_from(values)
