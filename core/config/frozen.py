"""The settings that a run froze when it was created: config.yaml of a run folder, and lab/config.yaml of an export.

A missing setting means what the lab did before that setting existed, which `frozen_defaults.yaml` says. What belongs to
the site was frozen too in format 1: it is ignored, and never shown. Both formats are read alike, so that neither writes
its number here (run.json holds it); from the first one that this reader must refuse, the file says `format: N`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from core.config.load import FORMAT, merge, settings_from
from core.config.schema import Settings
from core.config.site import ONCE_IN_MACHINE
from core.config.strict_yaml import parse_yaml, read_text
from core.errors import ConfigError, quoted

BEFORE = Path(__file__).with_name("frozen_defaults.yaml")


class Frozen(NamedTuple):
    """Frozen settings. shown: as far as this version knows them. flaw: what it does not know, '' for nothing. digest:
    of the text that they were read from, '' for settings that were no file."""

    shown: Settings
    flaw: str
    digest: str = ""

    def to_act_on(self) -> Settings:
        """Raises ConfigError for settings that are not known here: an old lab never does something else in silence."""
        if self.flaw:
            raise ConfigError(self.flaw, "update this lab")
        return self.shown


def dump_settings(settings: Settings) -> str:
    """The settings as YAML that `read_frozen` and `load_config` read back to the same settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, width=100)


def read_frozen(path: Path) -> Frozen:
    """The frozen settings of a run folder; no preset, no environment. Raises ConfigError."""
    text = read_text(path)
    return frozen_from(parse_yaml(text, path.name))._replace(digest=_digest(text))


def settings_digest(path: Path) -> str:
    """What `Frozen.digest` would be, of settings that need not be valid; '' for a file that cannot be read."""
    try:
        return _digest(read_text(path))
    except ConfigError:
        return ""


def without_webhook(path: Path) -> str | None:
    """The text of a settings file of format 1 without the address of a webhook; None when it holds none.

    Raises ConfigError when it cannot be read.
    """
    text = read_text(path)
    if "webhook_url" not in text:
        return None
    values = parse_yaml(text, path.name)
    machine = values.get("machine") if isinstance(values, dict) else None
    if not isinstance(machine, dict) or not machine.get("webhook_url"):
        return None
    kept = {name: value for name, value in machine.items() if name != "webhook_url"}
    return yaml.safe_dump({**values, "machine": kept}, sort_keys=False, width=100)


def frozen_from(values: Any, before: Mapping[str, Any] | None = None) -> Frozen:
    """Settings out of the plain values of a file. before: what a missing setting means. Raises ConfigError."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"expected sections with settings, got {type(values).__name__}")
    number = values.get("format", 1)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ConfigError(f"format: expected a whole number from 1, got {quoted(number)}")
    kept = {name: value for name, value in values.items() if name not in ("format", "paths", "site")}
    if isinstance(kept.get("machine"), Mapping):
        kept["machine"] = {name: value for name, value in kept["machine"].items() if name not in ONCE_IN_MACHINE}
    known, unknown = _known(kept, Settings)
    flaw = ""
    if unknown:
        flaw = f"made by a newer version of the lab: {quoted(', '.join(unknown), 200)} is not known here"
    elif number > FORMAT:
        flaw = f"made by a newer version of the lab (format {number}; this one knows {FORMAT})"
    return Frozen(settings_from(merge(_values_before() if before is None else before, known)), flaw)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _known(values: Mapping[str, Any], section: type[BaseModel], prefix: str = "") -> tuple[dict[str, Any], list[str]]:
    """(the settings of a section that exist here, the dotted names of the others)."""
    known: dict[str, Any] = {}
    unknown: list[str] = []
    for name, value in values.items():
        info = section.model_fields.get(name)
        if info is None:
            unknown.append(f"{prefix}{name}")
        elif (
            isinstance(value, Mapping) and isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
        ):
            known[name], others = _known(value, info.annotation, f"{prefix}{name}.")
            unknown += others
        else:
            known[name] = value
    return known, unknown


@lru_cache(maxsize=1)
def _values_before() -> dict[str, Any]:
    return dict(parse_yaml(BEFORE.read_text(), BEFORE.name))
