"""Processes that share a training end together, whatever the others wait for."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

RANK = """
import os, signal, sys, threading
from core.machine.peers import Peers
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
peers = Peers([int(sys.argv[1])], int(sys.argv[2]), patience_s=0.0)
print("watching", flush=True)
if sys.argv[3] == "released":
    peers.release()
    print("released", flush=True)
while not ended.wait(0.05):
    pass
print("saved", flush=True)
"""


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def rank(pid: int, launcher: int, way: str = "tied") -> subprocess.Popen[str]:
    words = [sys.executable, "-c", RANK, str(pid), str(launcher), way]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "watching\n"
    return process


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def test_a_rank_that_waits_for_a_killed_one_ends(other: subprocess.Popen[bytes]) -> None:
    mine = rank(other.pid, 1)
    other.kill()
    code, output, errors = end_of(mine)
    assert (code, output) == (1, "")
    assert f"process {other.pid}, another rank of this training, has ended" in errors


def test_a_rank_saves_and_ends_when_its_launcher_is_killed(other: subprocess.Popen[bytes]) -> None:
    mine = rank(1, other.pid)
    other.kill()
    code, output, errors = end_of(mine)
    assert (code, output) == (0, "saved\n")
    assert f"the process that launched this training, {other.pid}, is gone" in errors


def test_a_rank_whose_work_is_over_outlives_the_others(other: subprocess.Popen[bytes]) -> None:
    mine = rank(other.pid, 1, "released")
    assert mine.stdout and mine.stdout.readline() == "released\n"
    other.kill()
    other.wait()
    mine.send_signal(signal.SIGTERM)
    assert end_of(mine)[:2] == (0, "saved\n")
