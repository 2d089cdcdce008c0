"""A supervisor inside the process of the tests: it needs no start, and nobody waits between two of its looks."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Sequence

from core.jobs.fork_server import ForkServer
from core.jobs.queue import Queue
from core.jobs.serving import LOCK_NAME
from core.jobs.supervisor import Supervisor
from core.runs.lock import try_lock
from core.runs.store import RunStore

TICK_S = 0.05
logger = logging.getLogger(__name__)


class SupervisorThread:
    """Ticks until it is closed. worker: the command line of trainings."""

    def __init__(self, store: RunStore, worker: Sequence[str], forks: ForkServer | None = None) -> None:
        folder = Queue(store.root).folder
        folder.mkdir(parents=True, exist_ok=True)
        lock = try_lock(folder / LOCK_NAME)
        assert lock is not None, "a supervisor lives"
        self.lock = lock
        self.supervisor = Supervisor(store, lock, worker=worker, forks=forks)
        self.supervisor.upgrade_at = float("inf")  # this process never goes on as newer code
        self.supervisor.write_facts()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while not self.is_over.wait(TICK_S):
            try:
                self.supervisor.tick()
            except Exception:
                logger.exception("a tick failed")
        self.supervisor.close()

    def close(self) -> list[subprocess.Popen[bytes]]:
        """The shims that it started, to be waited for once they are ended."""
        self.is_over.set()
        self.thread.join()
        self.lock.release()
        return self.supervisor.children
