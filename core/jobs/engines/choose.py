"""Which engine serves a runs folder: the one place that says it. Today it is always this machine's own."""

from __future__ import annotations

from core.jobs.engines.local import LocalEngine
from core.jobs.engines.protocol import Engine
from core.runs.run import Run, Status
from core.runs.store import RunStore


def engine_for(store: RunStore) -> Engine:
    """The engine of this runs folder."""
    return LocalEngine(store)


def observed_status(run: Run) -> Status:
    """What is believed of a run: what its status.json claims, checked by the engine that runs it."""
    return engine_for(RunStore(run.folder.parent)).observe(run).status
