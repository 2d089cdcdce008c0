"""Reading settings: safe YAML, presets, `section.key=value` overrides, and errors that name the setting.

Order, later wins: the schema's defaults, the configuration file, the preset, the overrides, the LAB_* environment.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from core.config.schema import Settings, field_rows, project_root
from core.errors import ConfigError, quoted

MAX_YAML_BYTES = 256 * 1024
MAX_YAML_DEPTH = 8
MAX_REASON = 300
PRESETS_DIR = Path(__file__).with_name("presets")
ENVIRONMENT = {
    "LAB_RUNS": "paths.runs",
    "LAB_DATA": "paths.data",
    "LAB_CACHE": "paths.cache",
    "LAB_IMPORTS": "paths.imports",
    "LAB_MODELS": "paths.models",
    "LAB_GALLERY": "paths.gallery",
}
_told: dict[str, str] = {}  # see `told_folders`
_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|\.inf|\.nan)$"
)


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without anchors, aliases, merges and duplicate keys; `1e-4` is a number."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        where = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(f"{where}: YAML anchors and aliases are not accepted", "write the value out")
        self.depth += 1
        if self.depth > MAX_YAML_DEPTH:
            raise ConfigError(f"{where}: nested deeper than {MAX_YAML_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            where = f"line {key_node.start_mark.line + 1}"
            if not isinstance(key, str):
                raise ConfigError(f"{where}: a setting's name must be text, got {_shown(key)}")
            if key == "<<":
                raise ConfigError(f"{where}: YAML merges are not accepted", "write the values out")
            if key in seen:
                raise ConfigError(f"{where}: '{quoted(key)}' is given twice", "keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:float",)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))  # type: ignore[no-untyped-call]


def parse_yaml(text: str, source: str = "configuration") -> Any:
    """Parse one YAML document under the limits above.

    Raises ConfigError naming `source` and the line for anything else than plain mappings, lists and scalars.
    """
    if len(text.encode()) > MAX_YAML_BYTES:
        raise ConfigError(f"{source}: larger than {MAX_YAML_BYTES // 1024} KiB")
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader with stricter rules
    except ConfigError as error:
        raise ConfigError(f"{source}, {error.message}", error.hint) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{source}{where}: not valid YAML: {quoted(reason, MAX_REASON)}") from None


def preset_names() -> list[str]:
    """The presets that exist, quickest first."""
    known = ["quick", "standard", "reference"]
    found = {path.stem for path in PRESETS_DIR.glob("*.yaml")}
    return [name for name in known if name in found] + sorted(found - set(known))


def load_preset(name: str) -> dict[str, Any]:
    """A preset's settings: only what characterises it. Raises ConfigError for an unknown name."""
    if name not in preset_names():
        raise ConfigError(
            f"preset '{quoted(name)}' does not exist",
            _did_you_mean(name, preset_names()) or f"use one of {preset_names()}",
        )
    return dict(parse_yaml((PRESETS_DIR / f"{name}.yaml").read_text(), f"preset {name}"))


def parse_override(text: str) -> tuple[str, Any]:
    """`section.key=value` → (dotted name, parsed value). Raises ConfigError when it has no '='."""
    name, separator, value = text.partition("=")
    if not separator or not all(part.strip() for part in name.split(".")) or name.count(".") > MAX_YAML_DEPTH:
        raise ConfigError(f"--set {quoted(text)}: expected section.key=value")
    return name.strip(), parse_yaml(value, f"--set {quoted(text)}") if value.strip() else None


def load_config(
    path: Path | None = None,
    *,
    preset: str | None = None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings of one experiment.

    path: the YAML file; None takes the project's `config.yaml`. overrides: 'a.b=c' texts, or a mapping from dotted
    name to value. Raises ConfigError (nothing is created) for anything unknown, out of bounds or impossible.
    """
    values = _read_values(path or project_root() / "config.yaml")
    return _settings_over(values, preset, overrides, environment)


def rescue_config(
    *, preset: str | None = None, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> tuple[Settings, str]:
    """What can be used of the project's config.yaml when it is broken, and what is wrong with it ('' for nothing).

    Its `paths` where they can be read, the defaults for all else; then preset, overrides and environment as always.
    Raises ConfigError when these are wrong themselves.
    """
    try:
        load_config(environment={})
        return load_config(preset=preset, overrides=overrides), ""
    except ConfigError as error:
        problem = str(error)
    try:
        paths = {"paths": _read_values(project_root() / "config.yaml").get("paths") or {}}
        settings_from(paths)
    except ConfigError:
        paths = {}
    return _settings_over(paths, preset, overrides, None), problem


def names_setting(source: Path, name: str) -> bool:
    """Whether a settings file says something of the setting with this dotted name. Raises ConfigError like reading."""
    value: Any = _read_values(source)
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


@contextlib.contextmanager
def told_folders(folders: Mapping[str, str]) -> Iterator[None]:
    """What this process was told of folders in other ways than its environment, by the environment's names, for as
    long as this lasts. What it starts does not inherit it: a supervisor that serves everybody must not."""
    before = dict(_told)
    _told.update(folders)
    try:
        yield
    finally:
        _told.clear()
        _told.update(before)


def folder_named(variable: str) -> str:
    """The folder that LAB_IMPORTS or its like names, in the environment or else as it was told; '' for none."""
    return os.environ.get(variable) or _told.get(variable, "")


def _read_values(source: Path) -> dict[str, Any]:
    """The plain values of a settings file. Raises ConfigError when they cannot be read."""
    values = parse_yaml(_read_text(source), quoted(source.name))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{quoted(source.name)}: expected sections such as 'data:', got {type(values).__name__}")
    return values


def _settings_over(
    values: Mapping[str, Any],
    preset: str | None,
    overrides: Sequence[str] | Mapping[str, Any],
    environment: Mapping[str, str] | None,
) -> Settings:
    """These values with preset, overrides and environment over them, validated."""
    if preset is not None:
        values = _merge(values, load_preset(preset))
    items = overrides.items() if isinstance(overrides, Mapping) else [parse_override(text) for text in overrides]
    for name, value in items:
        values = _merge(values, _nested(name, value))
    known = environment if environment is not None else os.environ
    for variable, name in ENVIRONMENT.items():
        if known.get(variable):
            values = _merge(values, _nested(name, known[variable]))
    return settings_from(values)


def with_overrides(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Plain nested values with some changed, by dotted name."""
    merged = dict(values)
    for name, value in overrides.items():
        merged = _merge(merged, _nested(name, value))
    return merged


def _read_text(source: Path) -> str:
    """A settings file as text. Raises ConfigError, also for a device or a pipe, which might never end."""
    where = quoted(source, 200)
    try:
        found = source.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{where}: is no ordinary file", "give a YAML file")
        if found.st_size > MAX_YAML_BYTES:
            raise ConfigError(f"{where}: larger than {MAX_YAML_BYTES // 1024} KiB", "give a YAML file of settings")
        return source.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: not UTF-8 text") from None
    except ValueError as error:  # a path with a null character
        raise ConfigError(f"{where}: cannot be read: {error}") from None


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Validate plain nested values. Raises ConfigError with one sentence naming the first wrong setting."""
    try:
        return Settings.model_validate(_lists_to_tuples(values))
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None


def dump_settings(settings: Settings) -> str:
    """The settings as YAML that `load_config` reads back to the same settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, width=100)


def read_frozen(path: Path) -> Settings:
    """The frozen settings of a run folder; no preset, no environment. Raises ConfigError when unreadable."""
    values = parse_yaml(_read_text(path), path.name)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections, got {type(values).__name__}")
    return settings_from(values)


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


def typed_path(text: str) -> Path:
    """What somebody typed as a path: '~' is a home folder, where there is such a user."""
    path = Path(text.strip())
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def resolve_path(text: str) -> Path:
    """A `paths.*` value as an absolute path; relative ones start at the project folder."""
    path = typed_path(text)
    return path if path.is_absolute() else project_root() / path


def _nested(name: str, value: Any) -> dict[str, Any]:
    first, _, rest = name.partition(".")
    return {first: _nested(rest, value) if rest else value}


def _merge(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _lists_to_tuples(value: Any) -> Any:
    """YAML has lists where the frozen models have tuples; whole numbers stay whole numbers."""
    if isinstance(value, Mapping):
        return {key: _lists_to_tuples(item) for key, item in value.items()}
    return tuple(_lists_to_tuples(item) for item in value) if isinstance(value, list) else value


def _did_you_mean(name: str, candidates: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else ""


def _section_fields(location: Sequence[Any]) -> list[str]:
    section: type[BaseModel] = Settings
    for part in location:
        annotation = section.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)


def _sentence(error: ValidationError) -> str:
    """The first problem in words: where, what is wrong, got what, what to do."""
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"]]
    name, got = quoted(".".join(location)), first.get("input")
    if first["type"] == "extra_forbidden":
        fields = _section_fields(location[:-1])
        tip = _did_you_mean(location[-1], fields)
        if not tip:
            elsewhere = [dotted for dotted, _ in field_rows() if dotted.rsplit(".", 1)[-1] == location[-1]]
            tip = f"did you mean {elsewhere[0]}?" if elsewhere else f"known here: {', '.join(fields)}"
        return f"{name}: no such setting; {tip}"
    if first["type"] == "value_error":
        return quoted(first["ctx"]["error"], MAX_REASON)
    if first["type"] in ("model_type", "model_attributes_type"):
        return f"{name or 'configuration'}: expected a section with settings, got {_shown(got)}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{name}: {quoted(message.replace('input should', 'should'), MAX_REASON)}, got {_shown(got)}"


def _shown(value: Any) -> str:
    """A wrong value as an error may repeat it."""
    try:
        return quoted(repr(value))
    except ValueError:
        return "a number of thousands of digits"
