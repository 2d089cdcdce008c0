"""How much memory there is, by cgroups of both versions that a test makes up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from core.machine.memory import RECORDING_VARIABLE, read_memory, resident_by_run

MB = 2**20


def fake_kernel(folder: Path, membership: str, files: dict[str, str]) -> dict[str, Path]:
    """/proc and /sys/fs/cgroup with these files."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(membership)
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {"proc": folder / "proc", "cgroups": folder / "cgroup"}


V1 = "4:memory:/jobs/ana\n3:cpu,cpuacct:/\n0::/\n"
V2 = "0::/user.slice/ana\n"
NONE = "9223372036854771712"
CASES = {
    "version 1": (
        V1,
        {
            "memory/jobs/ana/memory.limit_in_bytes": f"{600 * MB}\n",
            "memory/jobs/ana/memory.usage_in_bytes": f"{500 * MB}\n",
            "memory/jobs/ana/memory.stat": f"cache 1\ntotal_inactive_file {100 * MB}\n",
            "memory/jobs/memory.limit_in_bytes": NONE,
            "memory/jobs/memory.usage_in_bytes": "7",
        },
        (600, 200),
    ),
    "version 2": (
        V2,
        {
            "user.slice/ana/memory.max": "max\n",
            "user.slice/ana/memory.current": f"{300 * MB}\n",
            "user.slice/memory.max": f"{700 * MB}\n",
            "user.slice/memory.current": f"{650 * MB}\n",
            "user.slice/memory.stat": f"anon 5\ninactive_file {20 * MB}\n",
        },
        (700, 70),
    ),
    "a container that sees the root alone": (
        "0::/../../host/path\n",
        {"memory.max": f"{512 * MB}\n", "memory.current": f"{600 * MB}\n"},
        (512, 0),
    ),
    "both versions": (
        V1,
        {"memory/memory.limit_in_bytes": f"{400 * MB}", "memory/memory.usage_in_bytes": "0", "unified/x": ""},
        (400, 400),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_narrowest_cgroup_counts(tmp_path: Path, name: str) -> None:
    membership, files, (total, free) = CASES[name]
    memory = read_memory(**fake_kernel(tmp_path, membership, files))
    assert (memory.total, memory.free) == (total * MB, free * MB)


@pytest.mark.parametrize("text", ["max", "", "many"])
def test_without_a_limit_it_is_the_machine(tmp_path: Path, text: str) -> None:
    files = {"user.slice/ana/memory.max": text, "user.slice/ana/memory.current": "1"}
    memory = read_memory(**fake_kernel(tmp_path, V2, files))
    assert memory.total == psutil.virtual_memory().total
    assert 0 < memory.free <= memory.total


def test_this_machine_tells() -> None:
    memory = read_memory()
    assert 0 < memory.free <= memory.total <= psutil.virtual_memory().total


def test_a_recording_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "memory.json"
    path.write_text(json.dumps({"total": 8 * MB, "free": 3 * MB}))
    monkeypatch.setenv(RECORDING_VARIABLE, str(path))
    assert (read_memory().total, read_memory().free) == (8 * MB, 3 * MB)


def test_what_a_run_holds_is_seen_by_its_token() -> None:
    code = "kept = b'x' * 30_000_000; print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "LAB_ATTEMPT": "20260101-000000-vae-aaaa.1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout and child.stdout.readline() == "ready\n"
        assert resident_by_run()["20260101-000000-vae-aaaa"] > 30_000_000
        child.communicate("\n")
