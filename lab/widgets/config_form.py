"""The settings as a form, drawn from the schema: bounds, choices and meanings come from there alone."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import streamlit as st
from pydantic.fields import FieldInfo

from core.config.load import get_value
from core.config.schema import Settings, field_rows
from core.config.strict_yaml import parse_yaml
from core.data import catalog
from core.errors import ConfigError
from lab.words import plain

SECTION_TITLES = {
    "seed": "Seed",
    "data": "Data",
    "vae": "VAE",
    "unet": "U-Net",
    "diffusion": "Diffusion",
    "train_vae": "VAE training",
    "train_unet": "U-Net training",
    "sampling": "Sampling",
    "evaluation": "Evaluation",
    "logging": "Logging",
    "machine": "Machine",
}
HIDDEN = ("sampling.seed",)  # the Generate page asks for it
COLUMNS = 3
UNCHANGED = object()  # begins with its default


def setting_widget(
    name: str, info: FieldInfo, default: Any, *, key: str, label: str = "", initial: Any = UNCHANGED
) -> Any:
    """A widget for one setting; returns its value, or what was typed when it cannot be read (the schema refuses it).

    The value stays when the person looks at another page. A changed setting has a blue label. initial: what it begins
    with where that is not the default; what the widget cannot hold is left to the default.
    """
    label, hint = label or name.rsplit(".", 1)[-1].replace("_", " "), info.description or ""
    hint = f"{hint} \n\nDefault: {plain(shown_value(default))}".strip()
    initial = default if initial is UNCHANGED else initial
    label = f":blue[{label} ●]" if _is_changed(key, default, initial) else label
    annotation = _without_none(info.annotation)
    lowest, highest, step = _bounds(info)
    choices = list(typing.get_args(annotation)) if typing.get_origin(annotation) is typing.Literal else []
    if name == "data.name":
        choices = catalog.names()
    if default in choices:
        index = choices.index(initial if initial in choices else default)
        return st.selectbox(label, choices, index=index, help=hint, key=key, persist_state="session")
    if annotation is bool:
        return st.toggle(
            label, value=initial if isinstance(initial, bool) else default, help=hint, key=key, persist_state="session"
        )
    if annotation is int and not _optional(info.annotation):
        whole = isinstance(initial, int) and not isinstance(initial, bool)
        fits = whole and (lowest is None or initial >= lowest) and (highest is None or initial <= highest)
        begin = initial if fits else default
        return st.number_input(label, lowest, highest, begin, step or 1, help=hint, key=key, persist_state="session")
    if annotation is str and not _optional(info.annotation):
        return st.text_input(label, value=_typed(initial), help=hint, key=key, persist_state="session")
    typed = st.text_input(
        label, value=_typed(initial), help=hint, key=key, placeholder="empty", persist_state="session"
    )
    return _read(typed, annotation, default)


def changed_settings(
    base: Settings,
    *,
    key: str,
    hidden: Collection[str] = (),
    skip: Collection[str] = (),
    initial: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Draw all sections behind one fold, a tab each, and return what differs from `base`, by dotted name.

    hidden: sections not drawn. skip: settings shown elsewhere. initial: what settings begin with instead of `base`, by
    dotted name. Changed settings are marked, and counted on the way to them.
    """
    changes: dict[str, Any] = {}
    rows = [row for row in field_rows() if not row[0].startswith(HIDDEN) and row[0] not in skip]
    sections = {
        section: mine
        for section in SECTION_TITLES
        if section not in hidden and (mine := [row for row in rows if row[0].split(".")[0] == section])
    }
    marks = {
        section: sum(
            _is_changed(f"{key}/{name}", default := get_value(base, name), initial.get(name, default))
            for name, _ in mine
        )
        for section, mine in sections.items()
    }
    total = sum(marks.values())
    with st.expander("All settings" + (f" :blue-badge[{total} changed]" if total else ""), icon=":material/tune:"):
        titles = [SECTION_TITLES[name] + (f" :blue-badge[{marks[name]}]" if marks[name] else "") for name in sections]
        for tab, mine in zip(st.tabs(titles), sections.values(), strict=True):
            with tab:
                for start in range(0, len(mine), COLUMNS):
                    for cell, (name, info) in zip(st.columns(COLUMNS), mine[start : start + COLUMNS], strict=False):
                        default = get_value(base, name)
                        with cell:
                            begin = initial.get(name, default)
                            value = setting_widget(name, info, default, key=f"{key}/{name}", initial=begin)
                        if value != default:
                            changes[name] = value
    return changes


def shown_value(value: Any) -> str:
    """A setting's value as the form writes it; 'none' for nothing."""
    return _typed(value) or "none"


def _is_changed(key: str, default: Any, initial: Any) -> bool:
    return st.session_state.get(key, initial) not in (default, _typed(default))


def _typed(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read(text: str, annotation: Any, default: Any) -> Any:
    text = text.strip()
    if text == _typed(default):
        return default
    try:
        if typing.get_origin(annotation) is tuple:
            items = parse_yaml(f"[{text.strip('[]()')}]")
            return tuple(items) if isinstance(items, list) else text
        if not text:
            return None
        return text if annotation is str else parse_yaml(text)
    except ConfigError:
        return text


def _optional(annotation: Any) -> bool:
    return type(None) in typing.get_args(annotation)


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kept = [item for item in typing.get_args(annotation) if item is not type(None)]
        return kept[0] if len(kept) == 1 else annotation
    return annotation


def _bounds(info: FieldInfo) -> tuple[int | None, int | None, int | None]:
    """Inclusive bounds and step of a whole number."""
    lowest = highest = step = None
    for rule in info.metadata:
        if getattr(rule, "ge", None) is not None:
            lowest = rule.ge
        if getattr(rule, "gt", None) is not None:
            lowest = rule.gt + 1
        if getattr(rule, "le", None) is not None:
            highest = rule.le
        if getattr(rule, "lt", None) is not None:
            highest = rule.lt - 1
        if getattr(rule, "multiple_of", None) is not None:
            step = rule.multiple_of
    return lowest, highest, step
