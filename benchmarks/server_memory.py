"""Memory of the server, and what becomes of it when the process that computes for its screens dies or grows.

`python -m benchmarks.server_memory [--drawings 10] [--idle]`
    A visitor opens every page and draws; resident memory of the server and of the process. Then the process is killed
    in a drawing: the sentence that is shown, and the seconds until the next drawing stands, which has to be that of
    another server. Then a server that may compute with 0.4 GB only is asked for a drawing. --idle: also the seconds
    from the last visitor to the end of the process.
On a lab of its own, on the loopback. Exits with 1 when a limit is broken. Result: benchmarks/results/server-memory-*.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import report
from benchmarks.server import ROOT, Server
from benchmarks.visitors import DRAWING, PAGES, Visitor, lab, memory_mb, serving
from core.machine.attempts import computes_for_screens
from core.machine.memory import RECORDING_VARIABLE

MOST_SERVER_MB = 350.0
MOST_NEXT_DRAWING_S = 15.0
SMALL_MACHINE = 800_000_000  # bytes, of which half are for the process: less than PyTorch and a model need
PATIENCE_S = 120.0
SEED_AFTER = "424242"


def compute_pid(server: Server) -> int | None:
    """The process that computes for that server."""
    found = psutil.Process(server.process.pid).children()
    return next((each.pid for each in found if computes_for_screens(each.pid)), None)


def cpu_s(pid: int) -> float:
    """Seconds that a process has computed."""
    return float(psutil.Process(pid).cpu_times().user)


async def look_until(visitor: Visitor, is_there: Callable[[], object]) -> float:
    """Follow the page until it shows that; how many seconds it took."""
    started = time.monotonic()
    while not is_there():
        if time.monotonic() - started > PATIENCE_S:
            raise TimeoutError(f"{visitor.page}: {visitor.alerts} {visitor.errors}")
        await visitor.stay(0.1)
    return time.monotonic() - started


async def draw(server: Server, seed: str) -> bytes:
    """What a new visitor's browser gets of a whole drawing."""
    async with Visitor(server.address) as visitor:
        await visitor.open("generate", **{**DRAWING, "seed": seed})
        await look_until(visitor, lambda: visitor.components or visitor.alerts)
        if not visitor.components:
            raise RuntimeError(str(visitor.alerts))
        return visitor.components.popitem()[1]


async def visit(server: Server, drawings: int) -> dict[str, Any]:
    """Every page, and so many drawings."""
    async with Visitor(server.address) as visitor:
        for page in PAGES:
            await visitor.open(page)
            await visitor.stay(1.0)
        for seed in range(drawings):
            await draw(server, str(seed))
        pid = compute_pid(server)
        return {
            "server_mb": memory_mb(psutil.Process(server.process.pid)),
            "compute_mb": memory_mb(psutil.Process(pid)) if pid else 0.0,
            "errors": visitor.errors,
        }


async def killed_in_a_drawing(server: Server) -> dict[str, Any]:
    """The sentence, and how long the next drawing takes."""
    async with Visitor(server.address) as visitor:
        pid = compute_pid(server)
        assert pid is not None
        before = cpu_s(pid)
        page = asyncio.create_task(visitor.open("generate", **{**DRAWING, "seed": "99", "steps": "1000"}))
        while cpu_s(pid) < before + 1.0 and not page.done():  # it draws
            await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        died = time.monotonic()
        await page
        await look_until(visitor, lambda: visitor.alerts)
        told_s = time.monotonic() - died
        sentences = list(visitor.alerts)
    started = time.monotonic()
    payload = await draw(server, SEED_AFTER)
    return {
        "told_s": round(told_s, 2),
        "sentences": sentences,
        "next_drawing_s": round(time.monotonic() - started, 2),
        "payload": payload,
        "server_mb": memory_mb(psutil.Process(server.process.pid)),
    }


async def asked_for_too_much(server: Server) -> dict[str, Any]:
    """What is said of a drawing for which there is no memory."""
    async with Visitor(server.address) as visitor:
        await visitor.open("generate", **{**DRAWING, "seed": "7"})
        await look_until(visitor, lambda: visitor.alerts or visitor.components)
        sentences = list(visitor.alerts)
        await visitor.open("overview")  # the server answers as before
        return {"sentences": sentences, "server_mb": memory_mb(psutil.Process(server.process.pid))}


def idle_s(server: Server) -> float:
    """Seconds until the process has ended; nobody is connected any more."""
    started = time.monotonic()
    while compute_pid(server) is not None:
        time.sleep(1.0)
    return round(time.monotonic() - started, 1)


def measure(folder: Path, drawings: int, *, idle: bool = False) -> dict[str, Any]:
    """All of it, on the lab of that folder."""
    with serving(folder, ROOT) as server:
        found: dict[str, Any] = {"visited": asyncio.run(visit(server, drawings))}
        found["killed"] = asyncio.run(killed_in_a_drawing(server))
        if idle:
            found["idle_s"] = idle_s(server)
    with serving(folder, ROOT) as server:
        found["next_drawing_is_right"] = asyncio.run(draw(server, SEED_AFTER)) == found["killed"].pop("payload")
    recording = folder / "memory.json"
    recording.write_text(json.dumps({"total": SMALL_MACHINE, "free": SMALL_MACHINE}))
    os.environ[RECORDING_VARIABLE] = str(recording)
    try:
        with serving(folder, ROOT) as server:
            found["too_much"] = asyncio.run(asked_for_too_much(server))
    finally:
        del os.environ[RECORDING_VARIABLE]
    return found


def broken(found: dict[str, Any], most_next_drawing_s: float = MOST_NEXT_DRAWING_S) -> list[str]:
    """Limits that do not hold, in words."""
    killed, visited, too_much = found["killed"], found["visited"], found["too_much"]
    checks = {
        f"the server has {visited['server_mb']} MB": visited["server_mb"] < MOST_SERVER_MB,
        f"pages showed {visited['errors']}": not visited["errors"],
        f"a death is told as {killed['sentences']}": len(killed["sentences"]) == 1,
        f"the next drawing took {killed['next_drawing_s']} s": killed["next_drawing_s"] < most_next_drawing_s,
        "the next drawing is another one": found["next_drawing_is_right"],
        f"too much is told as {too_much['sentences']}": len(too_much["sentences"]) == 1,
        f"after too much the server has {too_much['server_mb']} MB": too_much["server_mb"] < MOST_SERVER_MB,
    }
    return [words for words, holds in checks.items() if not holds]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawings", type=int, default=10)
    parser.add_argument("--idle", action="store_true")
    given = parser.parse_args()
    with lab() as folder:
        found = measure(folder, given.drawings, idle=given.idle)
    print(json.dumps(found, indent=1))
    report.keep("server-memory", found)
    sys.exit("\n".join(broken(found)))


if __name__ == "__main__":
    main()
