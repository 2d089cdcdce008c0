"""What this server's process may take, and when it gives way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import streamlit as st

from core.config.site import SiteSettings
from core.errors import LabError
from core.machine.memory import RECORDING_VARIABLE
from lab.services import computing


@pytest.mark.parametrize(("setting", "budget"), [(3.0, 3e9), (0.0, 4e9)])
def test_its_memory_is_what_the_site_says_or_half_of_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: float, budget: float
) -> None:
    (tmp_path / "memory.json").write_text(json.dumps({"total": 8_000_000_000, "free": 1}))
    monkeypatch.setenv(RECORDING_VARIABLE, str(tmp_path / "memory.json"))
    monkeypatch.setattr(computing, "current_site", lambda: SiteSettings(compute_memory_gb=setting))
    st.cache_resource.clear()
    assert computing.compute().budget_bytes == budget
    st.cache_resource.clear()


def test_a_queue_that_cannot_be_read_takes_no_drawing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(store: object) -> bool:
        raise LabError("the queue is damaged")

    monkeypatch.setattr(computing, "a_run_waits_for_drawings", unreadable)
    st.cache_data.clear()
    assert computing.a_run_waits() is False
    monkeypatch.setattr(computing, "a_run_waits_for_drawings", lambda store: True)
    st.cache_data.clear()
    assert computing.a_run_waits() is True
    st.cache_data.clear()
