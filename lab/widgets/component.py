"""The browser's half of a widget: its HTML, and the CSS and JavaScript that lie beside its module."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

FRAMED = Path(__file__).with_name("framed")


def component(module: str, name: str, html: str, *, scripts: Sequence[str | Path] = (), **options: Any) -> Any:
    """Register a component; what `st.components.v2.component` returns.

    module: `__file__` of the widget; its CSS has the same name. scripts: names beside it, in their order, which become
    one module; its own name by default. FRAMED among them reads what `lab.widgets.sprites.framed` packed.
    """
    beside = Path(module)
    parts = scripts or (beside.stem,)
    return st.components.v2.component(
        name,
        html=html,
        css=beside.with_suffix(".css").read_text(),
        js="".join((beside.parent / part).with_suffix(".js").read_text() for part in parts),
        **options,
    )
