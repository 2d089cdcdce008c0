"""Every page in every state of the lab: nothing raises, and nothing that a person typed acts as Markdown."""

from __future__ import annotations

import re
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.runs.store import RunStore
from tests.pages.conftest import STATES, MakeLab, OpenPage
from tests.pages.run_folders import HOSTILE_NAMES, LABS, make_run

PAGES = ("overview", "train", "runs", "machine", "data", "schedulers", "latents", "evaluate", "compare", "generate")


def markdown_of(app: AppTest) -> list[str]:
    """Everything on the screen that Streamlit reads as Markdown."""
    texts: list[str] = []
    for kind in ("title", "header", "subheader", "markdown", "caption", "error", "info", "warning", "toast"):
        texts += [element.value for element in app.get(kind)]
    for kind in ("button", "toggle", "selectbox", "expander", "tab", "text_input", "number_input", "progress", "pills"):
        for element in app.get(kind):
            texts += [str(getattr(element, "label", "")), str(getattr(element, "text", ""))]
    for group in app.get("pills"):
        texts += [str(option) for option in _options(group)]
    return texts


def _options(group: Any) -> list[str]:
    return [getattr(option, "content", option) for option in getattr(group, "options", [])]


ACTIVE_MARKDOWN = (
    "![pixel]",
    "<img",
    "[link](",
    r"$\href",
    ":violet[colour]",
    ":material/skull",
    ":streamlit",
    ":smile",
    "~~gone",
    "`hostile",
    "<b>",
    "http://",
    "www.",
    "@example",
    "->",
)


def active_markdown(app: AppTest) -> list[str]:
    """Signs of the hostile names that reached the screen without a backslash before them."""
    texts = "\n".join(markdown_of(app))
    return [sign for sign in ACTIVE_MARKDOWN if re.search(r"(?<!\\)" + re.escape(sign), texts)]


@pytest.mark.usefixtures("known_digits")
@pytest.mark.parametrize("make_lab", STATES)
@pytest.mark.parametrize("page", PAGES)
def test_page_opens_in_every_state_of_the_lab_and_no_name_is_markdown(
    page: str, make_lab: MakeLab, store: RunStore, open_page: OpenPage
) -> None:
    make_lab(store)
    app = open_page(page)
    assert not app.exception
    assert app.title
    assert active_markdown(app) == []


SIZES = {"running": 3, "ended badly": 3, "broken": 8, "hostile": len(HOSTILE_NAMES)}  # each run differs in kind or file


@pytest.mark.parametrize(("lab", "place"), [(lab, place) for lab, size in SIZES.items() for place in range(size)])
def test_every_run_has_a_page_and_its_name_is_plain_text(
    lab: str, place: int, store: RunStore, open_page: OpenPage
) -> None:
    app = open_page("runs", run=LABS[lab](store)[place].id)
    assert not app.exception
    assert app.title
    assert active_markdown(app) == []


@pytest.mark.parametrize("text", HOSTILE_NAMES)
def test_a_link_with_a_hostile_run_id_is_refused_in_plain_words(
    text: str, store: RunStore, open_page: OpenPage
) -> None:
    make_run(store)
    app = open_page("runs", run=text)
    assert not app.exception
    assert active_markdown(app) == []


def test_a_link_with_every_hostile_id_at_once_is_refused_where_models_draw(open_page: OpenPage) -> None:
    app = open_page("generate", run=" ".join(HOSTILE_NAMES))
    assert not app.exception
    assert active_markdown(app) == []


def test_planted_markdown_is_caught() -> None:
    page = "import streamlit as st\nst.pills('x', ['![pixel](x)'])\nst.error('`hostile`')"
    assert active_markdown(AppTest.from_string(page, default_timeout=600).run()) == ["![pixel]", "`hostile"]
