"""Options that commands share, and how settings, site and runs folder follow from them."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.config.load import load_config, parse_override, read_site, settings_from, usable_site, with_overrides
from core.config.schema import Settings
from core.config.site import FOLDERS, SiteSettings, is_site_setting
from core.errors import UsageError, quoted
from core.model_folders import sources
from core.model_folders.sources import ModelSource, RunSource
from core.runs.run import Run
from core.runs.store import RunStore


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """--config, --preset and --set."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (default: config.yaml)")
    parser.add_argument(
        "--preset", metavar="NAME", help="such as quick, minute or standard (default: none); see `presets`"
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override a setting, e.g. --set train_vae.steps=200. Repeatable.",
    )


def add_checkpoint_options(parser: argparse.ArgumentParser, *old_names: str) -> None:
    """--checkpoint, also under old names that help does not show, and --weights."""
    help_words = "the checkpoint of that step (default: the newest)"
    parser.add_argument("--checkpoint", *old_names, type=int, metavar="STEP", help=help_words)
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="averaged (ema) or last (raw) weights")


def read_settings(arguments: argparse.Namespace, inherited: Mapping[str, Any] | None = None) -> Settings:
    """The settings these options ask for; `inherited` dotted values rank below --set."""
    chosen = dict(parse_override(text) for text in arguments.overrides)
    return load_config(arguments.config, preset=arguments.preset, overrides={**(inherited or {}), **chosen})


def chosen_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What --set says of the experiment, by dotted name; what it says of the site is `site_of`'s."""
    chosen = dict(parse_override(text) for text in arguments.overrides)
    return {name: value for name, value in chosen.items() if not is_site_setting(name)}


def usable_site_of(arguments: argparse.Namespace) -> tuple[SiteSettings, str]:
    """The site these options ask for, and what is wrong with the project's config.yaml ('' for nothing).

    For commands that must work with a broken one all the same: look, stop, repair.
    """
    return usable_site(arguments.config, preset=arguments.preset, overrides=arguments.overrides)


def site_of(arguments: argparse.Namespace) -> SiteSettings:
    """As `usable_site_of`, without the words."""
    return usable_site_of(arguments)[0]


def store_of(arguments: argparse.Namespace) -> RunStore:
    """The runs folder these options ask for; with a warning where the project's config.yaml is broken."""
    site, problem = usable_site_of(arguments)
    if problem:
        print(f"warning: {quoted(problem, 500)}; using the runs folder {site.runs}", file=sys.stderr)
    return RunStore(site.runs)


@contextlib.contextmanager
def folders_exported(arguments: argparse.Namespace) -> Iterator[None]:
    """Folders that --set names or --config changes are LAB_* variables while the command runs, also for its children.

    Variables that are set already go before. Raises ConfigError.
    """
    folders: dict[str, str] = {}
    if hasattr(arguments, "overrides"):
        names = [text.partition("=")[0].strip() for text in arguments.overrides]  # a sweep's values are several
        if arguments.config or any(map(is_site_setting, names)):
            site, named = (
                read_site()[0].environment(),
                {name.partition(".")[2] for name in names if is_site_setting(name)},
            )
            folders = {
                variable: folder
                for variable, folder in site_of(arguments).environment().items()
                if FOLDERS[variable] in named or folder != site[variable]
            }
    new = {name: folder for name, folder in folders.items() if not os.environ.get(name)}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def find_run(arguments: argparse.Namespace, text: str) -> Run:
    """The run of any kind that `text` names, in these options' runs folder or by path. Raises RunNotFound."""
    return sources.find_run(text, lambda: store_of(arguments))


def find_source(arguments: argparse.Namespace, text: str) -> ModelSource:
    """RUN|MODEL_DIR: a run of the store, a run folder or model folder that lies anywhere, or 'model:NAME'.

    Raises RunNotFound, UsageError, ModelRefused.
    """
    return sources.find_source(text, lambda: store_of(arguments), site_of(arguments).models)


def find_unet_run(arguments: argparse.Namespace, text: str) -> Run:
    """The U-Net run that `text` names, with its training begun. Raises RunNotFound, UsageError, CheckpointError."""
    found = find_run(arguments, text)
    found.check_generates("choose a U-Net run: a VAE alone generates no images")
    check_has_begun(found)
    return found


def check_has_begun(run: Run) -> None:
    """Raises CheckpointError for a run that has not read its data set yet."""
    RunSource(run).class_names  # noqa: B018 - reads data.json


def settings_of_run(arguments: argparse.Namespace, run: Run | ModelSource, sections: Sequence[str]) -> Settings:
    """A run's frozen settings, but for `sections`, which --config, --preset and --set may change.

    Raises UsageError for a setting that is part of what was trained.
    """
    chosen = chosen_settings(arguments)
    for name in chosen:
        if name.split(".")[0] not in sections:
            raise UsageError(
                f"--set {quoted(name)}: belongs to what run {run.id} trained and cannot be changed now",
                f"here one of {', '.join(sections)} can be set",
            )
    values = run.settings.model_dump(mode="json")
    if arguments.config or arguments.preset is not None:
        asked = read_settings(arguments).model_dump(mode="json")
        for section in sections:
            values[section] = asked[section]
    return settings_from(with_overrides(values, chosen))
