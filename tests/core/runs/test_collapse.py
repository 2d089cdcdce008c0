"""A VAE that says nothing of its images is known by its KL divergence."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.runs.collapse import collapsed_kl
from core.runs.metrics import MetricsWriter
from core.runs.run import RunState
from core.runs.store import RunStore
from tests.pages.run_folders import make_run


@pytest.mark.parametrize(
    ("kind", "step", "kl", "expected"),
    [
        ("vae", 100, [30.0, 0.2], 0.2),
        ("vae", 100, [30.0, float("nan"), 0.2, float("nan")], 0.2),
        ("vae", 100, [0.2, 41.0], None),
        ("vae", 40, [0.2], None),
        ("vae", 100, [], None),
        ("unet", 100, [0.2], None),
    ],
    ids=["collapsed", "last-is-nan", "healthy", "still-young", "nothing-logged", "not-a-vae"],
)
def test_a_collapsed_vae_is_known_by_its_newest_kl(
    kind: str, step: int, kl: list[float], expected: float | None, tmp_path: Path
) -> None:
    run = make_run(RunStore(tmp_path), kind, state=RunState.STOPPED, step=step, steps_total=100, logged=0)
    writer = MetricsWriter(run.metrics_path)
    for number, value in enumerate(kl):
        writer.append({"step": number + 1, "loss": 0.3, "kl": value})
    assert collapsed_kl(run, run.status()) == expected


def test_a_long_file_is_judged_by_its_end(tmp_path: Path) -> None:
    run = make_run(RunStore(tmp_path), "vae", logged=0)
    writer = MetricsWriter(run.metrics_path)
    for number in range(400):
        writer.append({"step": number + 1, "loss": 0.3, "kl": 400.0 - number})
    assert collapsed_kl(run, run.status()) == 1.0
