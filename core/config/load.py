"""Reading what people type: config.yaml, presets and `section.key=value` overrides, which name every wrong setting.

Order, later wins: the schema's defaults, the configuration file, the preset, the overrides; for the folders of the
site, the LAB_* environment. Unknown settings are refused. Frozen settings of runs are read by `frozen.py`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from core.config.schema import Settings, field_rows
from core.config.sentences import did_you_mean, sentence
from core.config.site import FOLDERS, SiteSettings, with_new_names
from core.config.strict_yaml import MAX_YAML_DEPTH, parse_yaml, read_yaml
from core.errors import ConfigError, quoted
from core.home import config_file
from core.reading import stamp_of
from core.rules import NEWEST, Rules

FORMAT = 2  # newest format of settings in files; 1 also held what belongs to the site
PRESETS_DIR = Path(__file__).with_name("presets")
RULES = "rules"  # the section of a preset that pins versions of core.rules; no setting
BY_NAME_ONLY = ("quick-2026-11",)  # of an earlier month, for equal weights
Overrides = Sequence[str] | Mapping[str, Any]
logger = logging.getLogger(__name__)


class Configuration(Settings):
    """Everything that config.yaml holds: one experiment, and the site."""

    site: SiteSettings = Field(default_factory=SiteSettings)


def preset_names() -> list[str]:
    """The presets that are offered, the default first; BY_NAME_ONLY can be asked for as well."""
    known = ["quick", "minute", "color", "standard", "reference"]
    found = {path.stem for path in PRESETS_DIR.glob("*.yaml")} - set(BY_NAME_ONLY)
    return [name for name in known if name in found] + sorted(found - set(known))


def is_preset(name: str) -> bool:
    """Whether there is a preset of that name, offered or not."""
    return name in (*preset_names(), *BY_NAME_ONLY)


def load_preset(name: str) -> dict[str, Any]:
    """A preset's settings: only what characterises it. Raises ConfigError for an unknown name."""
    return {key: value for key, value in _read_preset(name).items() if key != RULES}


def rules_of_preset(name: str) -> Rules:
    """The rules of what is started from a preset ('' = none): the newest, but for those that it pins by a version.

    Raises ConfigError for an unknown name.
    """
    return replace(NEWEST, **(_read_preset(name).get(RULES) or {})) if name else NEWEST


def _read_preset(name: str) -> dict[str, Any]:
    if not is_preset(name):
        raise ConfigError(
            f"preset '{quoted(name)}' does not exist",
            did_you_mean(name, preset_names()) or f"use one of {preset_names()}",
        )
    return dict(parse_yaml((PRESETS_DIR / f"{name}.yaml").read_text(), f"preset {name}"))


def parse_override(text: str) -> tuple[str, Any]:
    """`section.key=value` → (dotted name, parsed value). Raises ConfigError when it has no '='."""
    name, separator, value = text.partition("=")
    if not separator or not all(part.strip() for part in name.split(".")) or name.count(".") > MAX_YAML_DEPTH:
        raise ConfigError(f"--set {quoted(text)}: expected section.key=value")
    return name.strip(), parse_yaml(value, f"--set {quoted(text)}") if value.strip() else None


def load_config(path: Path | None = None, *, preset: str | None = None, overrides: Overrides = ()) -> Settings:
    """Read the settings of one experiment.

    path: the YAML file; None takes the installation's `config.yaml`. overrides: 'a.b=c' texts, or a mapping from dotted
    name to value. Raises ConfigError (nothing is created) for anything unknown, out of bounds or impossible, in the
    section `site` too.
    """
    found = _configuration(_over(_file_values(path), preset, overrides))
    return Settings.model_construct(**{name: getattr(found, name) for name in Settings.model_fields})


def usable_site(
    path: Path | None = None, *, preset: str | None = None, overrides: Overrides = ()
) -> tuple[SiteSettings, str]:
    """(the section `site` of config.yaml, or what can be used of it; what is wrong with that file or '').

    path: another file, whose site goes before. Raises ConfigError when that, the preset or an override is wrong.
    """
    try:
        values, problem = _file_values(None), ""
        _configuration(values)
    except ConfigError as error:
        values, problem = _sound_site(), str(error)
    if path is not None:
        values = merge({"site": values.get("site") or {}}, _file_values(path))
    return _configuration(_over(values, preset, overrides)).site, problem


def read_site() -> tuple[SiteSettings, str]:
    """`usable_site` of this installation, read again only when config.yaml or the LAB_* folders change."""
    source = config_file()
    return _site_at(source, stamp_of(source), tuple(os.environ.get(variable, "") for variable in FOLDERS))


@lru_cache(maxsize=8)
def _site_at(source: Path, stamp: tuple[int, ...], folders: tuple[str, ...]) -> tuple[SiteSettings, str]:
    return usable_site()


def _file_values(path: Path | None) -> dict[str, Any]:
    """The values of a settings file by their new names. Raises ConfigError."""
    source = path or config_file()
    values = dict(read_yaml(source))
    number = values.pop("format", 1)
    if number not in range(1, FORMAT + 1):
        raise ConfigError(f"{quoted(source.name)}: format {quoted(number)} is not known here, this lab knows {FORMAT}")
    return _renamed(values, quoted(source.name))


def _sound_site() -> dict[str, Any]:
    """The site's part of a broken config.yaml where that is sound by itself; else nothing."""
    try:
        values = {"site": _file_values(None).get("site") or {}}
        _configuration(values)
    except ConfigError:
        return {}
    return values


def _renamed(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The values by their new names; old names are told once."""
    found, old_names = with_new_names(values)
    if old_names:
        _tell_old_names(source, tuple(old_names))
    return found


@lru_cache(maxsize=64)
def _tell_old_names(source: str, old_names: tuple[str, ...]) -> None:
    new = ", ".join(f"site.{name.partition('.')[2]}" for name in old_names)
    old = ("the old name %s still works" if len(old_names) == 1 else "the old names %s still work") % ", ".join(
        old_names
    )
    logger.warning("%s: write %s; %s", source, new, old)


def _over(values: Mapping[str, Any], preset: str | None, overrides: Overrides) -> dict[str, Any]:
    """These values with preset, overrides and the folders of the environment over them."""
    if preset is not None:
        values = merge(values, _renamed(load_preset(preset), f"preset {preset}"))
    items = overrides.items() if isinstance(overrides, Mapping) else [parse_override(text) for text in overrides]
    for name, value in items:
        values = merge(values, _renamed(_nested(name, value), f"--set {name}"))
    for variable, name in FOLDERS.items():
        if os.environ.get(variable) and isinstance(values.get("site", {}), Mapping):
            values = merge(values, _nested(f"site.{name}", os.environ[variable]))
    return dict(values)


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Validate plain nested values. Raises ConfigError with one sentence naming the first wrong setting."""
    return _validated(Settings, values)


def _configuration(values: Mapping[str, Any]) -> Configuration:
    return _validated(Configuration, values)


Model = TypeVar("Model", bound=Settings)


def _validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(_lists_to_tuples(values))
    except ValidationError as error:
        raise ConfigError(sentence(error, model)) from None


def with_overrides(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Plain nested values with some changed, by dotted name."""
    merged = dict(values)
    for name, value in overrides.items():
        merged = merge(merged, _nested(name, value))
    return merged


def plain_value(value: Any) -> Any:
    """A value of the settings as YAML and JSON have it: no models, no tuples."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return list(plain) if isinstance(plain, tuple) else plain


def differences(old: Settings, new: Settings) -> list[tuple[str, Any, Any]]:
    """Settings that differ, as (dotted name, old value, new value), in the schema's order."""
    rows = []
    for name, _ in field_rows():
        before, after = get_value(old, name), get_value(new, name)
        if before != after:
            rows.append((name, before, after))
    return rows


def get_value(settings: Settings, name: str) -> Any:
    """The value of a dotted name."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _nested(name: str, value: Any) -> dict[str, Any]:
    first, _, rest = name.partition(".")
    return {first: _nested(rest, value) if rest else value}


def merge(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values, those of `extra` over those of `base`."""
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _lists_to_tuples(value: Any) -> Any:
    """YAML has lists where the frozen models have tuples; whole numbers stay whole numbers."""
    if isinstance(value, Mapping):
        return {key: _lists_to_tuples(item) for key, item in value.items()}
    return tuple(_lists_to_tuples(item) for item in value) if isinstance(value, list) else value
