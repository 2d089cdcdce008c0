"""The short form of benchmarks.kills: supervisor, shim, worker and their pairs, each killed while runs train."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import kills


@pytest.mark.slow
def test_whatever_is_killed_nothing_is_lost_doubled_or_left(tmp_path: Path) -> None:
    with kills.opened(tmp_path, steps=60, serves=False) as lab:
        found = kills.measure(lab, 9, ("supervisor", "shim", "worker"))
    assert found["wrong"] == []
    assert found["kills"] >= 9 and len(found["killed"]) == 6
