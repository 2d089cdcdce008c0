"""The process that computes, beside a real server: memory, death in a drawing, too little memory, the last visitor."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.server import Server
from benchmarks.server_memory import PATIENCE_S, broken, compute_pid, measure
from benchmarks.visitors import Visitor
from tests.browser.conftest import ended_after

pytestmark = pytest.mark.browser

PAGE = """
import streamlit as st
from core.compute.process import Compute
from lab.services.computing import a_browser_is_connected
from tests.core.compute import toys

@st.cache_resource
def compute():
    return Compute(budget_bytes=1e9, idle_s=0.5, is_watched=a_browser_is_connected)

*_, last = compute().remote(toys.WHO)
st.error(last.value)
"""


def in_a_thread(work: Callable[..., Any], *given: Any) -> Any:
    """What it returns: in this thread an earlier test's browser may still keep its event loop."""
    with ThreadPoolExecutor(max_workers=1) as own:
        return own.submit(work, *given).result()


def test_the_server_stays_small_and_outlives_what_computes_for_it(lab_folders: Path, trained_lab: Path) -> None:
    shutil.copytree(trained_lab, lab_folders, dirs_exist_ok=True)
    found = in_a_thread(measure, lab_folders, 1)
    assert broken(found, PATIENCE_S) == []  # fifteen seconds are the program's matter, on a quiet machine


@pytest.fixture
def page_server(lab_folders: Path) -> Iterator[Server]:
    (lab_folders / "page.py").write_text(PAGE)
    yield from ended_after(Server(lab_folders, script=lab_folders / "page.py"))


def test_it_lives_while_a_browser_is_connected_and_not_much_longer(page_server: Server) -> None:
    async def look() -> int:
        async with Visitor(page_server.address) as visitor:
            await visitor.open("")
            (pid,) = map(int, visitor.alerts)
            await visitor.stay(1.5)  # three times as long as it may be idle
            assert compute_pid(page_server) == pid
            return pid

    pid = in_a_thread(asyncio.run, look())
    while psutil.pid_exists(pid):  # the suite's own time limit ends what never does
        time.sleep(0.05)
    assert page_server.is_alive()
