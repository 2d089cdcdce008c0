"""How often each word of a verdict is wrong: `python -m benchmarks.verdicts --run RUN`.

Null pairs are the same weights with other noise, in pairs (a cell against the reference) and by strangers (two
evaluations), also in pairs most of whose images are the same. A run of half the steps (`--half`, another run) is worse;
98 % against 99 % is not as good. Draws come from a pool of judged images (benchmarks.judged_pool), with replacement
within each class. Results: benchmarks/results/verdicts-<date>.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from benchmarks.judged_pool import Pool, pool_of
from benchmarks.report import RESULTS, machine
from core.evaluation.differences import paired_difference, unpaired_difference
from core.evaluation.measures import fd_difference_error, fd_error
from core.evaluation.verdict import Change, Judgement, accuracy_change, fd_change, judgement


def changes(
    pool: Pool, sets: tuple[torch.Tensor, torch.Tensor], right: tuple[np.ndarray, np.ndarray], *, pairs: bool
) -> list[Change]:
    """Of two sets of images: features (N, 128) and which are of their class (N,). pairs: of the same noise."""
    (first, second), (its, theirs) = sets, right
    count = len(its)
    labels, reference = pool.labels[:count], pool.reference.distance(second)
    if pairs:
        error = fd_difference_error(pool.reference, first, second, labels)
        accuracy, accuracy_error = paired_difference(its, theirs)
    else:
        error = math.hypot(*(fd_error(pool.reference, each, labels) for each in sets))
        accuracy, accuracy_error = unpaired_difference((int(its.sum()), count), (int(theirs.sum()), count))
    return [
        fd_change(pool.reference.distance(first) - reference, error, reference=reference, floor=0.0),
        accuracy_change(accuracy, accuracy_error, reference=float(theirs.mean()), num_images=count),
    ]


def tally(name: str, judge: Callable[[], Judgement], times: int) -> dict[str, object]:
    """How often each word is said."""
    found = [judge() for _ in range(times)]
    words = Counter(each.word for each in found)
    more = [each.more_images for each in found if each.more_images]
    print(f"{name:50} {dict(words)}; more images, median {np.median(more) if more else '–'}", flush=True)
    return {"name": name, "times": times, "words": dict(words), "more_images": more}


def main() -> None:
    """Simulate, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a run or model")
    parser.add_argument("--half", default="", help="a run of half the training steps, of the same VAE and labels")
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--count", type=int, default=2000, metavar="N", help="images a set")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--cells", type=int, default=1, help="compared at once: the correction")
    parser.add_argument("--pool", type=Path, default=Path("pool.npz"), help="where what the judge saw is kept")
    parser.add_argument("--images", type=int, default=10_000, help="images of the pool")
    parser.add_argument("--out", type=Path, default=RESULTS / f"verdicts-{datetime.now(UTC):%Y-%m-%d}.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pool = pool_of(options.run, options.images, options.pool)
    less = pool_of(options.half, options.images, options.pool.with_stem("pool-half")) if options.half else None
    source, count = np.random.default_rng(options.seed), options.count

    def null(pairs: bool, alike: float = 0.0) -> Judgement:
        """Noise of its own on each side; in pairs as a stochastic sampler, image by image of one class. alike: the
        share of pairs whose two images are the same."""
        first, second = pool.places(count, source), pool.places(count, source)
        places = first, np.where(source.random(count) < alike, first, second)
        sets = pool.full[torch.from_numpy(places[0])], pool.full[torch.from_numpy(places[1])]
        right = pool.full_right[places[0]], pool.full_right[places[1]]
        return judgement(changes(pool, sets, right, pairs=pairs), count, cells=options.cells)

    def against_all(worse: torch.Tensor, worse_right: np.ndarray, *, pairs: bool) -> Judgement:
        places = pool.places(count, source)
        others = places if pairs else pool.places(count, source)
        sets = worse[torch.from_numpy(others)], pool.full[torch.from_numpy(places)]
        right = worse_right[others], pool.full_right[places]
        return judgement(changes(pool, sets, right, pairs=pairs), count, cells=options.cells)

    def percent_98_against_99() -> Judgement:
        right, theirs = source.random(count) < 0.98, source.random(count) < 0.99
        value, error = unpaired_difference((int(right.sum()), count), (int(theirs.sum()), count))
        accuracy = accuracy_change(value, error, reference=float(theirs.mean()), num_images=count)
        return judgement([accuracy, fd_change(0.0, 0.0, reference=1.0, floor=0.0)], count, cells=options.cells)

    rows = [
        tally("null, strangers", lambda: null(False), options.pairs),
        tally("null, pairs", lambda: null(True), options.pairs),
        tally("null, pairs, four fifths the same", lambda: null(True, 0.8), options.pairs),
        tally(
            "half the sampling steps, pairs",
            lambda: against_all(pool.half, pool.half_right, pairs=True),
            options.pairs // 4,
        ),
        tally("98 % against 99 %, FD alike", percent_98_against_99, 5 * options.pairs),
    ]
    if less is not None:
        for pairs, name in ((True, "pairs"), (False, "strangers")):
            judge = functools.partial(against_all, less.full, less.full_right, pairs=pairs)
            rows.append(tally(f"half the training, {name}", judge, options.pairs // 4))
    options.out.write_text(json.dumps({"machine": machine(), **vars(options), "rows": rows}, indent=1, default=str))


if __name__ == "__main__":
    main()
