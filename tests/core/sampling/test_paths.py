"""Branches, walks, real pictures as a start, and what is recorded on the way."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from core.diffusion.guidance import Guidance
from core.diffusion.samplers import build_sampler, network_input, sampler_state, scales_at
from core.diffusion.schedule import build_schedule
from core.errors import UsageError
from core.runs.run import Run
from core.sampling.load import LoadedModel, load_model
from core.sampling.noise import spherical, takes_mixtures
from core.sampling.request import Branch, SampleRequest, Start
from core.sampling.steps import sample, sample_steps
from core.sampling.trajectory import SamplingCancelled, log_snr, record, straightness

STEPS = 4


@pytest.fixture(scope="module")
def model(trained: Run) -> LoadedModel:
    return load_model(trained, device="cpu")


@pytest.fixture(scope="module")
def cosine(model: LoadedModel, trained: Run) -> LoadedModel:
    """The same network under another schedule: what it draws is nonsense, how it is carried is not."""
    diffusion = trained.settings.diffusion.model_copy(update={"schedule": "cosine", "prediction_type": "v_prediction"})
    return replace(model, schedule=build_schedule(diffusion))


def request(**changes: object) -> SampleRequest:
    values = {"labels": (1, 2, 3), "sampler": "unipc", "num_inference_steps": STEPS, "guidance_scale": 1.5, "seed": 3}
    return SampleRequest(**{**values, **changes})  # type: ignore[arg-type]


def final(model: LoadedModel, asked: SampleRequest, **options: object) -> torch.Tensor:
    return list(sample_steps(model, asked, **options))[-1].next_latents  # type: ignore[arg-type]


OTHER = {"labels": (7, 8, 9), "guidance": Guidance(scale=3.0)}


class TestBranch:
    @pytest.mark.parametrize("sampler", ["unipc", "dpmpp_2m", "euler", "heun"])
    def test_at_step_0_it_is_a_fresh_sample(self, model: LoadedModel, sampler: str) -> None:
        asked = request(sampler=sampler)
        branched = final(model, asked, branch=Branch(at=0, **OTHER))
        assert torch.equal(branched, final(model, replace(asked, labels=(7, 8, 9), guidance_scale=3.0)))

    @pytest.mark.parametrize("sampler", ["unipc", "dpmpp_2m_sde", "heun"])
    def test_at_the_last_step_nothing_changes(self, model: LoadedModel, sampler: str) -> None:
        asked = request(sampler=sampler)
        last = len(list(sample_steps(model, asked)))
        assert torch.equal(final(model, asked, branch=Branch(at=last, sampler="euler", **OTHER)), final(model, asked))

    def test_the_way_to_the_branch_is_the_original_one(self, model: LoadedModel) -> None:
        first, second = (
            record(model, request(), with_layers=True),
            record(model, request(), with_layers=True, branch=Branch(at=2, **OTHER)),
        )
        assert first.layers and second.layers
        assert np.array_equal(first.layers.latents[:3], second.layers.latents[:3])
        assert not np.array_equal(first.layers.latents[3], second.layers.latents[3])
        assert second.labels == (7, 8, 9)

    @pytest.mark.parametrize("old", ["unipc", "euler", "ddim", "lms", "euler_ancestral"])
    @pytest.mark.parametrize("new", ["ddim", "euler", "dpmpp_2m"])
    def test_another_sampler_takes_over_at_the_same_noise(self, cosine: LoadedModel, old: str, new: str) -> None:
        asked = request(sampler=old, num_inference_steps=10)
        steps = list(sample_steps(cosine, asked, branch=Branch(at=4, sampler=new)))
        original = list(sample_steps(cosine, asked))
        assert [step.timestep for step in steps] == [step.timestep for step in original]
        torch.testing.assert_close(steps[4].noisy_latents, original[4].noisy_latents, atol=1e-5, rtol=1e-5)

    def test_a_branch_to_the_same_solver_by_another_name_ends_where_the_original_does(
        self, cosine: LoadedModel
    ) -> None:
        asked = request(sampler="ddim", num_inference_steps=10)  # euler is ddim with eta 0
        changed = final(cosine, asked, branch=Branch(at=3, sampler="euler"))
        torch.testing.assert_close(changed, final(cosine, asked), atol=2e-3, rtol=2e-3)

    def test_lms_that_begins_later_takes_a_whole_first_step(self, cosine: LoadedModel) -> None:
        asked = request(sampler="euler", num_inference_steps=10)  # of order 1, LMS takes Euler's step
        original, changed = (list(sample_steps(cosine, asked, branch=b)) for b in (None, Branch(at=4, sampler="lms")))
        torch.testing.assert_close(changed[5].noisy_latents, original[5].noisy_latents, atol=1e-4, rtol=1e-4)

    def test_flow_samplers_that_visit_other_levels_meet_by_a_jump(self, model: LoadedModel) -> None:
        asked = request(sampler="euler", num_inference_steps=10)
        steps = list(sample_steps(model, asked, branch=Branch(at=3, sampler="unipc")))
        noise = [step.noise_scale for step in steps]
        assert all(later < earlier for earlier, later in pairwise(noise))
        assert (steps[-1].next_latents - final(model, asked)).abs().mean() < 0.2

    @pytest.mark.parametrize("at", [-1, STEPS + 1])
    def test_a_step_that_does_not_exist_is_one_sentence(self, model: LoadedModel, at: int) -> None:
        with pytest.raises(UsageError, match=f"branch: step {at} does not exist, this path has steps 0 to {STEPS}"):
            sample_steps(model, request(), branch=Branch(at=at))

    def test_a_refused_sampler_is_refused_here_too(self, cosine: LoadedModel) -> None:
        with pytest.raises(UsageError, match="heun"):
            sample_steps(cosine, request(), branch=Branch(at=1, sampler="heun"))


@pytest.mark.parametrize("name", ["ddim", "euler", "lms", "dpmpp_2m", "unipc", "deis", "euler_ancestral", "ddpm"])
def test_the_samplers_state_is_the_inverse_of_what_the_network_sees(cosine: LoadedModel, name: str) -> None:
    sampler = build_sampler(name, cosine.schedule, 8)
    noisy = torch.randn(2, 3, 4, 4)
    sampler_copy = build_sampler(name, cosine.schedule, 8)
    state = sampler_state(cosine.schedule, sampler, noisy, 3)
    if hasattr(sampler_copy, "set_begin_index"):
        sampler_copy.set_begin_index(3)
    seen = network_input(cosine.schedule, sampler_copy, state, sampler_copy.timesteps[3])
    torch.testing.assert_close(seen, noisy)


class TestStart:
    def test_a_picture_with_little_noise_comes_back(self, model: LoadedModel) -> None:
        clean = final(model, request(num_inference_steps=20))
        again = final(model, request(num_inference_steps=20), start=Start(at=19, latents=clean))
        other = final(model, request(num_inference_steps=20), start=Start(at=2, latents=clean))
        assert (again - clean).abs().mean() < (other - clean).abs().mean()
        assert (again - clean).abs().mean() < 0.2

    @pytest.mark.parametrize("sampler", ["euler", "unipc", "heun", "dpmpp_2m_sde"])
    def test_it_begins_at_the_noise_of_that_step(self, model: LoadedModel, sampler: str) -> None:
        clean = torch.zeros(3, *model.latent_shape)
        first = next(iter(sample_steps(model, request(sampler=sampler), start=Start(at=2, latents=clean))))
        signal, noise = scales_at(model.schedule, build_sampler(sampler, model.schedule, STEPS), 2)
        assert (first.signal_scale, first.noise_scale) == (signal, noise)
        assert first.noisy_latents.std() == pytest.approx(noise, rel=0.2)

    def test_latents_of_another_shape_are_refused(self, model: LoadedModel) -> None:
        with pytest.raises(UsageError, match=r"start: latents of shape \(1, 4, 2, 2\) given"):
            sample_steps(model, request(), start=Start(at=1, latents=torch.zeros(1, 4, 2, 2)))


class TestWalks:
    def test_the_ends_of_a_walk_are_the_two_pictures(self, model: LoadedModel) -> None:
        walk = request(labels=(1, 1, 1), seeds=(5, 5, 5), to_seeds=(9, 9, 9), noise_mix=(0.0, 0.5, 1.0))
        drawn = final(model, walk)
        ends = final(model, request(labels=(1, 1), seeds=(5, 9)))
        assert (drawn[[0, 2]] - ends).abs().max() < 1e-3
        assert (drawn[1] - ends).flatten(1).norm(dim=1).min() > 0.1

    def test_between_classes_the_ends_are_the_classes(self, model: LoadedModel) -> None:
        walk = request(labels=(1, 1, 1), seeds=(5, 5, 5), to_labels=(7, 7, 7), label_mix=(0.0, 0.5, 1.0))
        drawn = final(model, walk)
        ends = final(model, request(labels=(1, 7), seeds=(5, 5)))
        assert (drawn[[0, 2]] - ends).abs().max() < 1e-3

    def test_a_mixed_embedding_is_the_mixture(self, model: LoadedModel) -> None:
        weight = model.unet.class_embedding.weight
        share = torch.zeros(1, model.num_classes + 1)
        share[0, 2], share[0, 4] = 0.25, 0.75
        torch.testing.assert_close(
            takes_mixtures(model.unet).class_embedding(share), 0.25 * weight[2:3] + 0.75 * weight[4:5]
        )
        assert type(model.unet.class_embedding) is torch.nn.Embedding

    def test_a_sphere_keeps_the_length_and_its_ends(self) -> None:
        a, b = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
        middle = spherical(a, b, torch.tensor([0.5]))
        torch.testing.assert_close(middle, torch.tensor([[1.5 * 2**0.5, 1.5 * 2**0.5]]))
        assert torch.equal(spherical(a, b, torch.tensor([0.0])), a)
        assert torch.equal(spherical(a, b, torch.tensor([1.0])), b)
        torch.testing.assert_close(spherical(a, a, torch.tensor([0.3])), a)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"label_mix": (0.5, 0.5, 0.5)}, "to_labels: needs label_mix"),
            ({"to_seeds": (1, 2, 3), "noise_mix": (0.0, 0.5, 1.5)}, "noise_mix: must lie between 0 and 1, got 1.5"),
            ({"seeds": (1, 2)}, "seeds: 2 values for 3 images"),
            ({"seeds": (1, 2, -1)}, "seed: must lie between 0 and"),
            ({"to_labels": (1, 2, 99), "label_mix": (0, 0, 0)}, "labels: 99 is outside"),
            ({"guidance_rescale": 1.5}, "guidance_rescale: must lie between 0 and 1"),
            ({"guidance_interval": (0.9, 0.1)}, "guidance_interval: must be two noise levels"),
        ],
    )
    def test_what_cannot_be_is_one_sentence(
        self, model: LoadedModel, changes: dict[str, object], sentence: str
    ) -> None:
        with pytest.raises(UsageError, match=sentence):
            sample_steps(model, request(**changes))


class TestSeeds:
    def test_a_picture_depends_on_its_own_seed_only(self, model: LoadedModel) -> None:
        bank = final(model, request(seeds=(11, 22, 33)))
        alone = final(model, request(labels=(2,), seeds=(22,)))
        assert (bank[1] - alone[0]).abs().max() < 1e-3
        single = final(model, request(labels=(2,), seed=22))
        assert torch.equal(alone, single)

    def test_batches_keep_their_seeds(self, model: LoadedModel) -> None:
        asked = request(seeds=(11, 22, 33))
        parts = sample(model, replace(asked, batch_size=1))
        assert np.abs(sample(model, asked).astype(int) - parts.astype(int)).max() <= 1


class TestRecord:
    def test_layers_tell_what_the_steps_were(self, model: LoadedModel) -> None:
        path = record(model, request(), with_layers=True)
        assert path.layers
        frames, count = STEPS + 1, 3
        assert path.layers.latents.shape == (frames, count, *model.latent_shape)
        assert path.layers.guidance_change is not None
        assert path.layers.guidance_change.shape == path.noisy_images.shape
        assert np.abs(path.layers.guidance_change[:-1]).max() > 0
        assert path.layers.curves.straightness.shape == (frames, count)
        assert np.allclose(path.layers.curves.latent_norm[0], np.sqrt((path.layers.latents[0] ** 2).mean((1, 2, 3))))
        assert record(model, request()).layers is None

    def test_without_guidance_there_is_no_change(self, model: LoadedModel) -> None:
        path = record(model, request(guidance_scale=1.0), with_layers=True)
        assert path.layers and path.layers.guidance_change is None
        assert not path.layers.curves.guidance_strength.any()

    def test_outside_its_interval_guidance_costs_nothing_and_does_nothing(self, model: LoadedModel) -> None:
        asked = request(num_inference_steps=10, guidance_interval=(0.3, 0.7))
        steps = list(sample_steps(model, asked))
        inside = [0.3 <= step.timestep / 1000 <= 0.7 for step in steps]
        assert [step.unguided_original is not None for step in steps] == inside
        assert 0 < sum(inside) < 10
        sigma = replace(asked, guidance_interval=(0.1, 0.5, "sigma"))
        levels = [step.noise_scale / step.signal_scale for step in steps]
        between = [0.1 <= level <= 0.5 for level in levels]
        assert [step.unguided_original is not None for step in sample_steps(model, sigma)] == between != inside

    def test_cancelled_between_two_steps(self, model: LoadedModel) -> None:
        seen: list[int] = []
        with pytest.raises(SamplingCancelled):
            record(model, request(), lambda done, total, images: seen.append(done), should_stop=lambda: len(seen) >= 2)
        assert seen == [1, 2]

    def test_a_straight_path_is_straight_in_either_coordinates(self) -> None:
        clean, noise = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3)
        sigma = torch.linspace(1, 0, 6)
        path = torch.stack([(1 - s) * clean + s * noise for s in sigma])
        assert straightness(path, torch.ones(6)).min() > 0.9999
        signal, scale = (1 - sigma), ((1 - sigma) ** 2 + sigma**2).sqrt()
        preserving = torch.stack([(a * clean + s * noise) / c for a, s, c in zip(signal, sigma, scale, strict=True)])
        assert straightness(preserving, 1 / scale).min() > 0.9999
        detour = path.clone()
        detour[2] = -detour[2]
        assert straightness(detour, torch.ones(6)).min() < 0.5

    def test_log_snr_of_known_scales(self) -> None:
        found = log_snr([0.0, 0.6, 1.0], [1.0, 0.8, 0.0])
        assert found[1] == pytest.approx(2 * np.log(0.75))
        assert found[0] == -20 and found[2] == 20
