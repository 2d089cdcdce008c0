"""Processes that share a training on a CPU: forked when everything is imported, and tied to the life of the first.

Each computes its share of every batch on a core of its own, and they average their gradients through gloo. On two cores
two processes take more steps than one with two threads (docs/log.md). A fork costs milliseconds where torchrun would
import PyTorch once more per process, and the run stays one process for whoever watches, stops or kills it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from datetime import timedelta

from torch.distributed import TCPStore, init_process_group  # type: ignore[attr-defined]

_SET_PARENT_DEATH_SIGNAL = 1
_PATIENCE = timedelta(days=30)  # the others wait while the first downloads a dataset; a dead peer is noticed at once


def become_ranks(count: int) -> None:
    """Fork this process into `count` ranks that reach each other; returns in each of them. Main thread only.

    The caller stays rank 0. No tensor may have been computed before: PyTorch's threads do not survive a fork.
    Accelerate finds the group that is made here. Addresses are those of this machine's loopback device.
    """
    listener = socket.create_server(("127.0.0.1", 0))  # bound before the fork: nobody else can take the port
    port, first, rank = listener.getsockname()[1], os.getpid(), 0
    for other in range(1, count):
        if os.fork() == 0:
            rank = other
            _die_with(first)
            break
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
    init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=_PATIENCE)


def _die_with(first: int) -> None:
    """The kernel kills this process when the one that forked it ends, however that one ends."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != first:  # it ended before the kernel knew
        os._exit(1)
