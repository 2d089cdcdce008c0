"""What draws for the Generate page, with real tiny models: paths, layers, many at once, a full GPU."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.compute.answers import drawing as answers
from core.compute.answers import models
from core.config.schema import MachineSettings
from core.config.site import SiteSettings
from core.errors import LabError
from core.model_folders.sources import RunSource
from core.runs.listing import newest_step
from core.runs.run import Run
from core.sampling.drawing import Drawing
from core.sampling.recipe import Recipe
from tests.core.sampling.test_gpu import hog  # noqa: F401
from tests.models import Lab

on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]


class Listener:
    """Hears everything, and hangs up after so many looks."""

    def __init__(self, most: int | None = None) -> None:
        self.looks: list[tuple[int, int, np.ndarray]] = []
        self.most = most

    def __call__(self, stage: str, fraction: float, look: Any = None) -> None:
        self.looks.append(look)

    def is_cancelled(self) -> bool:
        return self.most is not None and len(self.looks) >= self.most


@pytest.fixture
def site(trained_lab: Path, tmp_path: Path) -> SiteSettings:
    shutil.copytree(trained_lab, tmp_path, dirs_exist_ok=True)
    models.loaded.clear()
    return SiteSettings(**{name: tmp_path / name for name in ("runs", "data", "cache", "models")})


@pytest.fixture
def unet(site: SiteSettings) -> Run:
    return Lab(site.runs.parent).the("unet")


def recipe_of(run: Run, **changes: Any) -> Recipe:
    asked = {"sampler": "unipc", "num_inference_steps": 3, "guidance_scale": 1.5, "labels": (0, 1), **changes}
    seed = asked.pop("seed", 0)
    seeds, places = (seed,) * len(asked["labels"]), tuple(range(len(asked["labels"])))
    return Recipe(source=run.id, step=newest_step(run), seeds=seeds, places=places, **asked)


def draw(recipe: Recipe, site: SiteSettings, *, with_layers: bool = False, to: Listener | None = None) -> Drawing:
    return answers.draw(to or Listener(), recipe, site, MachineSettings(device="cpu"), with_layers)


def test_cells_are_told_one_by_one_and_equal_their_drawings(unet: Run, site: SiteSettings) -> None:
    recipes = (recipe_of(unet), recipe_of(unet, sampler="nope"), recipe_of(unet, num_inference_steps=4, seed=2))
    listener = Listener()
    cells = answers.draw_cells(listener, recipes, site, MachineSettings(device="cpu"))
    assert [look[0] for look in listener.looks] == [0, 1, 2]
    assert cells[1].images is None and "'nope'" in cells[1].problem
    for place in (0, 2):
        np.testing.assert_array_equal(cells[place].images, draw(recipes[place], site).images)
        assert cells[place].weights_sha256
    with pytest.raises(LabError, match="cancelled"):
        answers.draw_cells(Listener(most=1), recipes, site, MachineSettings(device="cpu"))


def at_once(draws: list[Callable[[], Drawing]]) -> list[Drawing]:
    """Each in a thread of its own."""
    found: dict[int, Drawing] = {}
    threads = [
        threading.Thread(target=lambda place=place, each=each: found.update({place: each()}))  # type: ignore[misc]
        for place, each in enumerate(draws)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[place] for place in range(len(draws))]


def test_the_path_ends_in_the_finished_pictures_and_is_seen_on_the_way(unet: Run, site: SiteSettings) -> None:
    listener = Listener()
    drawing = draw(recipe_of(unet), site, to=listener)
    assert drawing.noisy_images.shape == drawing.predicted_images.shape == (4, 2, 16, 16, 1)
    np.testing.assert_array_equal(drawing.noisy_images[-1], drawing.predicted_images[-1])
    assert list(drawing.steps) == [0, 1, 2, 3]
    assert (drawing.noise_scale[-1], drawing.signal_scale[-1]) == (0, 1)
    assert (listener.looks[0][:2], listener.looks[-1][:2]) == ((1, 4), (4, 4))
    np.testing.assert_array_equal(listener.looks[-1][2], drawing.images)


def test_a_long_path_and_its_layers_are_thinned_out_and_keep_their_ends(
    unet: Run, site: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MAX_FRAMES", 3)
    drawing = draw(recipe_of(unet, num_inference_steps=8, sampler="euler"), site, with_layers=True)
    assert list(drawing.steps) == [0, 4, 8]
    assert drawing.layers is not None and len(drawing.layers.latents) == 3
    assert drawing.layers.curves.log_snr.shape == (3,)


def test_a_drawing_carries_the_recipe_that_gives_it_again(unet: Run, site: SiteSettings) -> None:
    first = draw(recipe_of(unet), site)
    assert first.recipe.weights_sha256
    again = draw(first.recipe, site, with_layers=True)
    np.testing.assert_array_equal(again.noisy_images, first.noisy_images)
    assert again.layers is not None and len(again.layers.latents) == len(again.steps)
    assert again.notes == ()
    other = draw(first.recipe.model_copy(update={"weights_sha256": "00"}), site)
    assert other.notes == (answers.OTHER_WEIGHTS,)


@pytest.mark.slow
def test_two_models_drawing_at_once_with_room_for_one_are_both_right(
    unet: Run, site: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.loaded, "max_count", 0)  # the planted fault: whatever is idle is released at once
    recipes = [recipe_of(unet, seed=seed, weights=weights) for seed in range(2) for weights in ("ema", "raw")]
    expected = [draw(recipe, site).images for recipe in recipes]
    assert not np.array_equal(expected[0], expected[1])
    found = at_once([lambda recipe=recipe: draw(recipe, site) for recipe in recipes])  # type: ignore[misc]
    for drawing, images in zip(found, expected, strict=True):
        np.testing.assert_array_equal(drawing.images, images)
    assert models.loaded.kept() == []


def test_who_hangs_up_ends_the_drawing_at_the_next_step_and_releases_the_model(unet: Run, site: SiteSettings) -> None:
    listener = Listener(most=1)
    with pytest.raises(LabError, match="cancelled"):
        draw(recipe_of(unet, num_inference_steps=8), site, to=listener)
    assert len(listener.looks) == 1
    assert [models.loaded.leases(key) for key in models.loaded.kept()] == [0]


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory")]
)
def test_a_full_gpu_falls_back_to_the_cpu_and_says_so(
    error: Exception, unet: Run, site: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, asked = RunSource.load, []

    def load(self: RunSource, *, device: str, **others: Any) -> Any:
        asked.append(device)
        if len(asked) == 1:
            raise error
        return original(self, device=device, **others)

    monkeypatch.setattr(RunSource, "load", load)
    drawing = draw(recipe_of(unet), site)
    assert asked == ["cpu", "cpu"]  # the tiny run's own settings say cpu
    assert drawing.notes == (answers.FULL_GPU,)
    assert drawing.device.startswith("CPU")


def demo(seed: int) -> Recipe:
    return Recipe(
        source="model:mnist-demo",
        step=0,
        labels=(0, 1),
        seeds=(seed, seed),
        sampler="unipc",
        num_inference_steps=5,
        guidance_scale=1.5,
    )


def draw_on_gpu(recipe: Recipe, site: SiteSettings) -> Drawing:
    return answers.draw(Listener(), recipe, site, MachineSettings(device="cuda"), False)


@pytest.fixture
def no_room() -> Any:
    """This process gets none of the GPU's memory any more; others keep theirs."""
    models.loaded.clear()
    models.free_gpu()
    torch.cuda.set_per_process_memory_fraction(0.0)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


class TestOnGpu:
    """Skipped without a GPU."""

    pytestmark = on_gpu

    def test_sessions_at_once_are_all_right(self, site: SiteSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(models.loaded, "max_count", 0)
        recipes = [demo(seed) for seed in range(4)]
        expected = [draw_on_gpu(recipe, site) for recipe in recipes]
        assert all("cuda" in drawing.device and not drawing.notes for drawing in expected)
        found = at_once([lambda recipe=recipe: draw_on_gpu(recipe, site) for recipe in recipes])  # type: ignore[misc]
        for drawing, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(drawing.images.astype(int), other.images.astype(int), atol=1)

    @pytest.mark.parametrize("full", ["no_room", "hog"])
    def test_without_room_the_cpu_draws(self, full: str, site: SiteSettings, request: pytest.FixtureRequest) -> None:
        request.getfixturevalue(full)
        drawing = draw_on_gpu(demo(0), site)
        assert drawing.device.startswith("CPU") and drawing.notes == (answers.FULL_GPU,)
        assert 10 < drawing.images.mean() < 80
