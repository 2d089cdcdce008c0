"""A pipe in the place of a lock or of kept arrays holds nobody up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.npz_file import read_npz
from core.runs.lock import is_locked, try_lock


def ends(work: Callable[[], object]) -> bool:
    """Whether it comes back; a minute is far more than it needs on any machine."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    return not thread.is_alive()


@pytest.mark.parametrize("look", [is_locked, try_lock, read_npz])
def test_a_pipe_is_looked_at_without_waiting(look: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    assert ends(lambda: look(tmp_path / "lock"))


def test_a_lock_that_is_held_is_seen_and_a_free_one_too(tmp_path: Path) -> None:
    held = try_lock(tmp_path / "lock")
    assert held is not None and is_locked(tmp_path / "lock") and try_lock(tmp_path / "lock") is None
    held.release()
    assert not is_locked(tmp_path / "lock")
