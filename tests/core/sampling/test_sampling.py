"""A picture depends on its seed and index only; a request that cannot work is one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.diffusion import samplers
from core.errors import CheckpointError, UsageError
from core.latent.codec import LatentCodec, to_uint8
from core.runs.run import Run
from core.sampling.load import LoadedModel, load_model
from core.sampling.request import Branch, SampleRequest
from core.sampling.steps import sample, sample_steps
from core.sampling.trajectory import record
from tests.models import Lab

# float rounding only: convolutions of another batch size may sum in another order. In units of normalised latents.
BATCH_BOUND = 1e-3


@pytest.fixture(scope="module")
def model(trained: Run) -> LoadedModel:
    return load_model(trained, device="cpu")


def request(**changes: object) -> SampleRequest:
    values = {
        "labels": tuple(range(6)),
        "sampler": "unipc",
        "num_inference_steps": 4,
        "guidance_scale": 1.5,
        "seed": 3,
        **changes,
    }
    return SampleRequest(**values)  # type: ignore[arg-type]


def latents(model: LoadedModel, asked: SampleRequest) -> torch.Tensor:
    return list(sample_steps(model, asked))[-1].next_latents


def test_twice_with_one_seed_the_pictures_are_identical(model: LoadedModel) -> None:
    assert np.array_equal(sample(model, request()), sample(model, request()))


def test_another_seed_gives_other_pictures(model: LoadedModel) -> None:
    assert not np.array_equal(sample(model, request()), sample(model, request(seed=4)))


@pytest.mark.parametrize("sampler", ["unipc", "euler", "dpmpp_2m", "heun"])
def test_a_picture_of_a_seed_is_the_same_in_any_batch(model: LoadedModel, sampler: str) -> None:
    whole = latents(model, request(sampler=sampler))
    alone = latents(model, request(sampler=sampler, labels=(4,), first_index=4))
    assert (whole[4] - alone[0]).abs().max() < BATCH_BOUND
    pictures = sample(model, request(sampler=sampler))
    parts = sample(model, request(sampler=sampler, batch_size=1))
    assert np.abs(pictures.astype(int) - parts.astype(int)).max() <= 1


def test_noise_of_a_seed_is_the_same_in_any_batch(model: LoadedModel) -> None:
    whole = next(iter(sample_steps(model, request()))).noisy_latents
    alone = next(iter(sample_steps(model, request(labels=(0,), first_index=4)))).noisy_latents
    assert torch.equal(whole[4], alone[0])


def test_the_label_reaches_the_picture(model: LoadedModel) -> None:
    same = sample(model, request(labels=(1, 1)))
    other = sample(model, request(labels=(1, 7)))
    assert np.array_equal(same[0], other[0])
    assert not np.array_equal(same[1], other[1])


def test_no_guidance_is_one_network_pass_a_step(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = model.unet.forward
    monkeypatch.setattr(model.unet, "forward", lambda x, *args, **kw: sizes.append(len(x)) or real(x, *args, **kw))
    list(sample_steps(model, request(guidance_scale=1.0)))
    assert sizes == [6] * 4
    sizes.clear()
    list(sample_steps(model, request(guidance_scale=2.0)))
    assert sizes == [12] * 4


@pytest.mark.parametrize(
    ("generate", "expected"),
    [
        (lambda model: list(sample_steps(model, request())), ["unipc"]),
        (lambda model: sample(model, request(batch_size=2)), ["unipc"]),
        (lambda model: record(model, request()), ["unipc"]),
        (lambda model: record(model, request(), branch=Branch(at=2, labels=(1,) * 6)), ["unipc"]),
        (lambda model: record(model, request(), branch=Branch(at=2, sampler="euler")), ["unipc", "euler"]),
    ],
)
def test_each_sampler_is_built_once_per_request(
    model: LoadedModel, generate: Callable[[LoadedModel], object], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    built, build = [], samplers.build_unchecked

    def counted(name: str, *args: Any, **options: Any) -> Any:
        built.append(name)
        return build(name, *args, **options)

    monkeypatch.setattr(samplers, "build_unchecked", counted)
    generate(model)
    assert built == expected


def test_the_trajectory_ends_in_the_sample(model: LoadedModel) -> None:
    path = record(model, request())
    assert path.noisy_images.shape == path.predicted_images.shape == (5, 6, 16, 16, 1)
    assert path.noisy_images.dtype == np.uint8
    assert np.abs(path.images.astype(int) - sample(model, request()).astype(int)).max() <= 1
    assert path.timesteps[-1] == 0 and (np.diff(path.timesteps) < 0).all()
    assert path.noise_scale[0] > 0.99 and path.noise_scale[-1] == 0


def test_finished_pictures_are_seen_before_the_frames_of_their_path_are_decoded(model: LoadedModel) -> None:
    decoded: list[int] = []

    class Counting(LatentCodec):
        def decode_to_uint8(self, latents: torch.Tensor) -> np.ndarray:
            decoded.append(len(latents))
            return super().decode_to_uint8(latents)

    def look_at_the_end(done: int, total: int, look: Callable[[], np.ndarray]) -> None:
        if done == total:
            seen.append((look(), list(decoded)))

    seen: list[tuple[np.ndarray, list[int]]] = []
    counting = replace(model, codec=Counting(vae=model.codec.vae, scaling=model.codec.scaling))
    path = record(counting, request(), look_at_the_end)
    ((pictures, before),) = seen
    assert np.array_equal(pictures, path.images) and before == [6]
    decoded.clear()
    record(counting, request(), lambda done, total, look: seen.append((look(), [])))
    assert decoded == [6] * 9  # what was looked at is not decoded again


def test_pictures_are_never_stretched() -> None:
    assert to_uint8(torch.tensor([[[[-1.5, -1.0, 0.0, 1.0, 1.5]]]])).flatten().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": (0, 10)}, "labels: 10 is outside the classes 0 to 9"),
        ({"labels": (-1,)}, "labels: -1 is outside"),
        ({"sampler": "ddpm"}, "cannot sample flow matching"),
        ({"sampler": "newest"}, "'newest' does not exist"),
        ({"num_inference_steps": 1001}, "do not fit into 1000"),
    ],
)
def test_a_request_that_cannot_work_is_one_sentence(
    model: LoadedModel, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        sample(model, request(**changes))


def test_a_vae_run_does_not_sample(trained: Run) -> None:
    vae = Run(trained.folder.parent / trained.info.parents[0])
    with pytest.raises(UsageError, match="is a VAE run"):
        load_model(vae)


def test_a_run_without_a_checkpoint_says_so(trained: Run, lab: Lab) -> None:
    fresh = lab.create("unet", trained.settings)
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        load_model(fresh)


def test_the_average_and_the_raw_weights_differ(trained: Run, model: LoadedModel) -> None:
    raw = load_model(trained, device="cpu", weights="raw")
    assert not torch.equal(raw.unet.conv_in.weight, model.unet.conv_in.weight)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("vae/codec.json", b"[]", "its copy of the VAE cannot be read"),
        ("vae/codec.json", b"[" * 100_000, "its copy of the VAE cannot be read"),
        ("vae/diffusion_pytorch_model.safetensors", None, "its weights were altered"),
        ("data.json", b"{}", "data.json cannot be read"),
        ("data.json", b"[" * 100_000, "data.json cannot be read"),
    ],
)
def test_a_damaged_copy_of_the_vae_is_refused(
    trained: Run, tmp_path: Path, file: str, content: bytes | None, sentence: str
) -> None:
    copy = Run(Path(shutil.copytree(trained.folder, tmp_path / trained.id)))
    path = copy.folder / file
    flipped = bytearray(path.read_bytes())
    flipped[-1] ^= 1
    path.write_bytes(bytes(flipped) if content is None else content)
    with pytest.raises(CheckpointError, match=sentence):
        load_model(copy, device="cpu")


def test_a_damaged_checkpoint_is_skipped_and_said(
    trained: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Run(Path(shutil.copytree(trained.folder, tmp_path / trained.id)))
    newest = copy.checkpoints_dir / "step-00000030" / "unet_ema" / "diffusion_pytorch_model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert load_model(copy, device="cpu").step == 24
    assert "step-00000030 is damaged" in caplog.text and "using step 24" in caplog.text
