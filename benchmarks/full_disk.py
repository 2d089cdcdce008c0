"""Let the disk run full at 40 places of a training's life, and see that each time the reason is told in words.

`python -m benchmarks.full_disk [--offsets 40] [--resume-every 8]`   (needs the right to mount a tmpfs)
Runs, data, cache, queue and logs all lie on a disk of a few megabytes. For every offset a new one is filled up but for
so many bytes, from nothing at all to what a whole training of a small VAE needs, and the training is started. What was
refused at once has exit code 28 and one sentence; what began waits for room, ends as finished, or as failed with a
reason that names the full disk, for whoever looks while the disk is still full. Now and then room is made, and the run
has to go on to its end.
Results: benchmarks/results/full-disk-<date>.json.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import keep
from core import atomic
from core.config.load import load_config
from core.errors import LabError, StorageFull
from core.jobs import service
from core.jobs.engines.choose import observed_status
from core.jobs.engines.local import LocalEngine
from core.jobs.queue_view import queue_view
from core.jobs.start_supervisor import start_supervisor
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests import forked
from tests.endings import end_lab
from tests.small_disk import fill, make_room, mounted

SIZE_BYTES = 24 * 2**20
PATIENCE_S = 300.0
TINY: dict[str, Any] = {
    "data.name": "digits",
    "data.image_size": 16,
    "vae.block_out_channels": [8, 16],
    "train_vae.steps": 24,
    "train_vae.batch_size": 16,
    "logging.save_every_steps": 4,
    "logging.num_previews": 4,
    "logging.validation_images": 32,
    "machine.num_threads": 1,
    "machine.device": "cpu",
}


@dataclass(frozen=True, kw_only=True)
class Offset:
    """What became of a training that had so much room. state: 'refused' for one that was not created at all."""

    room_bytes: int
    state: str
    words: str
    seconds: float
    resumed: bool | None = None

    @property
    def is_told(self) -> bool:
        """It ended well, or with words that name the full disk or how much room is needed and there."""
        if self.state == "refused":
            return self.words.endswith(f"(exit code {StorageFull.exit_code})")
        return self.state == RunState.FINISHED or "full" in self.words


@contextlib.contextmanager
def lab_on(folder: Path) -> Iterator[RunStore]:
    """A lab whose every folder lies on that disk; it is ended with all its processes."""
    before = dict(os.environ)
    names = {"LAB_RUNS": "runs", "LAB_DATA": "data", "LAB_CACHE": "cache"}
    os.environ |= {variable: str(folder / name) for variable, name in names.items()}
    store = RunStore(folder / "runs")
    try:
        yield store
    finally:
        with contextlib.suppress(StorageFull):
            end_lab(store)
        os.environ.clear()
        os.environ |= before


def ended(run: Run, store: RunStore) -> RunState | None:
    """The state it ended in, for whoever looks, or 'queued' where it waits for room; None where neither is in time."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        state = observed_status(run).state
        if not state.is_active or (state is RunState.QUEUED and atomic.is_full(store.root)):
            return state
        with contextlib.suppress(StorageFull):
            start_supervisor(store)
        time.sleep(0.1)
    return None


def measure(room_bytes: int, *, resumes: bool) -> Offset:
    """One disk, one training, started and resumed as commands and screens do."""
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="full-disk-") as name,
        mounted(Path(name) / "disk", SIZE_BYTES) as disk,
        lab_on(disk) as store,
    ):

        def found(state: object, words: str, resumed: bool | None = None) -> Offset:
            told = words.replace(str(disk), "…")
            seconds = round(time.monotonic() - started, 1)
            return Offset(room_bytes=room_bytes, state=str(state), words=told, seconds=seconds, resumed=resumed)

        fill(disk, leave_bytes=room_bytes)
        engine = LocalEngine(store, forked.command("-m", "core.jobs.worker"))
        try:
            (run,) = service.start_training("vae", load_config(overrides=TINY), store=store, engine=engine)
        except LabError as error:
            left = [] if not store.list() else ["NOT TOLD: it left a run"]
            return found("refused", " ".join([*left, f"{error} (exit code {error.exit_code})"]))
        state = ended(run, store)
        reason = observed_status(run).reason if state else f"NOT TOLD: {run.status()}"
        if state is RunState.QUEUED:
            reason = f"waits for {queue_view(store)[0].waits_for}"
        if not (resumes and state in (RunState.FAILED, RunState.QUEUED)):
            return found(state, reason)
        make_room(disk)
        if state is RunState.FAILED:
            service.resume_run(store, run.id, engine=engine)
        return found(state, reason, ended(run, store) is RunState.FINISHED)


def offsets(count: int, most_bytes: int) -> list[int]:
    """Room for nothing, and then ever more; two thirds of them where a training begins and does not end."""
    few = count // 3
    begins = most_bytes // 3
    many = count - few
    return [
        *(round(begins * place / few) for place in range(few)),
        *(round(begins + (most_bytes - begins) * place / max(1, many - 1)) for place in range(many)),
    ]


def main() -> int:
    """Measure and keep. Returns 1 when an end was not told, or a run did not resume."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_disk", description=__doc__.split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--offsets", type=int, default=40)
    parser.add_argument("--most", type=int, default=6 * 2**20, help="bytes of room of the last one")
    parser.add_argument("--resume-every", type=int, default=8, help="make room and resume every so many")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="forks-") as folder, forked.serving(Path(folder)):
        for place, room_bytes in enumerate(offsets(options.offsets, options.most)):
            found.append(measure(room_bytes, resumes=place % options.resume_every == 0))
            print(found[-1], flush=True)
    result: dict[str, Any] = {
        "states": dict(Counter(each.state for each in found)),
        "not_told": [asdict(each) for each in found if not each.is_told],
        "not_resumed": [asdict(each) for each in found if each.resumed is False],
        "offsets": [asdict(each) for each in found],
    }
    keep("full-disk", result)
    return 1 if result["not_told"] or result["not_resumed"] else 0


if __name__ == "__main__":
    sys.exit(main())
