"""A training in an empty lab, timed from outside: wall-clock, the processor time of all it starts, and of others."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.server import ROOT, end_supervisor
from core.config.load import read_site
from core.errors import LabError
from core.runs.run import Run
from core.runs.store import RunStore

PR_SET_CHILD_SUBREAPER = 36


def trained(entry: str, seed: int, dataset: str, changes: Sequence[str], work: Path) -> tuple[Run, dict[str, Any]]:
    """Run `train all` in a lab whose folders are new, as anyone would, and time it from outside.

    work: an empty folder for its runs and its cache. cpu_s: of the command and every process it started, to the end of
    the last one; other_cpu_s: what everything else on the machine used meanwhile. Raises LabError when it fails.
    """
    preset, _, checkout = entry.partition("@")
    root, site = Path(checkout).resolve() if checkout else ROOT, read_site()[0]
    folders = {
        "LAB_RUNS": work / "runs",
        "LAB_CACHE": work / "cache",
        "LAB_DATA": site.data,
        "LAB_IMPORTS": site.imports,
    }
    others = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LAB_PROJECT")}
    options = [f"seed={seed}", f"data.name={dataset}", *changes]
    command = [sys.executable, "-m", "core", "train", "all", "--preset", preset]
    command += [text for option in options for text in ("--set", option)]
    load, busy, began_at, began = os.getloadavg(), _busy_s(), time.time(), time.monotonic()
    with own_children() as cpu_s, (work / "errors.txt").open("w+") as errors:
        done = subprocess.run(
            command,
            cwd=root,
            env={**others, **{name: str(folder) for name, folder in folders.items()}},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        wall_s, busy_s = time.monotonic() - began, _busy_s() - busy
        end_supervisor(work / "runs")
    if done.returncode:
        last = ((work / "errors.txt").read_text().strip().splitlines() or ["no words"])[-1]
        raise LabError(f"{entry}, seed {seed}: train ended with {done.returncode}: {last}")
    run = RunStore(work / "runs").get(done.stdout.split()[-1])
    used = cpu_s()
    return run, {
        "entry": entry,
        "seed": seed,
        "changes": list(changes),
        "began_at": datetime.fromtimestamp(began_at, UTC).isoformat(timespec="milliseconds"),
        "wall_s": round(wall_s, 2),
        "cpu_s": round(used, 2),
        "other_cpu_s": round(max(0.0, busy_s - used), 2),
        "load_before": load,
        "load_after": os.getloadavg(),
        "device": run.status().device,
        "revision": run.info.revision,
        "versions": run.info.versions,
        "settings": run.settings.model_dump(mode="json"),
    }


@contextlib.contextmanager
def own_children() -> Iterator[Callable[[], float]]:
    """Within the block, processes whose parents end become children of this one; gives what tells, after the block, the
    CPU-seconds of all that were started in it and have ended."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    before, used = {child.pid for child in psutil.Process().children()}, _children_cpu_s()
    found: list[float] = []
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield lambda: found[0]
        while new := [child.pid for child in psutil.Process().children() if child.pid not in before]:
            for pid in new:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        found.append(_children_cpu_s() - used)
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _busy_s() -> float:
    """CPU-seconds that all cores of the machine have been busy since it started."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))
