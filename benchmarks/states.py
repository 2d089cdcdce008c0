"""The lab in the states that its pages are designed for, each served from a folder of its own."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.monitor_scale import make_runs
from benchmarks.server import HOME, ROOT, Server
from core.runs.run import Run
from core.runs.store import RunStore
from tests.pages.run_folders import ended_badly, finished, running

FOLDERS = ("runs", "cache", "gallery", "imports", "models")
PAGES = {
    "overview": "",
    "train": "train",
    "runs": "runs",
    "generate": "generate?run=model:mnist-demo&steps=10",
    "data": "data",
    "schedulers": "schedulers",
    "latents": "latents",
    "evaluate": "evaluate",
    "machine": "machine",
}
STATES: dict[str, Callable[[RunStore], list[Run]]] = {
    "empty": lambda store: [],
    "one": lambda store: finished(store)[-1:],
    "live": lambda store: running(store)[1:2],
    "failed": lambda store: ended_badly(store)[:1],
    "many": lambda store: make_runs(store.root, 60, 200)[:0],
}


@contextlib.contextmanager
def lab_in(state: str, checkout: Path = ROOT) -> Iterator[tuple[Server, dict[str, str]]]:
    """(server of a checkout on a lab in this state, path of each page by name); `run` is that of its run."""
    with tempfile.TemporaryDirectory(prefix=f"lab-{state}-") as name:
        folder = Path(name)
        paths = dict(PAGES)
        for run in STATES[state](RunStore(folder / "runs")):
            paths["run"] = f"runs?run={run.id}"
        own = {f"LAB_{each.upper()}": str(folder / each) for each in FOLDERS}
        server = Server(folder, {**os.environ, **own, "PYTHONPATH": str(checkout)}, checkout / HOME.relative_to(ROOT))
        server.start()
        try:
            yield server, paths
        finally:
            server.kill()
