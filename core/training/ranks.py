"""Processes that share a training on a CPU: forked when everything is imported, and tied to the life of the first.

Each computes its share of every batch on a core of its own, and they average their gradients in memory that they share;
the rare rest goes through gloo. On two cores two processes take more steps than one with two threads (docs/log.md). A
fork costs milliseconds where torchrun would import PyTorch once more per process, and the run stays one process for
whoever watches, stops or kills it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import time
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

import torch
from torch.distributed import TCPStore, init_process_group  # type: ignore[attr-defined]

from core.errors import RankLost

_SET_PARENT_DEATH_SIGNAL = 1
_SPIN_S = (
    0.002  # how long a rank asks again and again for the others before it sleeps: waking up takes as long as a layer
)
PATIENCE = timedelta(days=30)  # the others wait while the first downloads or saves; a dead peer is noticed at once


class SharedMean:
    """The mean of a vector over the ranks, computed by each of them in memory that all of them see.

    Each rank adds the same rows in the same order, so all of them get the same bits. Made before the fork.
    """

    def __init__(self, count: int) -> None:
        fork = get_context("fork")
        self.rank = 0
        self.others: list[int] = []  # process ids, of the first rank only: the others end with it
        self._arrived = [[fork.Semaphore(0) for _ in range(count)] for _ in range(count)]
        self._memory = os.memfd_create("ranks", os.MFD_CLOEXEC)
        self._rows = torch.empty(2, count, 0)
        self._turn = 0

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """vector (n,) float32, of equal length in all ranks → (n,). Raises RankLost when another rank has ended."""
        if self._rows.shape[-1] < len(vector):
            self._make_room(len(vector))
        rows = self._rows[self._turn, :, : len(vector)]
        self._turn = 1 - self._turn  # the others may still read the rows of the call before
        rows[self.rank] = vector
        self._meet()
        return rows.mean(0)

    @property
    def count(self) -> int:
        """How many ranks there are."""
        return len(self._arrived)

    def _make_room(self, length: int) -> None:
        count = self.count
        self._meet()  # all of them ask for the same room; nobody reads the rows any more
        os.ftruncate(self._memory, 2 * count * length * 4)
        memory = mmap.mmap(self._memory, 2 * count * length * 4)
        self._rows = torch.frombuffer(memory, dtype=torch.float32).view(2, count, length)

    def _meet(self) -> None:
        mine = self._arrived[self.rank]
        for other, signals in enumerate(self._arrived):
            if other != self.rank:
                signals[self.rank].release()
        for other, signal_of_other in enumerate(mine):
            if other != self.rank:
                self._await(signal_of_other)

    def _await(self, arrived: Any) -> None:
        until = time.monotonic() + _SPIN_S
        while time.monotonic() < until:
            if arrived.acquire(block=False):
                return
        while not arrived.acquire(timeout=0.2):
            for process in self.others:
                if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    raise RankLost(f"process {process}, another rank of this training, has ended")


_shared_mean: SharedMean | None = None


def shared_mean() -> SharedMean | None:
    """How the ranks of this training average, where `become_ranks` made them; else None."""
    return _shared_mean


def become_ranks(count: int) -> None:
    """Fork this process into `count` ranks that reach each other; returns in each of them. Main thread only.

    The caller stays rank 0. No tensor may have been computed before: PyTorch's threads do not survive a fork.
    Accelerate finds the group that is made here. Addresses are those of this machine's loopback device.
    """
    listener = socket.create_server(("127.0.0.1", 0))  # bound before the fork: nobody else can take the port
    port, first, rank = listener.getsockname()[1], os.getpid(), 0
    global _shared_mean
    mean = _shared_mean = SharedMean(count)
    for other in range(1, count):
        child = os.fork()
        if child == 0:
            rank = mean.rank = other
            mean.others.clear()
            _die_with(first)
            break
        mean.others.append(child)
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(count),
        LOCAL_WORLD_SIZE=str(count),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        ACCELERATE_USE_CPU="true",
        GLOO_SOCKET_IFNAME="lo",
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # else Accelerate sets the threads itself, over machine.num_threads
    if rank == 0:
        descriptor = listener.detach()
        store = TCPStore("127.0.0.1", port, count, True, master_listen_fd=descriptor)
    else:
        listener.close()
        store = TCPStore("127.0.0.1", port, count, False)
    init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=PATIENCE)


def _die_with(first: int) -> None:
    """The kernel kills this process when the one that forked it ends, however that one ends."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != first:  # it ended before the kernel knew
        os._exit(1)
