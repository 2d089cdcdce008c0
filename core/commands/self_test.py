"""`self-test`: every sampler judged with a network that is a formula; no model and no data set is needed."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from core import atomic
from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.progress import progress_bar
from core.commands.tables import table
from core.config.compatibility import MEASURED_STEPS, SCHEDULES, SOLVER_ERRORS, pair_problem
from core.diffusion.sampler_table import FLOW_SAMPLERS, SAMPLERS

PATHS, RANDOM_PATHS = 1024, 1 << 16
UNIT = "Wasserstein-1 distance to the true distribution, in standard deviations, from noise; lower is better"


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "self-test",
        "Test every sampler against a formula, without a model or a dataset.",
        ("self-test --schedule flow", "self-test --json"),
    )
    parser.add_argument("--schedule", choices=SCHEDULES, help="only this schedule (default: all)")
    parser.add_argument("--write", action="store_true", help="renew the table behind the warnings about poor pairs")


def run(arguments: argparse.Namespace) -> int:
    """Print distribution errors by schedule, sampler and steps; 1 when an offered pair diverges."""
    schedules = [arguments.schedule] if arguments.schedule and not arguments.write else list(SCHEDULES)
    errors = {}
    with progress_bar() as show:
        for place, schedule in enumerate(schedules):

            def tell(name: str, share: float, place: int = place) -> None:
                show(name, (place + share) / len(schedules))

            errors[schedule] = measure(schedule, tell)
    if arguments.write:
        facts = {
            "measured_at": f"{datetime.now(UTC):%Y-%m-%d}",
            "versions": {name: version(name).split("+")[0] for name in ("diffusers", "torch")},
            "steps": list(MEASURED_STEPS),
            "errors": errors,
        }
        atomic.write_json(SOLVER_ERRORS, facts)
    rows = [
        (schedule, sampler, *("refused" if value is None else f"{value:.4f}" for value in values))
        for schedule, samplers in errors.items()
        for sampler, values in samplers.items()
    ]
    heads = ["schedule", "sampler", *(f"{steps} steps" for steps in MEASURED_STEPS)]
    answer(arguments, errors, lambda: f"{table(heads, rows)}\n\n{UNIT}")
    values = [value for samplers in errors.values() for row in samplers.values() for value in row if value is not None]
    return 0 if all(value < 1.0 for value in values) else 1


def measure(
    schedule: str, progress: Callable[[str, float], None] = lambda name, share: None
) -> dict[str, list[float | None]]:
    """Sampler → error at each of MEASURED_STEPS, None where the pair is refused; 99 stands for diverged."""
    from core.config.schema import DiffusionSettings
    from core.diffusion.gaussian_mixture_test import solver_error
    from core.diffusion.schedule import build_schedule

    prediction_type = "flow" if schedule == "flow" else "v_prediction"
    built = build_schedule(DiffusionSettings.model_validate({"schedule": schedule, "prediction_type": prediction_type}))
    found: dict[str, list[float | None]] = {}
    samplers = list(FLOW_SAMPLERS if schedule == "flow" else SAMPLERS)
    for place, sampler in enumerate(samplers):
        row: list[float | None] = []
        for done, steps in enumerate(MEASURED_STEPS):
            progress(f"{schedule}, {sampler}", (place + done / len(MEASURED_STEPS)) / len(samplers))
            if pair_problem(
                schedule=schedule, prediction_type=prediction_type, sampler=sampler, num_inference_steps=steps
            ):
                row.append(None)
                continue
            count = RANDOM_PATHS if SAMPLERS[sampler].stochastic else PATHS
            error = solver_error(sampler, built, steps, num_samples=count).wasserstein
            row.append(round(error, 5) if math.isfinite(error) else 99.0)
        found[sampler] = row
    return found
