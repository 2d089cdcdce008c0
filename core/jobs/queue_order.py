"""The order in which runs that wait are started, and whoever serves the queue."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

from core.config.load import read_site
from core.errors import LabError, UsageError
from core.jobs.accounts import service_folder
from core.jobs.engines.choose import elsewhere_of, observed_status
from core.jobs.exit_reason import in_words
from core.jobs.queue import Queue
from core.jobs.request import keep_request, read_request
from core.jobs.service import check_priority
from core.jobs.serving import is_served
from core.jobs.start_supervisor import LOG_NAME, start_supervisor
from core.jobs.turns import FAIR
from core.runs.provenance import current_user
from core.runs.rights import require_right
from core.runs.run import Run
from core.runs.store import RunStore

MOVES = ("first", "up", "down", "last")
START_TIMEOUT_S = 20.0


def move_run(store: RunStore, run_id: str, *, to: str, by: str = "") -> None:
    """Move a waiting run among those of its priority: first, up, down, last. Raises LabError when it does not wait.

    Where the queue is fair, among those of its owner: between persons their use decides.
    """
    if to not in MOVES:
        raise UsageError(f"--to: must be one of {', '.join(MOVES)}, got '{to}'")
    run = store.get(run_id)
    require_right(run.info.owner, by, f"move run {run.id}")
    if elsewhere := elsewhere_of(store):
        elsewhere.move(run, to)
    elif not _moved(store, run, to):
        raise LabError(f"run {run.id} is not queued: it is {in_words(observed_status(run))}")
    run.put_on_record("moved in the queue", by=by or current_user(), to=to)


def _moved(store: RunStore, run: Run, to: str) -> bool:
    """Among all that wait, or, where shares decide between persons, among the runs of its own."""
    site, _ = read_site()
    owner = site.account_of(run.info.owner)
    is_by_arrival = site.queue_order != FAIR
    queue = Queue(store.root)
    return queue.move(run.id, to, among=lambda name: is_by_arrival or site.account_of(name) == owner)


def set_priority(store: RunStore, run_id: str, priority: int, *, by: str = "") -> None:
    """Change a waiting run's priority, -10 to 10; higher goes first. Raises LabError when it does not wait."""
    check_priority(priority)
    run = store.get(run_id)
    require_right(run.info.owner, by, f"prioritize run {run.id}")
    if elsewhere := elsewhere_of(store):
        elsewhere.set_priority(run, priority)
    elif not Queue(store.root).set_priority(run.id, priority):
        raise LabError(f"run {run.id} is not queued: it is {in_words(observed_status(run))}")
    with contextlib.suppress(LabError):  # else it holds until the queue is lost
        keep_request(run, read_request(run).with_changes({"priority": priority}))
    run.put_on_record("priority changed", by=by or current_user(), priority=priority)


def ensure_supervisor(store: RunStore) -> None:
    """Have a supervisor where there is something to supervise, and where this account may. Cheap: call it whenever
    somebody looks."""
    if elsewhere := elsewhere_of(store):
        elsewhere.tend()
        return
    queue = Queue(store.root)
    if queue.exists() and os.access(queue.folder, os.W_OK | os.X_OK):
        start_supervisor(store)


def wait_until_taken(store: RunStore, runs: Sequence[Run], timeout_s: float = START_TIMEOUT_S) -> None:
    """Return once a supervisor lives that will start the runs. Raises LabError when none stays alive."""
    if elsewhere_of(store):  # what took them in serves them
        return
    folder = service_folder(Queue(store.root).folder)
    deadline = time.monotonic() + timeout_s
    while not is_served(folder):
        if not any(run.status().state.is_active for run in runs):
            return
        if time.monotonic() >= deadline:
            raise LabError(f"run {runs[0].id}: it waits, but no supervisor starts", f"see {folder / LOG_NAME}")
        time.sleep(0.05)
