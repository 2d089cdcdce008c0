from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.comparison.compared_sides import sides_named
from core.config.load import load_config
from core.errors import RunNotFound, UsageError
from core.jobs.sweeps import Point, delete_sweep, parse_seeds, parse_values, points_of, start_sweep, stop_sweep
from core.runs.groups import runs_of_sweep
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore
from tests.models import TINY


class Engine:
    """Takes runs and does nothing with them."""

    def submit(self, runs: list[Run], *, request: dict[str, Any]) -> None:
        self.taken = [*getattr(self, "taken", []), *runs]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("train_unet.learning_rate=1e-3,2e-3", [1e-3, 2e-3]),
        ("unet.block_out_channels=[8, 16],[8,24]", [[8, 16], [8, 24]]),
        ("data.name=digits", ["digits"]),
    ],
)
def test_values_are_parted_by_commas_outside_of_brackets(text: str, values: list[Any]) -> None:
    assert parse_values(text) == (text.partition("=")[0], values)


def test_seeds_are_numbers_and_ranges() -> None:
    assert parse_seeds("0,2-4, 2") == (0, 2, 3, 4)
    for wrong in ("", "a", "4-1", "0-100", "-1"):
        with pytest.raises(UsageError, match="--seeds"):
            parse_seeds(wrong)


def test_a_grid_has_every_combination_and_a_list_its_lines() -> None:
    axes = {"train_unet.steps": [1, 2], "train_unet.learning_rate": [0.1, 0.2]}
    grid = points_of(axes, (0, 1))
    assert len(grid) == 8 and grid[0].words == "steps=1, learning_rate=0.1, seed 0"
    assert [tuple(point.values.values()) for point in points_of(axes, (0,), as_list=True)] == [(1, 0.1), (2, 0.2)]
    assert points_of({}, (3,)) == [Point(values={}, seed=3)]
    with pytest.raises(UsageError, match="as many values"):
        points_of({**axes, "seed": [1, 2, 3]}, (0,), as_list=True)
    with pytest.raises(UsageError, match="at most"):
        points_of({"train_unet.steps": list(range(1, 101))}, (0, 1, 2))


def test_a_sweep_is_started_compared_stopped_and_deleted_as_one(tmp_path: Path) -> None:
    store, engine = RunStore(tmp_path / "runs"), Engine()
    vae = store.create("vae", load_config(overrides=TINY))
    vae.write_status(Status(state=RunState.FINISHED))
    points = points_of({"train_unet.learning_rate": [1e-3, 2e-3]}, (0, 1))
    trainings = [(point, load_config(overrides={**TINY, **point.overrides})) for point in points]
    sweep, made = start_sweep(
        store,
        "unet",
        trainings,
        name="rate",
        vae_run=vae.id,
        engine=engine,  # type: ignore[arg-type]
        check=lambda *_, **__: None,
    )
    assert engine.taken == made and len(made) == 4
    assert {run.id for run in runs_of_sweep(store, f"sweep:{sweep}")} == {run.id for run in made}
    assert made[0].info.name == "rate learning_rate=0.001, seed 0"
    sides = sides_named(store, f"sweep:{sweep}")
    assert [(side.title, len(side.runs)) for side in sides] == [
        ("rate learning_rate=0.001", 2),
        ("rate learning_rate=0.002", 2),
    ]
    for run in made:
        run.write_status(Status(state=RunState.FINISHED))
    assert stop_sweep(store, sweep) == []
    delete_sweep(store, sweep)
    assert [run.id for run in store.list()] == [vae.id]
    with pytest.raises(RunNotFound, match="has no runs"):
        runs_of_sweep(store, "sweep:")


def test_a_point_that_does_not_fit_starts_nothing(tmp_path: Path) -> None:
    store, engine = RunStore(tmp_path / "runs"), Engine()
    vae = store.create("vae", load_config(overrides=TINY))
    vae.write_status(Status(state=RunState.FINISHED))
    points = points_of({"data.name": ["digits", "mnist"]}, (0, 1))
    trainings = [(point, load_config(overrides={**TINY, **point.overrides})) for point in points]
    with pytest.raises(UsageError, match=r"name=mnist, seed 0: data\.name: the VAE run"):
        start_sweep(store, "unet", trainings, vae_run=vae.id, engine=engine, check=lambda *_, **__: None)  # type: ignore[arg-type]
    assert [run.id for run in store.list()] == [vae.id]


def test_values_that_are_named_twice_are_not_trained_twice() -> None:
    with pytest.raises(UsageError, match="learning_rate: the same value is named twice"):
        points_of({"train_unet.learning_rate": [1e-3, 0.001]}, (0,))


def test_what_cannot_be_trained_starts_nothing(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    (point,) = points_of({}, (0,))
    with pytest.raises(UsageError, match="needs a finished VAE"):
        start_sweep(store, "unet", [(point, load_config(overrides=TINY))], vae_run=None)
    assert store.list() == []
