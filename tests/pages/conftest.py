"""A lab of its own for every test: runs, cache and data under one temporary folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.runs.store import RunStore

ROOT = Path(__file__).resolve().parents[2]
OpenPage = Callable[..., AppTest]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """The runs folder that the screens look at; empty at first."""
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # Home.py sets it; put back after the test
    st.cache_data.clear()
    st.cache_resource.clear()
    return RunStore(tmp_path / "runs")


@pytest.fixture
def open_page(store: RunStore) -> OpenPage:
    """open_page("runs", run=id): the page as a browser would get it, through Home.py and its navigation."""

    def _open(page: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "lab" / "Home.py"), default_timeout=30)
        app.user = {}
        app.switch_page(f"../pages/{page}.py")
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return _open
