"""One press of a button starts one thing: whoever comes with the same token again gets what the first one made."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.errors import RunBusy
from core.jobs.engines.choose import elsewhere_of
from core.jobs.queue import Queue
from core.runs.run import Run
from core.runs.store import RunStore

PATIENCE_S = 60.0


def start_once(store: RunStore, token: str, start: Callable[[], list[Run]]) -> list[Run]:
    """What `start` returns; of several with one token one starts, and the others wait for its runs.

    token: of one press; '' for none. A start that fails frees it. Raises RunBusy when the other takes too long.
    """
    if not token:
        return start()
    queue = elsewhere_of(store) or Queue(store.root)
    deadline = time.monotonic() + PATIENCE_S
    while (made := queue.once(token)) is not None:
        if made:
            return [store.get(run_id) for run_id in made]
        if time.monotonic() >= deadline:
            raise RunBusy("this is being started already", "look at the runs before you start another")
        time.sleep(0.1)
    runs: list[Run] = []
    try:
        runs = start()
    finally:
        queue.done(token, [run.id for run in runs])
    return runs
