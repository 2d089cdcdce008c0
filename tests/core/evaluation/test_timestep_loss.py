"""Loss against t with networks whose error is known: one that answers exactly, one that answers nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import core.evaluation.timestep_loss as module
from core.config.schema import DiffusionSettings
from core.diffusion.schedule import build_schedule
from core.errors import UsageError
from core.evaluation.timestep_loss import TimestepLoss, measure_timestep_loss, timestep_loss
from core.sampling.load import LoadedModel
from core.seeding import generator
from tests.core.evaluation.conftest import toy_set
from tests.core.evaluation.test_evaluate import tiny_model

TOY = toy_set(count=120)
KINDS = [("cosine", "epsilon"), ("cosine", "v_prediction"), ("linear", "sample"), ("flow", "flow")]


class Answers(torch.nn.Module):
    """A network whose answer is a function of (noisy latents, timestep)."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, noisy: torch.Tensor, timestep: torch.Tensor, class_labels: torch.Tensor) -> Any:
        return SimpleNamespace(sample=self.answer(noisy, timestep))


def model_with(schedule: str, prediction_type: str, answer: Any = None) -> LoadedModel:
    settings = DiffusionSettings.model_validate({"schedule": schedule, "prediction_type": prediction_type})
    built = replace(tiny_model(TOY.fingerprint), schedule=build_schedule(settings))
    return replace(built, unet=Answers(answer)) if answer else built  # type: ignore[arg-type]


def measure(model: LoadedModel, **options: Any) -> TimestepLoss:
    return measure_timestep_loss(model, TOY, **{"num_pictures": 20, "num_points": 6, **options})


def latents_and_noise(model: LoadedModel, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the measurement should have used, computed beside it."""
    order = np.random.default_rng(module.derive(module.SEED, "timestep-loss")).permutation(len(TOY.heldout.labels))
    places = np.sort(order[:count])
    pictures = torch.from_numpy(TOY.heldout.images[places]).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = model.codec.encode(pictures)
    noise = [torch.randn(latents.shape[1:], generator=generator(0, "timestep-loss", int(place))) for place in places]
    return latents, torch.stack(noise)


@pytest.mark.parametrize(("schedule", "prediction_type"), KINDS)
def test_a_network_that_knows_everything_has_no_error(schedule: str, prediction_type: str) -> None:
    model = model_with(schedule, prediction_type)
    latents, noise = latents_and_noise(model, 20)

    def knows(noisy: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        t = torch.full((20,), int((model.schedule.timesteps - timestep[0]).abs().argmin()))
        return model.schedule.target(latents, noise, t)

    found = measure(replace(model, unet=Answers(knows)))  # type: ignore[arg-type]
    assert max(found.target) < 1e-10
    assert max(found.epsilon[1:]) < 1e-4
    assert max(found.original[:-1]) < 1e-4


def test_a_network_that_says_nothing_has_the_error_of_silence() -> None:
    model = model_with("cosine", "epsilon", lambda noisy, timestep: torch.zeros_like(noisy))
    latents, noise = latents_and_noise(model, 20)
    found = measure(model)
    assert found.target == pytest.approx([float((noise**2).mean())] * 6)
    assert found.epsilon == pytest.approx(found.target)
    silent = model_with("linear", "sample", lambda noisy, timestep: torch.zeros_like(noisy))
    assert measure(silent).original == pytest.approx([float((latents**2).mean())] * 6, rel=1e-5)


@pytest.mark.parametrize(("schedule", "prediction_type"), KINDS)
def test_errors_of_noise_and_picture_are_the_same_error_in_two_units(schedule: str, prediction_type: str) -> None:
    found = measure(model_with(schedule, prediction_type, lambda noisy, timestep: 0.3 * noisy))
    inner = slice(1, -1)  # noise · (noise error) = signal · (picture error): both come from one answer
    snr = np.exp(np.array(found.log_snr))[inner]
    np.testing.assert_allclose(np.array(found.epsilon)[inner], snr * np.array(found.original)[inner], rtol=1e-3)


def test_the_best_linear_guess_is_beaten_by_nobody_who_is_linear() -> None:
    model = model_with("flow", "flow")
    latents, _ = latents_and_noise(model, 20)
    variance = latents.double().var(dim=(0, 2, 3))
    found = measure(model)
    assert found.linear[-1] == pytest.approx(float(variance.mean()))  # pure noise: nothing but the mean is known
    assert found.linear[0] < 1e-4


def test_batches_change_nothing() -> None:
    model = model_with("flow", "flow")
    whole, parts = measure(model, batch_size=256), measure(model, batch_size=7)
    assert whole.target == pytest.approx(parts.target, rel=1e-5)
    assert whole.target_error == pytest.approx(parts.target_error, rel=1e-4)


def test_the_uncertainty_shrinks_with_the_pictures() -> None:
    model = model_with("flow", "flow")
    few, many = measure(model, num_pictures=15), measure(model, num_pictures=60)
    assert np.mean(many.target_error) < 0.8 * np.mean(few.target_error)


def test_first_and_last_timestep_are_looked_at() -> None:
    found = measure(model_with("cosine", "v_prediction"))
    assert (found.t[0], found.t[-1], len(found.t)) == (0, 999, 6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_pictures": 1}, "2 to 10,000 pictures"),
        ({"num_points": 101}, "2 to 100 timesteps"),
        ({"num_points": 1}, "2 to"),
    ],
)
def test_silly_counts_are_refused(options: dict[str, int], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        measure(model_with("flow", "flow"), **options)


def test_other_pictures_than_those_of_training_are_refused() -> None:
    with pytest.raises(UsageError, match="was trained on other pictures"):
        measure_timestep_loss(tiny_model("f" * 64), TOY, num_pictures=4, num_points=3)


def test_a_measurement_is_kept_and_a_damaged_one_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, model, calls = SimpleNamespace(folder=tmp_path), model_with("flow", "flow"), []
    real = module.measure_timestep_loss
    monkeypatch.setattr(module, "measure_timestep_loss", lambda *a, **k: calls.append(1) or real(*a, **k))
    first = timestep_loss(run, model, TOY, num_pictures=8, num_points=3)  # type: ignore[arg-type]
    assert timestep_loss(run, model, TOY, num_pictures=8, num_points=3) == first  # type: ignore[arg-type]
    assert len(calls) == 1
    timestep_loss(run, model, TOY, num_pictures=9, num_points=3)  # type: ignore[arg-type]
    assert len(calls) == 2
    for text in ("{", "[]", json.dumps({"t": 3})):
        for path in (tmp_path / "timestep_loss").iterdir():
            path.write_text(text)
        assert timestep_loss(run, model, TOY, num_pictures=8, num_points=3) == first  # type: ignore[arg-type]
    assert len(calls) == 5
