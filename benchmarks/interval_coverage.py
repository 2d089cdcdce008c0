"""How often an interval that is called 95 % holds the expectation at that N: `python -m benchmarks.interval_coverage`.

Gaussian features whose reference is known exactly, and images of a run (`--run`, from benchmarks.judged_pool) as the
judge sees them, drawn with replacement within each class. Results: benchmarks/results/interval-coverage-<date>.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from benchmarks.judged_pool import Pool, pool_of
from benchmarks.report import RESULTS, machine
from core.evaluation.differences import normal_interval, paired_difference
from core.evaluation.intervals import standard_error
from core.evaluation.measures import endless_distance, fd_difference_error, fd_error
from core.evaluation.metrics import FrechetReference, kernel_distance

Draw = Callable[[], tuple[float, float]]  # an estimate and its standard error
DIMENSIONS = 128


def coverage(name: str, draw: Draw, simulations: int, truth: float | None = None) -> dict[str, object]:
    """The share of intervals that hold the truth, by default the mean of all estimates, and its standard error."""
    values, errors = np.array([draw() for _ in range(simulations)]).T
    expected = values.mean() if truth is None else truth
    low, high = np.array([normal_interval(value, error) for value, error in zip(values, errors, strict=True)]).T
    share = float(((low <= expected) & (expected <= high)).mean())
    found = {
        "name": name,
        "simulations": simulations,
        "coverage": share,
        "coverage_error": math.sqrt(max(share * (1 - share), 0.25 / simulations) / simulations),
        "mean": float(values.mean()),
        "expected": float(expected),
        "spread": float(values.std(ddof=1)),
        "standard_error": float(errors.mean()),
    }
    print(f"{name:55} {share:.3f} ± {found['coverage_error']:.3f}  spread {found['spread']:.4g}, error "
          f"{found['standard_error']:.4g}", flush=True)  # fmt: off
    return found


def gaussian(simulations: int, count: int, shift: float) -> list[dict[str, object]]:
    """Features with a decaying spectrum, as those of a judge; real ones that far from the fake."""
    source = np.random.default_rng(count)
    scale = np.exp(-np.arange(DIMENSIONS) / (DIMENSIONS / 4))
    reference = FrechetReference(torch.from_numpy(source.standard_normal((60_000, DIMENSIONS)) * scale))
    one_class = np.zeros(count, dtype=np.int64)

    def fake() -> torch.Tensor:
        return torch.from_numpy((source.standard_normal((count, DIMENSIONS)) * (1 + shift) + shift) * scale)

    def fd() -> tuple[float, float]:
        images = fake()
        return reference.distance(images), fd_error(reference, images, one_class)

    return [coverage(f"FD, Gaussian, N = {count:,}, {shift} away", fd, simulations)]


def judged(pool: Pool, simulations: int, count: int) -> list[dict[str, object]]:
    """FD, its paired difference, its extrapolation and KID, on what the judge sees of a run's images."""
    source, labels = np.random.default_rng(count), pool.labels[:count]
    few = min(count, 1000)
    real = pool.full[torch.from_numpy(np.random.default_rng(1).permutation(len(pool.labels))[:few])]

    def fd() -> tuple[float, float]:
        images = pool.full[torch.from_numpy(pool.places(count, source))]
        return pool.reference.distance(images), fd_error(pool.reference, images, labels)

    def difference() -> tuple[float, float]:
        places = torch.from_numpy(pool.places(count, source))
        first, second = pool.half[places], pool.full[places]
        value = pool.reference.distance(first) - pool.reference.distance(second)
        return value, fd_difference_error(pool.reference, first, second, labels)

    def endless() -> tuple[float, float]:
        images = pool.full[torch.from_numpy(pool.places(count, source))]
        return endless_distance(pool.reference, images, labels), fd_error(pool.reference, images, labels)

    def kernel() -> tuple[float, float]:
        images = pool.half[torch.from_numpy(pool.places(few, source))]
        value, _ = kernel_distance(real, images)
        return value, standard_error(
            lambda places: kernel_distance(real, images[torch.from_numpy(places)])[1], labels[:few]
        )

    def accuracy() -> tuple[float, float]:
        places = pool.places(count, source)
        return paired_difference(pool.half_right[places], pool.full_right[places])

    truth = pool.reference.distance(pool.full)  # of the distribution that is drawn from: exact
    kinds: list[tuple[str, Draw, float | None]] = [
        (f"FD, run, N = {count:,}", fd, None),
        (f"FD difference in pairs, run, N = {count:,}", difference, None),
        (f"FD of endless images, run, N = {count:,}", endless, truth),
        (f"KID, run, N = {few:,}", kernel, None),
        (f"accuracy difference in pairs, run, N = {count:,}", accuracy, None),
    ]
    return [coverage(name, draw, simulations, expected) for name, draw, expected in kinds]


def main() -> None:
    """Simulate, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 2000], metavar="N")
    parser.add_argument("--run", default="", help="a run or model: its images are judged too")
    parser.add_argument("--pool", type=Path, default=Path("pool.npz"), help="where what the judge saw is kept")
    parser.add_argument("--images", type=int, default=10_000, help="images of the pool")
    parser.add_argument("--out", type=Path, default=RESULTS / f"interval-coverage-{datetime.now(UTC):%Y-%m-%d}.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    pool = pool_of(options.run, options.images, options.pool) if options.run else None
    for count in options.counts:
        if pool is not None:
            rows += judged(pool, options.simulations, count)
        for shift in (0.0, 0.1):
            rows += gaussian(options.simulations, count, shift)
    options.out.write_text(json.dumps({"machine": machine(), "run": options.run, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
