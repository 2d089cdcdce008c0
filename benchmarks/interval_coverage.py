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
from core.evaluation.measures import (
    ENDLESS_PER_DIMENSION,
    endless_distance,
    endless_error,
    fd_difference_error,
    fd_error,
)
from core.evaluation.metrics import (
    FrechetReference,
    kernel_distance,
    nearest_others,
    squared_distances,
    wilson_interval,
)

Draw = Callable[[], tuple[float, float, float]]  # an estimate and its interval
DIMENSIONS = 128


def coverage(name: str, draw: Draw, simulations: int, truth: float | None = None) -> dict[str, object]:
    """The share of intervals that hold the truth, by default the mean of all estimates, and its standard error."""
    values, low, high = np.array([draw() for _ in range(simulations)]).T
    expected = values.mean() if truth is None else truth
    share = float(((low <= expected) & (expected <= high)).mean())
    found = {
        "name": name,
        "simulations": simulations,
        "coverage": share,
        "coverage_error": math.sqrt(max(share * (1 - share), 0.25 / simulations) / simulations),
        "mean": float(values.mean()),
        "expected": float(expected),
        "spread": float(values.std(ddof=1)),
        "half_width": float((high - low).mean() / 2.0),
    }
    of_spread = f"spread {found['spread']:.4g}, half of an interval {found['half_width']:.4g}"
    print(f"{name:55} {share:.3f} ± {found['coverage_error']:.3f}  {of_spread}", flush=True)
    return found


def around(value: float, error: float) -> tuple[float, float, float]:
    """An estimate and its interval, from its standard error."""
    return value, *normal_interval(value, error)


def of_share(right: np.ndarray) -> tuple[float, float, float]:
    """A share and its interval."""
    return float(right.mean()), *wilson_interval(int(right.sum()), len(right))


def gaussian(simulations: int, count: int, shift: float) -> list[dict[str, object]]:
    """Features with a decaying spectrum, as those of a judge; real ones that far from the fake."""
    source = np.random.default_rng(count)
    scale = np.exp(-np.arange(DIMENSIONS) / (DIMENSIONS / 4))
    reference = FrechetReference(torch.from_numpy(source.standard_normal((60_000, DIMENSIONS)) * scale))
    one_class = np.zeros(count, dtype=np.int64)

    def fd() -> tuple[float, float, float]:
        images = torch.from_numpy((source.standard_normal((count, DIMENSIONS)) * (1 + shift) + shift) * scale)
        return around(reference.distance(images), fd_error(reference, images, one_class))

    return [coverage(f"FD, Gaussian, N = {count:,}, {shift} away", fd, simulations)]


def judged(pool: Pool, simulations: int, count: int) -> list[dict[str, object]]:
    """Every measure that has an interval, on what the judge sees of a run's images."""
    source, labels = np.random.default_rng(count), pool.labels[:count]
    reference, few = pool.reference, min(count, 1000)
    real = pool.full[torch.from_numpy(np.random.default_rng(1).permutation(len(pool.labels))[:count])]
    looks_real = in_balls(real, pool.half)

    def images(of: torch.Tensor, number: int = count) -> torch.Tensor:
        return of[torch.from_numpy(pool.places(number, source))]

    def fd() -> tuple[float, float, float]:
        drawn = images(pool.full)
        return around(reference.distance(drawn), fd_error(reference, drawn, labels))

    def difference(alike: bool) -> tuple[float, float, float]:
        places = torch.from_numpy(pool.places(count, source))
        first, second = pool.half[places], pool.full[places] if alike else images(pool.full)
        value = reference.distance(first) - reference.distance(second)
        return around(value, fd_difference_error(reference, first, second, labels))

    def endless() -> tuple[float, float, float]:
        drawn = images(pool.full)
        return around(endless_distance(reference, drawn, labels), endless_error(reference, drawn, labels))

    def kernel() -> tuple[float, float, float]:
        drawn = images(pool.half, few)
        value, _ = kernel_distance(real[:few], drawn)
        return around(
            value,
            standard_error(
                lambda places: kernel_distance(real[:few], drawn[torch.from_numpy(places)])[1], labels[:few]
            ),
        )

    def accuracy_difference() -> tuple[float, float, float]:
        places = pool.places(count, source)
        return around(*paired_difference(pool.half_right[places], pool.full_right[places]))

    truth = reference.distance(pool.full)  # of the distribution that is drawn from: exact
    kinds: list[tuple[str, Draw, float | None]] = [
        ("class accuracy", lambda: of_share(pool.full_right[pool.places(count, source)]), None),
        ("precision, real images as they are", lambda: of_share(looks_real[pool.places(count, source)]), None),
        ("class accuracy, difference in pairs", accuracy_difference, None),
        ("FD-judge", fd, None),
        ("FD-judge, difference in pairs of one noise", lambda: difference(True), None),
        ("FD-judge, difference in pairs of two noises", lambda: difference(False), None),
        ("KID", kernel, None),
    ]
    if count >= ENDLESS_PER_DIMENSION * DIMENSIONS:
        kinds.append(("FD-judge of endless images", endless, truth))
    return [coverage(f"{name}, N = {count:,}", draw, simulations, expected) for name, draw, expected in kinds]


def in_balls(real: torch.Tensor, fake: torch.Tensor) -> np.ndarray:
    """(M,) bool: which of fake (M, D) lie nearer to one of real (N, D) than its third neighbour does: precision."""
    radii = nearest_others(real.float(), 3, None)[0][:, -1]
    parts = [(squared_distances(part, real.float()) <= radii).any(dim=1) for part in fake.float().split(1000)]
    return torch.cat(parts).numpy()


def main() -> None:
    """Simulate, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--counts", type=int, nargs="+", default=[200, 512, 1000, 2000], metavar="N")
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
