"""Safe YAML of settings under limits: plain mappings, lists and scalars, and errors that name the line."""

from __future__ import annotations

import copy
import re
from collections.abc import Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from core import reading
from core.errors import ConfigError, quoted

MAX_YAML_BYTES = 256 * 1024
MAX_YAML_DEPTH = 8
MAX_YAML_VALUES = 2_000  # names, values and sections; config.yaml has 150
MAX_YAML_TEXT = 8_192  # characters of one name or value
MAX_REASON = 300
_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|\.inf|\.nan)$"
)


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without anchors, aliases, merges and duplicate keys; `1e-4` is a number."""

    depth = values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        where = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(f"{where}: YAML anchors and aliases are not accepted", "write the value out")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_YAML_TEXT:
            raise ConfigError(f"{where}: a value of {len(event.value):,} characters", f"the most is {MAX_YAML_TEXT:,}")
        self.values += 1
        if self.values > MAX_YAML_VALUES:
            raise ConfigError(f"{where}: more than {MAX_YAML_VALUES:,} values", "settings have a few hundred")
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
                raise ConfigError(f"{where}: a setting's name must be text, got {shown(key)}")
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


@lru_cache(maxsize=64)
def _loaded(text: str) -> Any:
    """The document, once: config.yaml takes 10 ms, and a page reads the same text several times."""
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader with stricter rules


def parse_yaml(text: str, source: str = "configuration") -> Any:
    """Parse one YAML document under the limits above; the values are the caller's own.

    Raises ConfigError naming `source` and the line for anything else than plain mappings, lists and scalars.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # a path of other bytes, as a command line may hold it
        raise ConfigError(f"{source}: '{quoted(text)}' is not UTF-8 text", "rename that file or folder") from None
    if size > MAX_YAML_BYTES:
        raise ConfigError(f"{source}: larger than {MAX_YAML_BYTES // 1024} KiB")
    try:
        return copy.deepcopy(_loaded(text))
    except ConfigError as error:
        raise ConfigError(f"{source}, {error.message}", error.hint) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{source}{where}: not valid YAML: {quoted(reason, MAX_REASON)}") from None


def read_yaml(source: Path) -> dict[str, Any]:
    """The plain values of a settings file. Raises ConfigError when they cannot be read."""
    values = parse_yaml(read_text(source), quoted(source.name))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{quoted(source.name)}: expected sections such as 'data:', got {type(values).__name__}")
    return values


def read_text(source: Path) -> str:
    """A settings file as text. Raises ConfigError, also for a device or a pipe, which might never end."""
    where = quoted(source, 200)
    try:
        return reading.read_text(source, limit=MAX_YAML_BYTES)
    except reading.Unreadable as error:
        raise ConfigError(f"{where}: {error.message}", "give a YAML file of settings") from None
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a path with a null character
        raise ConfigError(f"{where}: cannot be read: {error}") from None


def shown(value: Any) -> str:
    """A wrong value as an error may repeat it."""
    try:
        return quoted(repr(value))
    except ValueError:
        return "a number of thousands of digits"
