"""A row of buttons of which one is chosen, kept in the URL where whoever gets the link shall see the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

Option = TypeVar("Option")


def choose(
    label: str,
    options: Mapping[Option, str] | Sequence[Option],
    *,
    key: str,
    default: Option | None = None,
    cell: DeltaGenerator | None = None,
    words: Callable[[Option], str] | None = None,
    in_url: bool = True,
    label_shown: bool = True,
    help: str | None = None,
) -> Option:
    """The chosen option, at first `default` or the first one. A mapping's values are the words on its buttons."""
    named = options.__getitem__ if isinstance(options, Mapping) else words or str
    chosen = (cell or st).segmented_control(
        label,
        list(options),
        default=next(iter(options)) if default is None else default,
        required=True,
        format_func=named,
        key=key,
        bind="query-params" if in_url else None,
        label_visibility="visible" if label_shown else "collapsed",
        help=help,
    )
    return cast(Option, chosen)
