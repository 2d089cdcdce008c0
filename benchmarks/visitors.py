"""Visitors of a server without a browser: they speak its WebSocket protocol, and follow live parts as browsers do.

`python -m benchmarks.visitors load OLD NEW [--sessions 20] [--drawing 4] [--seconds 40] [--rounds 3]`
    Sessions open pages one after another while some of them draw; the checkouts in turn. Seconds from a request to the
    end of its script: median, 95 % quantile, worst; pages per second.
`python -m benchmarks.visitors soak [--minutes 30] [--sessions 10]`
    Visitors wander over every page, draw and leave. Memory of the server and of its children every half minute, errors
    that a page showed, processes that stayed after the server.
Both run on a lab of their own with a tiny VAE and U-Net on scikit-learn's digits and with the bundled demo, on the
loopback. Results: benchmarks/results/visitors-<what>-<date>.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

from benchmarks import report
from benchmarks.server import HOME, ROOT, Server, end_supervisor

PAGES = ("overview", "train", "runs", "machine", "data", "schedulers", "latents", "generate")
DRAWING = {"run": "model:mnist-demo", "sampler": "euler", "steps": "50"}
LONGEST_S = 120.0


@dataclass
class Visitor:
    """One session: its socket, the live parts of its page, and the errors that it was shown.

    alerts: the sentences of st.error and its like on this page; components: what those of the lab got last, by name.
    """

    address: str
    socket: Any = None
    live: dict[str, tuple[float, float]] = field(default_factory=dict)  # fragment → (interval, due)
    errors: list[str] = field(default_factory=list)
    named: set[str] = field(default_factory=set)  # live parts since the script began
    alerts: list[str] = field(default_factory=list)
    components: dict[str, bytes] = field(default_factory=dict)
    page: str = ""
    query: str = ""
    script: str = ""

    async def __aenter__(self) -> Visitor:
        url = self.address.replace("http", "ws") + "/_stcore/stream"
        self.socket = await connect(url, subprotocols=["streamlit"], max_size=None, origin=self.address)  # type: ignore[arg-type]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def open(self, page: str, **query: str) -> float:
        """Seconds until the script of the page has ended."""
        self.page, self.query, self.script = page, urlencode(query), ""
        for each in (self.live, self.alerts, self.components):
            each.clear()
        started = time.perf_counter()
        await self._ask("")
        await self._until_finished()
        return time.perf_counter() - started

    async def stay(self, seconds: float) -> list[float]:
        """Look at the page so long; seconds that each answer to a live part took."""
        until, took = time.monotonic() + seconds, []
        while (now := time.monotonic()) < until:
            due = [(at, name) for name, (_, at) in self.live.items()]
            at, name = min(due, default=(until, ""))
            if at > now:
                await self._hear(min(at, until) - now)
                continue
            interval = self.live[name][0]
            started = time.perf_counter()
            await self._ask(name)
            await self._until_finished()
            took.append(time.perf_counter() - started)
            if name in self.live:
                self.live[name] = (interval, time.monotonic() + interval)
        return took

    async def _ask(self, fragment: str) -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_name, state.page_script_hash = self.query, self.page, self.script
        state.fragment_id, state.is_auto_rerun = fragment, bool(fragment)
        await self.socket.send(message.SerializeToString())

    async def _until_finished(self) -> None:
        deadline = time.monotonic() + LONGEST_S
        while (left := deadline - time.monotonic()) > 0:
            if await self._hear(left) in (
                ForwardMsg.FINISHED_SUCCESSFULLY,
                ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY,
            ):
                return
        raise TimeoutError(f"{self.page}?{self.query} took longer than {LONGEST_S:.0f} s")

    async def _hear(self, seconds: float) -> int | None:
        """The next message, waited for so long; how a script ended, when it says so."""
        try:
            data = await asyncio.wait_for(self.socket.recv(), seconds)
        except TimeoutError:
            return None
        message = ForwardMsg()
        message.ParseFromString(data)
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.script = message.new_session.page_script_hash or self.script
            self.named.clear()
        elif kind == "auto_rerun":
            interval = message.auto_rerun.interval
            self.live[message.auto_rerun.fragment_id] = (interval, time.monotonic() + interval)
            self.named.add(message.auto_rerun.fragment_id)
        elif kind == "delta":
            self._see(message.delta.new_element)
        if kind == "script_finished" and message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
            self.live = {name: due for name, due in self.live.items() if name in self.named}  # others are gone
        return message.script_finished if kind == "script_finished" else None

    def _see(self, element: Any) -> None:
        kind = element.WhichOneof("type")
        if kind == "exception":
            self.errors.append(f"{self.page}?{self.query}: {element.exception.message}"[:300])
        elif kind == "alert":
            self.alerts.append(element.alert.body)
        elif kind == "bidi_component":
            component = element.bidi_component
            self.components[component.component_name] = component.bytes or component.mixed.SerializeToString()


def make_lab(folder: Path) -> None:
    """Train the tiny VAE and U-Net of the tests, in a process of their own."""
    program = "import sys; from pathlib import Path; from tests.models import Lab, tiny_settings\n"
    program += "Lab(Path(sys.argv[1])).train_both(tiny_settings())"
    subprocess.run([sys.executable, "-c", program, str(folder)], cwd=ROOT, check=True)


@contextmanager
def lab() -> Iterator[Path]:
    """A folder with runs, data and cache of its own; its supervisor ends with it."""
    with tempfile.TemporaryDirectory(prefix="lab-visitors-") as name:
        folder = Path(name)
        make_lab(folder)
        try:
            yield folder
        finally:
            end_supervisor(folder / "runs")


@contextmanager
def serving(folder: Path, checkout: Path) -> Iterator[Server]:
    """The server of a checkout on that lab."""
    own = {f"LAB_{name.upper()}": str(folder / name) for name in ("runs", "data", "cache", "imports", "models")}
    environment = {**os.environ, **own, "LAB_GALLERY": str(folder / "gallery"), "PYTHONPATH": str(checkout)}
    (folder / "server").mkdir(exist_ok=True)
    server = Server(folder / "server", environment, checkout / HOME.relative_to(ROOT))
    server.start()
    try:
        yield server
    finally:
        server.kill()


async def draw(visitor: Visitor, until: float, seeds: Iterator[int]) -> list[float]:
    """Draw one picture after another: each is looked at for three seconds, while it is drawn."""
    took = []
    while time.monotonic() < until:
        took.append(await visitor.open("generate", seed=str(next(seeds)), **DRAWING))
        await visitor.stay(3.0)
    return took


async def wander(visitor: Visitor, until: float, dice: random.Random, pause_s: float) -> list[float]:
    """Open one page after another."""
    took = []
    while time.monotonic() < until:
        took.append(await visitor.open(dice.choice(PAGES)))
        await visitor.stay(dice.uniform(0.0, 2 * pause_s))
    return took


async def load(server: Server, sessions: int, drawing: int, seconds: float, seed: int) -> dict[str, Any]:
    """Seconds of every page that the sessions open while others draw."""
    seeds = iter(range(1000 * seed, 1000 * seed + 1000))
    async with asyncio.TaskGroup() as group:
        visitors = [await Visitor(server.address).__aenter__() for _ in range(sessions + drawing)]
        for page in PAGES:  # everything was seen once
            await visitors[0].open(page)
        await visitors[0].open("generate", seed=str(next(seeds)), **DRAWING)
        until = time.monotonic() + seconds
        artists = [group.create_task(draw(each, until, seeds)) for each in visitors[sessions:]]
        readers = [
            group.create_task(wander(each, until, random.Random(seed + place), 0.5))
            for place, each in enumerate(visitors[:sessions])
        ]
    times = [1000 * each for task in readers for each in task.result()]
    errors = [error for each in visitors for error in each.errors]
    for each in visitors:
        await each.__aexit__()
    return {
        **report.summary(times),
        "pages": len(times),
        "pages_per_s": round(len(times) / seconds, 2),
        "drawings": sum(len(task.result()) for task in artists),
        "errors": errors[:5],
    }


def compare(checkouts: Sequence[Path], sessions: int, drawing: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Both checkouts in turn, each on a lab of its own and a server of its own per round."""
    found: dict[str, list[dict[str, Any]]] = {str(place): [] for place in range(len(checkouts))}
    for number in range(rounds):
        for place, checkout in enumerate(checkouts):
            with lab() as folder, serving(folder, checkout) as server:
                result = asyncio.run(load(server, sessions, drawing, seconds, number))
            found[str(place)].append(result)
            print(f"round {number + 1}, {checkout.name}: {json.dumps(result)}", flush=True)
    medians = [statistics.median(each["p95_ms"] for each in results) for results in found.values()]
    ratio = round(medians[-1] / medians[0], 3) if len(medians) > 1 else None
    return {"p95_ms": medians, "ratio": ratio, "rounds": list(found.values())}


def memory_mb(process: psutil.Process) -> float:
    """Resident memory."""
    try:
        return round(process.memory_info().rss / 1e6, 1)
    except psutil.Error:
        return 0.0


async def soak(server: Server, sessions: int, minutes: float) -> dict[str, Any]:
    """Visitors come, wander, draw and leave; each stays two minutes."""
    until, dice, seeds = time.monotonic() + 60 * minutes, random.Random(0), iter(range(10**9))
    own, samples, errors, pages = psutil.Process(server.process.pid), [], [], 0

    async def visit(place: int) -> None:
        nonlocal pages
        while time.monotonic() < until:
            async with Visitor(server.address) as visitor:
                leaves = min(until, time.monotonic() + 120)
                mine = random.Random(dice.random())
                draws = mine.random() < 0.2
                took = await (draw(visitor, leaves, seeds) if draws else wander(visitor, leaves, mine, 2.0))
                pages += len(took)
                errors.extend(visitor.errors)

    async def watch() -> None:
        started = time.monotonic()
        while time.monotonic() < until:
            children = [f"{' '.join(each.cmdline()[1:4])[:60]} {memory_mb(each)}" for each in own.children()]
            samples.append({"s": round(time.monotonic() - started), "server_mb": memory_mb(own), "children": children})
            print(json.dumps(samples[-1]), flush=True)
            await asyncio.sleep(30)

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        for place in range(sessions):
            group.create_task(visit(place))
    half = len(samples) // 2
    return {
        "pages": pages,
        "server_mb_first_half": statistics.median(each["server_mb"] for each in samples[:half] or samples),
        "server_mb_second_half": statistics.median(each["server_mb"] for each in samples[half:]),
        "errors": errors[:20],
        "samples": samples,
    }


def left_behind(folder: Path) -> list[str]:
    """Processes of that lab that live: their environment names its runs folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LAB_RUNS") == str(folder / "runs"):
                found.append(" ".join(process.cmdline())[:120])
        except psutil.Error:
            continue
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "soak"))
    parser.add_argument("checkouts", nargs="*", type=Path, default=[], help="the older one first; this one when none")
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--drawing", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=30.0)
    given = parser.parse_args()
    if given.what == "load":
        checkouts = [each.resolve() for each in given.checkouts] or [ROOT]
        found = compare(checkouts, given.sessions or 20, given.drawing, given.seconds, given.rounds)
    else:
        with lab() as folder:
            with serving(folder, ROOT) as server:
                found = asyncio.run(soak(server, given.sessions or 10, given.minutes))
            end_supervisor(folder / "runs")
            time.sleep(2.0)
            found["left_behind"] = left_behind(folder)
    asked = {name: value for name, value in vars(given).items() if name != "checkouts"}
    report.keep(f"visitors-{given.what}", {"asked": asked, **found})


if __name__ == "__main__":
    main()
