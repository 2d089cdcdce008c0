"""A process that never outlives the one that started it, however that one ends: the kernel kills it.

The child's standard input is a pipe of which this process alone holds the other end. When that end closes, which every
kind of death does, the kernel sends SIGKILL to the child and all of its process group. `PR_SET_PDEATHSIG` would be sent
as soon as the *thread* ends that started the child.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

GONE_S = 3.0  # a killed process is gone within milliseconds, but for one that waits for a dead disk


@contextlib.contextmanager
def bound_child(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start it as `subprocess.Popen` does, in a session of its own; whatever of it is left at the end is killed.

    It is waited for, but not for ever: what no signal reaches, such as a reader of a disk that is gone, is left alone.
    options: those of Popen but stdin and start_new_session. Raises OSError when it cannot be started.
    """
    theirs, ours = (os.fdopen(end, mode, 0) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    with theirs, ours, contextlib.ExitStack() as streams:
        child = subprocess.Popen(command, stdin=theirs, start_new_session=True, **options)
        for stream in filter(None, (child.stdout, child.stderr)):
            streams.enter_context(stream)
        fcntl.fcntl(theirs, fcntl.F_SETOWN, -child.pid)  # negative: its whole group
        fcntl.fcntl(theirs, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(theirs, fcntl.F_SETFL, fcntl.fcntl(theirs, fcntl.F_GETFL) | os.O_ASYNC)
        try:
            yield child
        finally:
            ours.close()
            if not _is_gone(child):  # it may have told the kernel to send nothing
                child.kill()
                _is_gone(child)


def _is_gone(child: subprocess.Popen[Any]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GONE_S)
    return child.returncode is not None
