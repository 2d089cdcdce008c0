"""Branches against a denoiser that is a formula, one mixture of Gaussians a class: what comes out is known exactly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.config.schema import DiffusionSettings, Settings
from core.diffusion.gaussian_mixture_test import MIXTURE, Mixture, perfect_output, standardised, told_scales
from core.diffusion.guidance import Guidance
from core.diffusion.samplers import build_sampler, initial_latents, network_input, scales_at
from core.diffusion.schedule import NoiseSchedule, build_schedule
from core.sampling.load import LoadedModel
from core.sampling.request import Branch, SampleRequest
from core.sampling.steps import SamplerStep, sample_steps

CLASSES = (  # mixture of class 0, of class 1, and of both together, which the null label stands for
    standardised((0.7, 0.3), (-1.0, 1.0), (0.3, 0.5)),
    standardised((0.2, 0.8), (-2.0, 0.5), (0.4, 0.25)),
    MIXTURE,
)
COUNT = 64


class PerfectNetwork(torch.nn.Module):
    """Answers E[x_0 | x_t, class] in the prediction type of its schedule."""

    def __init__(self, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.schedule = schedule

    def forward(self, noisy: torch.Tensor, timestep: torch.Tensor, class_labels: torch.Tensor) -> Any:
        times = timestep.expand(len(noisy)).tolist()
        answers = [
            perfect_output(
                self.schedule.prediction_type, row.double(), *told_scales(self.schedule, time), CLASSES[label]
            )
            for row, time, label in zip(noisy, times, class_labels.tolist(), strict=True)
        ]
        return SimpleNamespace(sample=torch.stack(answers).float())


def perfect_model(schedule_name: str, prediction_type: str) -> LoadedModel:
    diffusion = DiffusionSettings.model_validate({"schedule": schedule_name, "prediction_type": prediction_type})
    settings = Settings(diffusion=diffusion)
    vae = settings.vae.model_copy(update={"latent_channels": 1, "block_out_channels": (8,)})
    data = settings.data.model_copy(update={"image_size": 1})
    schedule = build_schedule(diffusion)
    return LoadedModel(
        unet=PerfectNetwork(schedule),  # type: ignore[arg-type]
        codec=None,  # type: ignore[arg-type]
        schedule=schedule,
        settings=settings.model_copy(update={"vae": vae, "data": data}),
        class_names=("left", "right"),
        image_set_fingerprint="",
        run_id="perfect",
        step=0,
        device=torch.device("cpu"),
    )


FLOW = ("flow", "flow")
COSINE = ("cosine", "v_prediction")


def asked(sampler: str, steps: int, **changes: Any) -> SampleRequest:
    values = {
        "labels": (0,) * COUNT,
        "sampler": sampler,
        "num_inference_steps": steps,
        "guidance_scale": 1.0,
        "seed": 5,
    }
    return SampleRequest(**{**values, **changes})


def drawn(model: LoadedModel, request: SampleRequest, branch: Branch | None = None) -> list[SamplerStep]:
    assert model.latent_shape == (1, 1, 1)
    return list(sample_steps(model, request, branch=branch))


@pytest.mark.parametrize(
    ("kind", "sampler"), [(FLOW, "euler"), (FLOW, "unipc"), (COSINE, "ddim"), (COSINE, "dpmpp_2m")]
)
@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_branch_is_the_plain_loop_that_changes_class_and_guidance_at_that_step(
    kind: tuple[str, str], sampler: str, at: int
) -> None:
    model, steps = perfect_model(*kind), 8
    branch = Branch(at=at, labels=(1,) * COUNT, guidance=Guidance(scale=2.5))
    found = drawn(model, asked(sampler, steps, guidance_scale=1.5), branch)

    plain = build_sampler(sampler, model.schedule, steps)
    latents = initial_latents(model.schedule, plain, found[0].noisy_latents if kind == FLOW else _noise(model))
    for index, timestep in enumerate(plain.timesteps):
        label, scale = (0, 1.5) if index < at else (1, 2.5)
        noisy = network_input(model.schedule, plain, latents, timestep)
        signal_noise = told_scales(model.schedule, float(timestep))
        known, unknown = (
            perfect_output(model.schedule.prediction_type, noisy.double(), *signal_noise, CLASSES[which]).float()
            for which in (label, 2)
        )
        latents = plain.step(unknown + scale * (known - unknown), timestep, latents).prev_sample
    torch.testing.assert_close(found[-1].next_latents, latents, atol=2e-5, rtol=2e-5)
    unbranched = drawn(model, asked(sampler, steps, guidance_scale=1.5))
    assert (found[-1].next_latents - unbranched[-1].next_latents).abs().max() > 0.05


def _noise(model: LoadedModel) -> torch.Tensor:
    """The seed's noise as DDIM, whose state is the noise itself, begins with it."""
    return drawn(model, asked("ddim", 8))[0].noisy_latents


@pytest.mark.slow
@pytest.mark.parametrize("at", [10, 50, 90])
def test_it_ends_where_the_exact_probability_flow_of_both_classes_ends(at: int) -> None:
    model, steps = perfect_model(*COSINE), 100
    found = drawn(model, asked("dpmpp_2m", steps), Branch(at=at, labels=(1,) * COUNT))
    sampler = build_sampler("dpmpp_2m", model.schedule, steps)
    start, middle = scales_at(model.schedule, sampler, 0), scales_at(model.schedule, sampler, at)

    def flow(
        values: torch.Tensor, mixture: Mixture, begin: tuple[float, float], end: tuple[float, float]
    ) -> torch.Tensor:
        return mixture.quantile(mixture.cdf(values, *begin), *end)  # in one dimension the flow keeps quantiles

    there = flow(found[0].noisy_latents.double().flatten(), CLASSES[0], start, middle)
    torch.testing.assert_close(found[at].noisy_latents.double().flatten(), there, atol=0.02, rtol=0.0)
    exact = flow(there, CLASSES[1], middle, (1.0, 0.0))
    error = (found[-1].next_latents.double().flatten() - exact).abs()
    other = (exact - flow(there, CLASSES[0], middle, (1.0, 0.0))).abs()
    assert float(error.mean()) < 0.02 < 0.05 < float(other.mean())
