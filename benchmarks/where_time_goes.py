"""Where the time goes: a table from the command on an empty lab to the finished model, and what a step costs.

`python -m benchmarks.where_time_goes [--preset minute]` trains as benchmarks/finish_line.py does and reads the marks
that every run leaves: run.json, attempt.json, events.jsonl and log.txt. `--against size|resolution|parameters|batch`
measures single steps instead: of made data from 1,000 to a million images, or of other networks. Results:
benchmarks/results/where-time-goes-<date>….json.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import keep
from benchmarks.timed_training import trained
from core import reading
from core.config.load import load_config, parse_override
from core.config.schema import Settings
from core.data.arrays import Split
from core.data.batches import Batches, on_device
from core.diffusion.schedule import build_schedule
from core.latent.cache import LatentSet
from core.latent.codec import LatentScaling
from core.machine.attempts import ATTEMPT_FILE
from core.models.summary import latent_shape
from core.rules import NEWEST
from core.runs.run import Run
from core.runs.store import RunStore
from core.seeding import Randomness
from core.training.diffusion_objective import DiffusionDraw
from core.training.loop import Draw
from core.training.probe import probe
from core.training.train_unet import MomentsGather

LOG_MARKS = {  # what core.training writes into log.txt → the phase that ends there
    "the dataset is open": "imports, device, dataset",
    "latents are ready": "encoding",
    "training begins": "networks",
}
SPENT = re.compile(r"training took [\d.]+ s: (.*)")
PART = re.compile(r"([a-z ]+) ([\d.]+) s")
LOG_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) INFO [\w.]+: (.*)")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
AGAINST: dict[str, tuple[tuple[str, ...], tuple[Any, ...]]] = {  # settings that get each of the values
    "resolution": (("data.image_size",), (16, 32, 64, 128)),
    "parameters": (("unet.block_out_channels",), ([16, 32], [32, 64], [64, 128], [128, 256])),
    "batch": (("train_vae.batch_size", "train_unet.batch_size"), (16, 32, 64, 128, 256)),
}


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What a run did from `start_s` on for `seconds`, both since the command; of parts of a training only how long."""

    run: str
    name: str
    start_s: float | None
    seconds: float


def phases_of_training(unet: Run, timed: Mapping[str, Any]) -> list[Phase]:
    """Those of what `benchmarks.timed_training.trained` returned."""
    vae = RunStore(unet.folder.parent).get(unet.info.parents[0])
    began_at = moment(timed["began_at"])
    return phases_of([vae, unet], began_at, began_at + timed["wall_s"])


def phases_of(runs: Sequence[Run], began_at: float, returned_at: float) -> list[Phase]:
    """The phases of a VAE run and its U-Net run, from the command to its return; both moments in Unix seconds.

    A phase lies between two marks of one run. Where the next run's process starts before the one before has ended,
    they overlap.
    """
    found = [Phase(run="command", name="imports, checks, dataset", start_s=0.0, seconds=created(runs[0]) - began_at)]
    ended = created(runs[0])
    for run in runs:
        kind = run.info.kind
        marks, parts = marks_of(run)
        before = ended
        for name, at in marks:
            found.append(Phase(run=kind, name=name, start_s=before - began_at, seconds=at - before))
            before = at
        taken = sum(parts.values())
        found += [Phase(run=kind, name=name, start_s=None, seconds=seconds) for name, seconds in parts.items()]
        ended = next(moment(event["at"]) for event in reversed(run.events()) if event["event"] == "finished")
        found.append(
            Phase(
                run=kind, name="end of the process", start_s=before + taken - began_at, seconds=ended - before - taken
            )
        )
    found.append(Phase(run="command", name="notices the end", start_s=ended - began_at, seconds=returned_at - ended))
    return found


def marks_of(run: Run) -> tuple[list[tuple[str, float]], dict[str, float]]:
    """(what ended when, in order), and the seconds of the training itself by part; of the last attempt."""
    attempt = reading.read_object(run.folder / ATTEMPT_FILE)
    started = next(moment(event["at"]) for event in reversed(run.events()) if event["event"] in ("started", "resumed"))
    marks = [("wait and supervisor", moment(attempt["started_at"])), ("start of its process", started)]
    parts: dict[str, float] = {}
    for line in reading.read_text(run.log_path, limit=0).splitlines():
        if not (match := LOG_LINE.match(line)):
            continue
        at = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").timestamp() + int(match[2]) / 1000
        marks += [(name, at) for words, name in LOG_MARKS.items() if words in match[3]]
        if spent := SPENT.search(match[3]):
            parts = {name.strip(): float(seconds) for name, seconds in PART.findall(spent[1])}
    return marks, parts


def created(run: Run) -> float:
    """When its folder appeared, Unix seconds."""
    return moment(run.info.created_at)


def moment(text: str) -> float:
    """ISO 8601 → Unix seconds."""
    return datetime.fromisoformat(text).timestamp()


def table(phases: Sequence[Phase]) -> list[str]:
    """The phases in Markdown, with their share of the whole."""
    whole = phases[-1].seconds + (phases[-1].start_s or 0.0)
    lines = ["| run | phase | from, s | seconds | share |", "|---|---|---|---|---|"]
    for each in phases:
        start = "" if each.start_s is None else f"{each.start_s:.1f}"
        lines.append(f"| {each.run} | {each.name} | {start} | {each.seconds:.2f} | {each.seconds / whole:.0%} |")
    return [*lines, f"| | whole | 0.0 | {whole:.2f} | |"]


# -- what a step's cost depends on


def made_split(folder: Path, count: int, size: int) -> Split:
    """`count` images of noise on disk, memory-mapped as a run's are."""
    path = folder / f"images-{count}.npy"
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, size, size, 1))
    fill(images, np.random.default_rng(0).integers(0, 256, (1000, size, size, 1), dtype=np.uint8))
    return Split(images=np.load(path, mmap_mode="r"), labels=np.arange(count) % 10)


def made_latents(folder: Path, count: int, shape: tuple[int, int, int]) -> LatentSet:
    """Posterior moments of `count` images that were never encoded, memory-mapped as a run's are."""
    path = folder / f"moments-{count}.npy"
    moments = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, 2 * shape[0], *shape[1:]))
    fill(moments, np.random.default_rng(0).standard_normal((1000, 2 * shape[0], *shape[1:])).astype(np.float32))
    ones = (1.0,) * shape[0]
    return LatentSet(moments=np.load(path, mmap_mode="r"), scaling=LatentScaling(shift=(0.0,) * shape[0], scale=ones))


def fill(array: np.ndarray, block: np.ndarray) -> None:
    """Write the block again and again."""
    for first in range(0, len(array), len(block)):
        array[first : first + len(block)] = block[: len(array) - first]


def against_size(settings: Settings, sizes: Sequence[int], rounds: int, steps: int) -> list[dict[str, Any]]:
    """Seconds per step of VAE and U-Net, with the batch drawn anew for each step, by the size of the set."""
    device, shape = torch.device("cpu"), latent_shape(settings)
    found: dict[tuple[str, int], list[float]] = {}
    orders: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="where-time-goes-") as name:
        splits = {count: made_split(Path(name), count, settings.data.image_size) for count in sizes}
        latents = {count: made_latents(Path(name), count, shape) for count in sizes}

        def draws(kind: str, count: int) -> Draw:
            train = settings.train_vae if kind == "vae" else settings.train_unet
            batches = Batches(splits[count], batch_size=train.batch_size, seed=0)
            began = time.perf_counter()
            batches.indices(0)
            orders[count] = time.perf_counter() - began
            if kind == "vae":
                resident = on_device(splits[count], device)
                noise = torch.randn(train.batch_size, *shape)
                return lambda step: {"images": resident.gather(batches.indices(step))[0], "noise": noise}
            gather = MomentsGather(latents[count], splits[count].labels, device)
            source = torch.Generator().manual_seed(0)
            drawing = DiffusionDraw(
                schedule=build_schedule(settings.diffusion).to(device),
                unconditional_label=10,
                cond_drop_prob=settings.diffusion.cond_drop_prob,
                random=Randomness(0, NEWEST.noise, "unet"),
            )
            return lambda step: drawing.inputs(*gather(batches.indices(step), source), step)

        for _ in range(rounds):
            for count in sizes:
                for kind in ("vae", "unet"):
                    measured = probe(settings, kind, steps=steps, draw=draws(kind, count))
                    found.setdefault((kind, count), []).append(measured.seconds_per_step)
    return [
        {
            "images": count,
            "vae_ms": ms(found["vae", count]),
            "unet_ms": ms(found["unet", count]),
            "order_of_an_epoch_ms": round(1e3 * orders[count], 2),
        }
        for count in sizes
    ]


def against(settings: Mapping[Any, Settings], rounds: int, steps: int) -> list[dict[str, Any]]:
    """Seconds per step of both networks by what the keys say; `rounds` in turn."""
    found: dict[tuple[str, int], list[float]] = {}
    parameters: dict[tuple[str, int], int] = {}
    for _ in range(rounds):
        for place, each in enumerate(settings.values()):
            for kind in ("vae", "unet"):
                measured = probe(each, kind, steps=steps)
                found.setdefault((kind, place), []).append(measured.seconds_per_step)
                parameters[kind, place] = measured.parameters
    return [
        {
            "value": value,
            "vae_ms": ms(found["vae", place]),
            "unet_ms": ms(found["unet", place]),
            "vae_parameters": parameters["vae", place],
            "unet_parameters": parameters["unet", place],
        }
        for place, value in enumerate(settings)
    ]


def ms(seconds: Sequence[float]) -> dict[str, float]:
    """Of the rounds, in milliseconds; the least says most where other programs run too."""
    folds = {"median": statistics.median, "least": min, "most": max}
    return {name: round(1e3 * fold(seconds), 2) for name, fold in folds.items()}


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="minute", metavar="PRESET[@CHECKOUT]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--against", choices=("size", *AGAINST), help="measure single steps instead")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="per round and place")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    options = parser.parse_args()
    if options.against:
        overrides = dict(map(parse_override, options.changes))
        if options.against == "size":
            settings = load_config(preset=options.preset, overrides=overrides)
            rows = against_size(settings, options.sizes, options.rounds, options.steps)
        else:
            names, values = AGAINST[options.against]
            named = {}
            for value in values:
                changed = {**overrides, **dict.fromkeys(names, value)}
                named[json.dumps(value)] = load_config(preset=options.preset, overrides=changed)
            rows = against(named, options.rounds, options.steps)
        result = {"preset": options.preset, "changes": options.changes, "rounds": options.rounds, "rows": rows}
        keep("where-time-goes", result, f"-against-{options.against}")
        return
    with tempfile.TemporaryDirectory(prefix="where-time-goes-") as folder:
        unet, timed = trained(options.preset, options.seed, options.dataset, options.changes, Path(folder))
        phases = phases_of_training(unet, timed)
        keep("where-time-goes", {**timed, "phases": [asdict(each) for each in phases]}, f"-{options.preset}")
    print("\n".join(table(phases)))


if __name__ == "__main__":
    main()
