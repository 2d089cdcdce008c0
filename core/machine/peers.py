"""The processes that share one piece of work on this machine, and the one that launched them: none outlives the others.

A collective over NCCL may wait forever for a process that was killed, and a launcher that was killed tells nobody.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
from collections.abc import Iterable

logger = logging.getLogger(__name__)

PATIENCE_S = 3.0  # in which a process that misses another may end by itself, and say why

_peers: Peers | None = None


def watch(pids: Iterable[int], launcher: int) -> None:
    """End this process soon after another of `pids` has, and ask it to stop when `launcher` has, until `release`.

    A process that is gone already counts as one that ends. Where the kernel tells of none (before Linux 5.3), nothing
    is watched.
    """
    global _peers
    release()
    _peers = Peers(pids, launcher)


def release() -> None:
    """The work is over, or failed: from now on each process may end when it likes."""
    if _peers is not None:
        _peers.release()


class Peers:
    """What `watch` starts: a thread that waits for the end of any of the processes."""

    def __init__(self, pids: Iterable[int], launcher: int, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._released, self._wake = os.pipe2(os.O_CLOEXEC)
        thread = threading.Thread(target=self._watch, args=(tuple(pids), launcher), name="peers", daemon=True)
        thread.start()

    def release(self) -> None:
        """See `release`."""
        os.write(self._wake, b"!")

    def _watch(self, pids: tuple[int, ...], launcher: int) -> None:
        poll = select.poll()
        poll.register(self._released, select.POLLIN)
        opened: dict[int, int] = {}
        for pid in (*pids, launcher):
            try:
                opened[os.pidfd_open(pid)] = pid
            except ProcessLookupError:
                self._miss(pid, launcher)
            except OSError as error:
                logger.warning("process %s is not watched: %s", pid, error.strerror)
        for descriptor in opened:
            poll.register(descriptor, select.POLLIN)
        while ready := [descriptor for descriptor, _ in poll.poll()]:
            if self._released in ready:
                return
            for descriptor in ready:
                poll.unregister(descriptor)
                self._miss(opened[descriptor], launcher)

    def _miss(self, pid: int, launcher: int) -> None:
        if pid == launcher:
            logger.error("the process that launched this training, %s, is gone: it saves and ends", pid)
            os.kill(os.getpid(), signal.SIGTERM)
        elif not select.select([self._released], [], [], self._patience_s)[0]:
            logger.error("process %s, another rank of this training, has ended: this one ends too", pid)
            os._exit(1)
