"""Which engine serves a runs folder: the one place that says it, by `site.engine`."""

from __future__ import annotations

from core.config.load import read_site
from core.jobs.engines.local import LocalEngine
from core.jobs.engines.protocol import Elsewhere, Engine
from core.jobs.engines.slurm import SlurmEngine
from core.jobs.request import OF_A_CLUSTER
from core.runs.run import Run, Status
from core.runs.store import RunStore


def engine_for(store: RunStore) -> Engine:
    """The engine of this runs folder."""
    site, _ = read_site()
    if site.engine == "slurm":
        return SlurmEngine(store, site.slurm)
    return LocalEngine(store)


def elsewhere_of(store: RunStore) -> Elsewhere | None:
    """The queue that another program keeps, where runs start on other machines; None where it is this machine's."""
    engine = engine_for(store)
    return engine if isinstance(engine, SlurmEngine) else None


def request_fields(store: RunStore) -> tuple[str, ...]:
    """Fields of a `JobRequest` that this folder's engine takes and others refuse."""
    return OF_A_CLUSTER if elsewhere_of(store) else ("preemptible",)


def observed_status(run: Run) -> Status:
    """What is believed of a run: what its status.json claims, checked by the engine that runs it."""
    return engine_for(RunStore(run.folder.parent)).observe(run).status
