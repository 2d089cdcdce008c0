"""Values over a socket between two processes that trust each other: one pickle each, its arrays behind it uncopied."""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

import numpy as np

from core.errors import LabError
from core.words import size

MOST_BYTES = 512 * 2**20  # of one value: it takes that much on both sides


class HungUp(Exception):
    """The other side wants no more. Not an OSError: whatever computes may raise those too."""


def send(sock: socket.socket, value: Any) -> None:
    """On the wire: the number of parts, their sizes, a pickle (protocol 5), the arrays.

    Raises HungUp, LabError for more than MOST_BYTES.
    """
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts: list[Any] = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    total = sum(part.nbytes for part in parts)
    if total > MOST_BYTES:
        raise LabError(
            f"this makes {size(total)}, and a screen takes at most {size(MOST_BYTES)} at once",
            "ask for fewer images or steps",
        )
    try:
        for part in (struct.pack(f"<I{len(parts)}Q", len(parts), *(part.nbytes for part in parts)), *parts):
            sock.sendall(part)
    except OSError:
        raise HungUp from None


def receive(sock: socket.socket) -> Any:
    """The next value; its arrays can be written to. Raises HungUp when the other side died or hung up."""
    (count,) = struct.unpack("<I", _exactly(sock, 4))
    head, *buffers = [_exactly(sock, size) for size in struct.unpack(f"<{count}Q", _exactly(sock, 8 * count))]
    return pickle.loads(head, buffers=buffers)  # noqa: S301 - from a process that this one started, or that started it


def has_hung_up(sock: socket.socket) -> bool:
    """Whether the other side closed its end; does not wait."""
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _exactly(sock: socket.socket, size: int) -> memoryview:
    rest = whole = memoryview(np.empty(size, np.uint8).data)  # bytearray(size) would write zeros first
    while len(rest):
        try:
            got = sock.recv_into(rest)
        except OSError:
            got = 0
        if not got:
            raise HungUp
        rest = rest[got:]
    return whole
