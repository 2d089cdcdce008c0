"""How often a verdict between recipes is wrong: `python -m benchmarks.run_verdicts RUNS_FOLDER`.

The folder holds real trainings that were evaluated alike: one recipe with many seeds (40 or more), and others, such as
half the steps. Null pairs are two disjoint draws of seeds of one recipe; each other recipe is drawn against the
largest. Without a folder the trainings are simulated: normal, with the spread and image noise given.
Results: benchmarks/results/run-verdicts-<date>.json.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.report import RESULTS, machine
from core.comparison.compared_sides import Measured, measured_alike
from core.comparison.run_comparison import LEAST_SEEDS, recipe_changes
from core.evaluation.report import Report
from core.evaluation.verdict import judgement
from core.runs.groups import groups_among
from core.runs.run import Run
from core.runs.store import RunStore

Draw = Callable[[], tuple[Sequence[Measured], Sequence[Measured]]]


def tally(name: str, draw: Draw, times: int) -> dict[str, object]:
    """How often each word is said of `times` draws."""
    words: Counter[str] = Counter()
    for _ in range(times):
        found, theirs = draw()
        words[judgement(recipe_changes(found, theirs), found[0].reports[0].num_samples).word] += 1
    print(f"{name:60} {dict(words)}", flush=True)
    return {"name": name, "times": times, "words": dict(words)}


def of_folder(root: Path, seeds: int, times: int, source: np.random.Generator) -> list[dict[str, object]]:
    """Null pairs of each recipe with twice as many trainings, and each other recipe against the largest."""
    groups = [measured_alike(group.runs) for group in groups_among(RunStore(root).list())]
    known = sorted((group for group in groups if len(group) >= seeds), key=len, reverse=True)

    def chosen(group: Sequence[Measured], number: int) -> list[Measured]:
        return [group[at] for at in source.choice(len(group), number, replace=False)]

    def halves(group: Sequence[Measured]) -> tuple[Sequence[Measured], Sequence[Measured]]:
        drawn = chosen(group, 2 * seeds)
        return drawn[:seeds], drawn[seeds:]

    rows = []
    for group in known:
        title = f"{group[0].run.title}, {len(group)} trainings"
        if len(group) >= 2 * seeds:
            rows.append(tally(f"null: {title}", lambda group=group: halves(group), times))  # type: ignore[misc]
        if group is not known[0]:
            rows.append(
                tally(
                    f"{title} against {known[0][0].run.title}",
                    lambda group=group: (chosen(group, seeds), chosen(known[0], seeds)),  # type: ignore[misc]
                    times,
                )
            )
    return rows


def simulated(report: Report, seeds: int, times: int, source: np.random.Generator) -> list[dict[str, object]]:
    """Trainings whose FD-judge scatters by `spread` around 1, measured with an error of `noise`."""
    run = Run(Path("/nonexistent/20260101-000000-unet-0000"))

    def side(mean: float, spread: float, noise: float, shared: bool) -> list[Measured]:
        values = mean + spread * source.standard_normal(seeds)
        values += noise * (source.standard_normal() if shared else source.standard_normal(seeds))
        right = 0.99 + 0.004 * source.standard_normal(seeds)
        return [
            Measured(
                run=run,
                reports=(
                    replace(
                        report,
                        seed=0 if shared else number,
                        fd_judge=float(value),
                        fd_high=float(value) + 1.96 * noise,
                        class_accuracy=float(np.clip(accuracy, 0.0, 1.0)),
                    ),
                ),
            )
            for number, (value, accuracy) in enumerate(zip(values, right, strict=True))
        ]

    rows = []
    for shared in (False, True):
        words = "all on the same noise" if shared else "each on noise of its own"
        for spread, noise in ((0.1, 0.03), (0.03, 0.03), (0.0, 0.03)):
            for mean in (1.0, 1.25, 1.5, 2.0):
                name = f"{mean:g} against 1, seeds ± {spread:g}, images ± {noise:g}, {words}"
                draw: Draw = lambda mean=mean, spread=spread, noise=noise, shared=shared: (  # type: ignore[misc] # noqa: E731
                    side(mean, spread, noise, shared),
                    side(1.0, spread, noise, shared),
                )
                rows.append(tally(name, draw, times))
    return rows


def blank_report() -> Report:
    """A report of 1,000 images whose figures the simulation replaces."""
    return Report(
        **dict.fromkeys(("created_at", "run_id", "data_set", "fingerprint", "sampler", "judge_hash", "device"), "-"),
        **dict.fromkeys(
            ("step", "num_inference_steps", "seed", "judge_heldout_count", "judge_seed", "judge_epochs"),
            0,
        ),
        **dict.fromkeys(
            ("guidance_scale", "judge_accuracy", "elapsed_s", "class_accuracy_low", "class_accuracy_high"), 0.0
        ),
        **dict.fromkeys(("fd_judge", "fd_floor", "precision", "recall", "copy_ratio", "class_accuracy"), 0.0),
        num_samples=1000,
        per_class=(),
        fd_reference_count=60_000,
        fd_floor_count=1000,
        neighbours=3,
        precision_recall_count=1000,
        real_precision=None,
        real_recall=None,
        labels_rule=2,
    )


def main() -> None:
    """Draw, judge, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=Path, help="a folder of evaluated runs; without it: simulated")
    parser.add_argument("--seeds", type=int, default=LEAST_SEEDS, help="trainings a side")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--out", type=Path, default=RESULTS / f"run-verdicts-{datetime.now(UTC):%Y-%m-%d}.json")
    options = parser.parse_args()
    source = np.random.default_rng(options.seed)
    if options.runs:
        rows = of_folder(options.runs, options.seeds, options.pairs, source)
    else:
        rows = simulated(blank_report(), options.seeds, options.pairs, source)
    options.out.write_text(json.dumps({"machine": machine(), **vars(options), "rows": rows}, indent=1, default=str))


if __name__ == "__main__":
    main()
