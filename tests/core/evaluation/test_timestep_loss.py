"""Loss against t with networks whose error is known: one that answers exactly, one that answers nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import core.evaluation.timestep_loss as module
from core.config.schema import DiffusionSettings
from core.data.arrays import ImageSet, Split, prepare
from core.data.batches import images_to_model
from core.diffusion.schedule import build_schedule, to_pred_epsilon, to_pred_original
from core.errors import NonFiniteError, UsageError
from core.evaluation.timestep_loss import fixed_noise, measure_timestep_loss, posterior_samples, timestep_loss
from core.evaluation.timestep_loss_results import TimestepLoss
from core.runs.run import Run
from core.sampling.load import LoadedModel, load_model
from tests.core.evaluation.conftest import toy_set
from tests.core.evaluation.test_evaluate import tiny_model

TOY = toy_set(count=120)
COUNT = 20
KINDS = [("cosine", "epsilon"), ("cosine", "v_prediction"), ("linear", "sample"), ("flow", "flow")]
Answer = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Answers(torch.nn.Module):
    """A network whose answer is a function of (noisy latents, timestep); remembers the labels it was asked with."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.labels: list[torch.Tensor] = []

    def forward(self, noisy: torch.Tensor, timestep: torch.Tensor, class_labels: torch.Tensor) -> Any:
        self.labels.append(class_labels)
        return SimpleNamespace(sample=self.answer(noisy, timestep))


def model_with(schedule: str, prediction_type: str, answer: Answer | None = None) -> LoadedModel:
    settings = DiffusionSettings.model_validate({"schedule": schedule, "prediction_type": prediction_type})
    built = replace(tiny_model(TOY.fingerprint), schedule=build_schedule(settings))
    return replace(built, unet=Answers(answer)) if answer else built  # type: ignore[arg-type]


def silent(schedule: str, prediction_type: str) -> LoadedModel:
    return model_with(schedule, prediction_type, lambda noisy, timestep: torch.zeros_like(noisy))


def measure(model: LoadedModel, **options: Any) -> TimestepLoss:
    return measure_timestep_loss(model, TOY, **{"num_pictures": COUNT, "num_points": 6, **options})


def places(count: int = COUNT) -> np.ndarray:
    order = np.random.default_rng(module.derive(module.SEED, "timestep-loss pictures")).permutation(
        len(TOY.heldout.labels)
    )
    return np.sort(order[:count])


def latents_and_noise(model: LoadedModel, count: int = COUNT) -> tuple[torch.Tensor, torch.Tensor]:
    """What the measurement looks at."""
    pictures = images_to_model(torch.from_numpy(TOY.heldout.images[places(count)]))
    latents = posterior_samples(model.codec, pictures, places(count))
    return latents, fixed_noise("timestep-loss noise", places(count), latents)


@pytest.mark.parametrize(("schedule", "prediction_type"), KINDS)
def test_a_network_that_knows_the_noise_has_no_error(schedule: str, prediction_type: str) -> None:
    model = model_with(schedule, prediction_type)
    latents, noise = latents_and_noise(model)

    def knows(noisy: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        t = torch.full((COUNT,), int((model.schedule.timesteps - timestep[0]).abs().argmin()))
        return model.schedule.target(latents, noise, t)

    found = measure(replace(model, unet=Answers(knows)))  # type: ignore[arg-type]
    assert found.target == found.epsilon == found.original == (0.0,) * 6


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_silence_about_the_noise_costs_the_power_of_the_noise_at_every_t(schedule: str) -> None:
    model = silent(schedule, "epsilon")
    _, noise = latents_and_noise(model)
    found = measure(model)
    assert found.target == pytest.approx([float((noise**2).mean())] * 6)
    assert found.epsilon == found.target
    assert found.target[0] == pytest.approx(1.0, abs=0.15)
    assert found.average_guess("epsilon") == pytest.approx([1.0] * 6)


def test_silence_about_the_clean_latents_costs_their_second_moment_at_every_t() -> None:
    model = silent("linear", "sample")
    latents, _ = latents_and_noise(model)
    found = measure(model)
    assert found.original == pytest.approx([float((latents**2).mean())] * 6, rel=1e-5)
    assert found.variance == pytest.approx(float(latents.double().var(dim=(0, 2, 3)).mean()))
    assert list(found.average_guess("original")) == [found.variance] * 6


@pytest.mark.parametrize(("schedule", "prediction_type"), KINDS)
def test_silence_costs_what_guessing_the_average_of_the_target_is_said_to_cost(
    schedule: str, prediction_type: str
) -> None:
    model = silent(schedule, prediction_type)
    flat = replace(model, codec=CENTRED(model))  # latents of zero mean, as after training
    found = measure(flat, num_pictures=60)
    np.testing.assert_allclose(found.target, found.average_guess("target"), rtol=0.12)


class CENTRED:
    """A codec whose latents are noise of unit variance."""

    def __init__(self, model: LoadedModel) -> None:
        self.vae = SimpleNamespace(encode=self.encode)
        self.scaling = model.codec.scaling

    def encode(self, images: torch.Tensor) -> Any:
        zeros = torch.zeros(len(images), 2, 4, 4)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=zeros, std=zeros + 1.0))


@pytest.mark.parametrize(("schedule", "prediction_type"), KINDS)
def test_errors_in_other_units_are_those_of_the_converted_answers(schedule: str, prediction_type: str) -> None:
    model = model_with(schedule, prediction_type, lambda noisy, timestep: 0.3 * noisy + 0.1)
    latents, noise = latents_and_noise(model)
    found, tables = measure(model), model.schedule
    for index, point in enumerate(found.t):
        signal, sigma = float(tables.signal_scale[point]), float(tables.noise_scale[point])
        t = torch.full((COUNT,), point)
        noisy = tables.add_noise(latents, noise, t).double()
        answer = 0.3 * noisy + 0.1
        if signal > 1e-3:  # dividing by less loses every digit that the direct way has
            original = to_pred_original(prediction_type, answer, noisy, signal, sigma)
            assert found.original[index] == pytest.approx(float(((original - latents) ** 2).mean()), rel=2e-3)
            if sigma > 5e-3:
                epsilon = to_pred_epsilon(original, noisy, signal, sigma)
                assert found.epsilon[index] == pytest.approx(float(((epsilon - noise) ** 2).mean()), rel=2e-3)
        truth = tables.target(latents, noise, t)
        assert found.target[index] == pytest.approx(float(((answer - truth) ** 2).mean()), rel=1e-5)


def test_nobody_who_is_linear_beats_the_best_linear_guess() -> None:
    model = silent("cosine", "sample")
    latents, _ = latents_and_noise(model)
    variance = latents.double().var(dim=(0, 2, 3))
    found = measure(model, num_points=9)
    assert found.linear[0] < 1e-3
    assert found.linear[-1] == pytest.approx(float(variance.mean()), rel=1e-6)  # nothing but the mean is known
    shares = [
        measure(model_with("cosine", "sample", lambda noisy, _, share=share: share * noisy), num_points=9).original
        for share in np.linspace(0, 1, 11)
    ]
    # the mean of the toy latents is not zero, so a guess without an offset can only be worse
    assert (np.min(shares, axis=0) > 0.85 * np.array(found.linear)).all()


def test_the_best_linear_guess_follows_the_units() -> None:
    found = measure(silent("cosine", "epsilon"))
    snr = np.exp(np.array(found.log_snr))
    np.testing.assert_allclose(found.linear_guess("epsilon"), snr * np.array(found.linear), rtol=1e-5)
    np.testing.assert_allclose(found.linear_guess("original"), found.linear)


@pytest.mark.parametrize("batch_size", [1, 7, 20])
def test_batches_change_nothing(batch_size: int) -> None:
    model = model_with("flow", "flow")
    whole, parts = measure(model), measure(model, batch_size=batch_size)
    assert whole.target == pytest.approx(parts.target, rel=1e-5)
    assert whole.target_error == pytest.approx(parts.target_error, rel=1e-4)
    assert whole.linear == pytest.approx(parts.linear, rel=1e-5)


def test_every_run_sees_the_same_pictures_and_the_same_noise_at_every_t() -> None:
    seen: dict[str, list[torch.Tensor]] = {}
    for schedule, prediction_type in KINDS:
        seen[prediction_type] = []
        model = model_with(schedule, prediction_type)

        def look(noisy: torch.Tensor, timestep: torch.Tensor, model: LoadedModel = model) -> torch.Tensor:
            t = int((model.schedule.timesteps - timestep[0]).abs().argmin())
            clean, _ = latents_and_noise(model)
            noise = (noisy - model.schedule.signal_scale[t] * clean) / model.schedule.noise_scale[t]
            seen[model.schedule.prediction_type].append(noise)
            return noisy

        measure(replace(model, unet=Answers(look)))  # type: ignore[arg-type]
    expected = latents_and_noise(model_with("flow", "flow"))[1]
    for noises in seen.values():
        assert len(noises) == 6
        for noise in noises[1:]:
            np.testing.assert_allclose(noise, expected, atol=1e-3)


def test_noise_depends_on_the_picture_and_on_the_purpose_only() -> None:
    like = torch.zeros(1, 2, 4, 4)
    together, alone = fixed_noise("a", [3, 8], like), fixed_noise("a", [8], like)
    assert torch.equal(together[1], alone[0])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(alone, fixed_noise("b", [8], like))


def test_more_pictures_include_the_fewer() -> None:
    assert set(places(10)) < set(places(20))


def test_labels_are_kept() -> None:
    model = silent("flow", "flow")
    measure(model)
    labels = model.unet.labels  # type: ignore[union-attr]
    assert len(labels) == 6
    assert all(np.array_equal(each, TOY.heldout.labels[places()]) for each in labels)


def test_the_uncertainty_is_that_of_the_mean_over_pictures() -> None:
    model = silent("linear", "sample")
    latents, _ = latents_and_noise(model)
    each = (latents.double() ** 2).mean(dim=(1, 2, 3))
    assert measure(model).original_error == pytest.approx([float(each.std() / COUNT**0.5)] * 6, rel=1e-5)


def test_first_and_last_timestep_are_looked_at() -> None:
    found = measure(silent("cosine", "v_prediction"))
    assert (found.t[0], found.t[-1], len(found.t)) == (0, 999, 6)
    assert measure(silent("flow", "flow"), num_points=25).t[1] == 42


def test_pure_noise_and_few_timesteps_stay_finite() -> None:
    found = measure(silent("flow", "flow"))
    assert (found.log_snr[-1], found.alpha_bar[-1]) == (-50.0, 0.0)
    settings = DiffusionSettings.model_validate(
        {
            "schedule": "cosine",
            "prediction_type": "v_prediction",
            "rescale_betas_zero_snr": True,
            "num_train_timesteps": 10,
        }
    )
    few = replace(silent("cosine", "v_prediction"), schedule=build_schedule(settings))
    found = measure(few, num_points=100)
    assert found.t == tuple(range(10))
    assert np.isfinite([found.original, found.epsilon, found.linear_guess("epsilon")]).all()


def test_progress_runs_to_the_end() -> None:
    shares: list[float] = []
    measure(silent("flow", "flow"), batch_size=8, progress=lambda text, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) == 3 * 6


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_pictures": 1}, "2 to 10,000 images, got 1"),
        ({"num_pictures": 10_001}, "images, got 10001"),
        ({"num_pictures": -5}, "images, got -5"),
        ({"num_points": 4}, "5 to 100 timesteps, got 4"),
        ({"num_points": 101}, "timesteps, got 101"),
    ],
)
def test_silly_counts_are_refused(options: dict[str, int], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        measure(silent("flow", "flow"), **options)


def test_other_pictures_than_those_of_training_are_refused() -> None:
    with pytest.raises(UsageError, match="was trained on other images"):
        measure_timestep_loss(tiny_model("f" * 64), TOY, num_pictures=4, num_points=5)


def test_a_single_held_out_picture_is_refused() -> None:
    one: ImageSet = replace(TOY, heldout=Split(images=TOY.heldout.images[:1], labels=TOY.heldout.labels[:1]))
    with pytest.raises(UsageError, match="needs 2 held-out images, got 1"):
        measure_timestep_loss(silent("flow", "flow"), one, num_pictures=4, num_points=5)


def test_more_pictures_than_there_are_take_all() -> None:
    assert measure(silent("flow", "flow"), num_pictures=10_000).num_pictures == len(TOY.heldout.labels)


def test_a_network_that_answers_no_numbers_is_one_sentence() -> None:
    broken = model_with("flow", "flow", lambda noisy, t: noisy / 0.0 if t[0] > 500 else noisy)
    with pytest.raises(
        NonFiniteError, match="at t = 599 the network of step 40 returns a value that is not a finite n"
    ):
        measure(broken)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy of the trained run that may be changed."""
    import shutil

    return Run(shutil.copytree(trained.folder, tmp_path / trained.id))


def measured(run: Run, tmp_path: Path, **options: Any) -> TimestepLoss:
    data = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache"}
    model = load_model(run, device="cpu", weights=options.get("weights", "ema"), step=options.pop("step", None))
    return timestep_loss(
        run, model, prepare(run.settings.data, **data), **{"num_pictures": 16, "num_points": 5, **options}
    )


@pytest.mark.slow
def test_the_average_over_t_is_the_held_out_loss_of_training(run: Run, tmp_path: Path) -> None:
    import json

    logged = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    told = [line["val_loss"] for line in logged if "val_loss" in line][-1]
    found = measured(run, tmp_path, num_pictures=150, num_points=25)
    assert float(np.trapezoid(found.target, found.t) / 999) == pytest.approx(told, rel=0.08)


def test_a_measurement_is_kept_and_read_back(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured(run, tmp_path)
    monkeypatch.setattr(module, "measure_timestep_loss", lambda *a, **k: pytest.fail("measured again"))
    assert measured(run, tmp_path) == first
    assert [path.name for path in (run.folder / "timestep_loss").iterdir()] == [f"00000030-{first.key}.json"]


@pytest.mark.parametrize("change", [{"num_pictures": 17}, {"num_points": 6}, {"weights": "raw"}, {"step": 24}], ids=str)
def test_what_decides_a_measurement_makes_another_one(run: Run, tmp_path: Path, change: dict[str, Any]) -> None:
    first, other = measured(run, tmp_path), measured(run, tmp_path, **change)
    assert first.key != other.key
    assert first.target != other.target
    assert measured(run, tmp_path) == first


def test_a_folder_that_cannot_be_written_loses_nothing(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run.folder / "timestep_loss").write_text("a file is in the way")
    assert len(measured(run, tmp_path).t) == 5
    assert "cannot be kept" in caplog.text
