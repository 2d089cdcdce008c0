"""The charts of a page in Streamlit's test harness, as the browser gets them."""

from __future__ import annotations

import json
from typing import Any

from streamlit.testing.v1 import AppTest


def figures_of(app: AppTest) -> list[dict[str, Any]]:
    """Data and layout of every chart on the page, in order; arrays are Plotly's {"dtype", "bdata"}."""
    components = [element.proto for element in app.get("bidi_component")]
    return [json.loads(json.loads(each.json)["figure"]) for each in components if each.component_name == "lab_chart"]
