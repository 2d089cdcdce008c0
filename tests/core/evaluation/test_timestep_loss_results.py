"""The loss against t as it is kept: damage, keys, and what the figures say in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import CheckpointError
from core.evaluation.timestep_loss_results import (
    LOSSES,
    TimestepLoss,
    in_words,
    keep,
    key_of,
    read_kept,
    units_of,
)
from core.runs.run import Run
from core.runs.store import RunStore
from tests.pages.run_folders import make_run, write_checkpoint


def loss(**changes: Any) -> TimestepLoss:
    """Three timesteps of a cosine-like schedule; 60 % better than the linear guess, but for the first."""
    alpha_bar = np.array(changes.get("alpha_bar", [0.99, 0.5, 0.01]))
    linear = 1 - alpha_bar
    values: dict[str, Any] = {
        "key": "k",
        "run_id": "r",
        "step": 10,
        "weights": "ema",
        "data_set": "digits",
        "fingerprint": "f",
        "latents": "l",
        "schedule": "cosine",
        "prediction_type": "sample",
        "num_pictures": 8,
        "num_train_timesteps": 1000,
        "variance": 1.0,
        "t": (0, 500, 999),
        "signal_scale": tuple(np.sqrt(alpha_bar)),
        "noise_scale": tuple(np.sqrt(1 - alpha_bar)),
        "log_snr": tuple(np.log(alpha_bar / (1 - alpha_bar))),
        "linear": tuple(linear),
        **changes,
        "alpha_bar": tuple(alpha_bar),
    }
    original = np.array(values.pop("original") if "original" in values else linear * [1.0, 0.4, 0.5])
    for name, unit in (("target", 1.0), ("original", 1.0), ("epsilon", alpha_bar / (1 - alpha_bar))):
        values.setdefault(name, tuple(float(each) for each in original * unit))
        values.setdefault(f"{name}_error", tuple(float(each) for each in original * unit * 0.01))
    return TimestepLoss(**{name: _plain(value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    return (
        tuple(each.item() if isinstance(each, np.generic) else each for each in value)
        if isinstance(value, tuple)
        else value
    )


def kept_file(folder: Path) -> Path:
    return folder / "timestep_loss" / "00000010-k.json"


def test_what_is_kept_is_read_back_as_it_was(tmp_path: Path) -> None:
    keep(Run(tmp_path), loss())
    assert read_kept(Run(tmp_path), 10, "k") == loss()
    assert read_kept(Run(tmp_path), 10, "other") is None


@pytest.mark.parametrize(
    "change",
    [
        {"t": 3},
        {"t": [], "target": []},
        {"target": [0.1, 0.2]},
        {"target": ["0.1", 0.2, 0.3]},
        {"linear": None},
        {"original": [0.1, 0.2, float("nan")]},
        {"epsilon": [0.1, 0.2, float("inf")]},
        {"variance": "1"},
        {"step": "10"},
        {"schedule": ["cosine"]},
        {"format": 1},
        {"key": "another"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_damaged_measurement_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    keep(Run(tmp_path), loss())
    kept_file(tmp_path).write_text(json.dumps({**LOSSES.as_json(loss()), **change}))
    assert read_kept(Run(tmp_path), 10, "k") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 5000])
def test_a_torn_file_is_none(tmp_path: Path, text: str) -> None:
    keep(Run(tmp_path), loss())
    kept_file(tmp_path).write_text(text)
    assert read_kept(Run(tmp_path), 10, "k") is None


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction", "flow"])
def test_the_error_of_the_noise_is_that_of_the_clean_latents_times_the_snr(kind: str) -> None:
    units = units_of(kind, 0.6, 0.8)
    assert units["epsilon"] == pytest.approx((0.6 / 0.8) ** 2 * units["original"])
    assert units["target"] == 1.0


@pytest.fixture
def unet(tmp_path: Path) -> Run:
    run = make_run(RunStore(tmp_path / "runs"))
    write_checkpoint(run, 100)
    files = {name: {"size": 2, "sha256": name} for name in ("state.json", "unet/w", "unet_ema/w")}
    (run.checkpoints_dir / "step-00000100" / "manifest.json").write_text(json.dumps({"files": files}))
    run.data_path.write_text(json.dumps({"fingerprint": "f"}))
    run.vae_dir.mkdir()
    (run.vae_dir / "codec.json").write_text(json.dumps({"sha256": "v", "shift": [0.0], "scale": [1.0]}))
    return run


def key(run: Run, **options: Any) -> str:
    return key_of(run, 100, **{"weights": "ema", "num_pictures": 8, "num_points": 5, **options})


def test_the_key_follows_everything_that_decides(unet: Run) -> None:
    keys = {key(unet), key(unet, weights="raw"), key(unet, num_pictures=9), key(unet, num_points=6)}
    changes = [
        (unet.data_path, {"fingerprint": "other"}),
        (unet.vae_dir / "codec.json", {"sha256": "v", "shift": [0.0], "scale": [2.0]}),
        (unet.checkpoints_dir / "step-00000100" / "manifest.json", {"files": {"unet_ema/w": {"sha256": "new"}}}),
    ]
    for path, values in changes:
        path.write_text(json.dumps(values))
        keys.add(key(unet))
    assert len(keys) == 4 + len(changes)
    assert key(Run(unet.folder)) == key(unet)


@pytest.mark.parametrize("file", ["data.json", "vae/codec.json", "checkpoints/step-00000100/manifest.json"])
@pytest.mark.parametrize("text", [None, "{", "[]", '{"files": [1]}'])
def test_a_missing_or_damaged_file_is_one_sentence(unet: Run, file: str, text: str | None) -> None:
    path = unet.folder / file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(CheckpointError, match="the checkpoint of step 100 cannot be read") as caught:
        key(unet)
    assert "\n" not in str(caught.value)


def test_one_run_in_words() -> None:
    assert in_words(loss()) == (
        "It knows most at t = 500: 60% less error than the best linear guess. At t = 0 it does no better than that "
        "guess."
    )


def test_neighbouring_timesteps_are_named_together() -> None:
    told = in_words(loss(original=(0.001, 0.5, 0.99)))
    assert told.endswith("At t = 500 to 999 it does no better than that guess.")


def test_two_runs_on_one_schedule_compare_timestep_by_timestep() -> None:
    better = loss(original=np.array([0.01, 0.1, 0.495]))
    assert in_words(loss(), better, ("A", "B")) == (
        "Of 3 timesteps, A has the lower error of the clean latents at 0, B at 1; at 2 they cannot be told apart."
    )


def test_runs_on_two_schedules_compare_where_they_are_equally_noisy() -> None:
    def on(alpha_bar: np.ndarray, factor: float) -> TimestepLoss:
        return loss(alpha_bar=alpha_bar, original=factor * (1 - alpha_bar), t=tuple(range(len(alpha_bar))))

    other = np.linspace(0.9, 0.1, 33) ** 1.5
    first, second = on(np.linspace(0.95, 0.05, 40), 0.5), on(other, 0.5)
    told = in_words(first, second, ("A", "B"))
    assert "noise levels (log-SNR) that both know, A has the lower error of the clean latents at 0, B at 0" in told
    worse = on(other, 0.7)
    inside = sum(second.log_snr[-1] <= value <= second.log_snr[0] for value in first.log_snr)
    assert f"Of {inside} noise levels" in told
    assert f"A has the lower error of the clean latents at {inside}, B at 0" in in_words(first, worse, ("A", "B"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fingerprint": "g"}, "They were trained on different images, so their errors do not compare."),
        ({"latents": "m"}, "Each lives in the latents of its own VAE, so their errors do not compare."),
        ({"log_snr": (50.0, 49.0, 48.0)}, "They have no noise level in common."),
    ],
)
def test_what_does_not_compare_is_said(change: dict[str, Any], sentence: str) -> None:
    assert in_words(loss(), replace(loss(), **change)) == sentence
