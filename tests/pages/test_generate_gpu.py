"""What the Generate page draws on an NVIDIA GPU: two models at once, and a GPU without room. Skipped without a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from core.runs.listing import newest_step
from core.runs.run import Run
from lab.services import models
from lab.services.models import model_sources
from tests.core.sampling.test_gpu import hog  # noqa: F401

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
ASKED = {"labels": (0, 1), "sampler": "unipc", "num_inference_steps": 5, "guidance_scale": 1.5}


def demo(seed: int) -> models.Recipe:
    (source,) = (each for each in model_sources() if each.origin == "demo")
    return models.Recipe(source=source.id, step=source.steps[0], seeds=(seed, seed), **ASKED)  # type: ignore[arg-type]


def on_the_gpu(load: Callable[..., Any]) -> Callable[..., Any]:
    """The tiny run was trained on the CPU, and its settings say so."""
    return lambda key, step, weights, device: load(key, step, weights, device or "cuda")


@pytest.fixture
def no_room() -> Iterator[None]:
    """This process gets none of the GPU's memory any more; others keep theirs."""
    models.shelf().trim(0)
    models._free_gpu()
    torch.cuda.set_per_process_memory_fraction(0.0)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_two_sessions_with_two_models_on_one_gpu_are_both_right(unet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.shelf(), "max_count", 0)  # the planted fault: whatever is idle is released at once
    monkeypatch.setattr(models, "load_source", on_the_gpu(models.load_source))
    step = newest_step(unet)
    recipes = [demo(seed) for seed in range(4)] + [
        models.Recipe(source=unet.id, step=step, seeds=(seed, seed), **ASKED)  # type: ignore[arg-type]
        for seed in range(4)
    ]
    expected = [models.draw_recipe(recipe) for recipe in recipes]
    assert all("cuda" in drawing.device and not drawing.notes for drawing in expected)
    models.drawings().clear()
    found: dict[int, np.ndarray] = {}

    def _session(place: int) -> None:
        found[place] = models.draw_recipe(recipes[place]).images

    threads = [threading.Thread(target=_session, args=(place,)) for place in range(len(recipes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, drawing in enumerate(expected):
        np.testing.assert_allclose(found[place].astype(int), drawing.images.astype(int), atol=1)
    assert models.shelf().kept() == []


def falls_back(seed: int) -> None:
    models.drawings().clear()
    drawing = models.draw_recipe(demo(seed))
    assert drawing.device.startswith("CPU") and drawing.notes == (models.FULL_GPU,)
    assert 10 < drawing.images.mean() < 80


@pytest.mark.usefixtures("store", "no_room")
def test_a_gpu_without_room_falls_back_to_the_cpu_and_says_so() -> None:
    falls_back(0)


@pytest.mark.usefixtures("store", "hog")
def test_a_gpu_that_somebody_else_filled_falls_back_to_the_cpu_and_says_so() -> None:
    models.shelf().trim(0)
    models._free_gpu()
    falls_back(1)
