"""The views of a page: one at a time, named in the URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from lab.widgets.choice import choose

View = TypeVar("View")


def choose_view(views: Mapping[str, View]) -> View:
    """What stands under the name that is chosen, at first under the first; the name is `view` in the URL.

    Only the view that is looked at is computed.
    """
    return views[choose("View", list(views), key="view", label_shown=False)]
