"""Drawings for a screen: the whole path of at most 64 pictures, seen while it is drawn."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from core.compute.answers.images import images_here
from core.compute.answers.models import borrowed, free_gpu, loaded
from core.compute.question import Tell
from core.config.schema import MachineSettings
from core.config.site import SiteSettings
from core.device import device_label
from core.errors import is_full_gpu
from core.model_folders.sources import source_named
from core.runs.store import RunStore
from core.sampling.drawing import Drawing
from core.sampling.load import LoadedModel
from core.sampling.pictures_in import start_of, start_of_picture
from core.sampling.recipe import Recipe
from core.sampling.request import Start
from core.sampling.room import check_room
from core.sampling.trajectory import OnStep, SamplingCancelled, record

MAX_FRAMES = 101
PREVIEWS_PER_SECOND = 10.0
FULL_GPU = "The GPU had no room, so these images were generated on the CPU."
OTHER_WEIGHTS = "These are not the weights that the recipe was written with: the images may differ."
_AT_ONCE = threading.BoundedSemaphore(4)  # drawings at a time, whatever the model: their memory adds up


def draw(tell: Tell, recipe: Recipe, site: SiteSettings, machine: MachineSettings, with_layers: bool) -> Drawing:
    """The whole path. A GPU without room is tried once; then the CPU draws, and the drawing's notes say so.

    Raises a LabError in one sentence, SamplingCancelled when nobody listens any more.
    """

    def on_step(done: int, total: int, images: np.ndarray) -> None:
        tell("drawing", done / total, (done, total, images))

    def on(device: str, *notes: str) -> Drawing:
        return _draw(recipe, site, machine, device, with_layers, at_most(on_step), tell.is_cancelled, notes)

    with _turn(tell.is_cancelled):
        try:
            return on("")
        except RuntimeError as error:
            if not is_full_gpu(error):
                raise
        loaded.trim(0)
        free_gpu()
        return on("cpu", FULL_GPU)


@contextlib.contextmanager
def _turn(should_stop: Callable[[], bool]) -> Iterator[None]:
    """One of the few that draw at a time; who waits can be cancelled."""
    while not _AT_ONCE.acquire(timeout=0.2):
        if should_stop():
            raise SamplingCancelled("drawing: cancelled")
    try:
        yield
    finally:
        _AT_ONCE.release()


def _draw(
    recipe: Recipe,
    site: SiteSettings,
    machine: MachineSettings,
    device: str,
    with_layers: bool,
    on_step: OnStep,
    should_stop: Callable[[], bool],
    notes: tuple[str, ...],
) -> Drawing:
    with borrowed(recipe.source, recipe.step, site, machine, recipe.weights, device) as model:
        request = recipe.request()
        check_room(model, len(request.labels), frames=min(MAX_FRAMES, request.num_inference_steps + 1))
        path = record(
            model,
            request,
            on_step,
            with_layers=with_layers,
            branch=recipe.branching(),
            start=_start(recipe, model, site),
            should_stop=should_stop,
            most_frames=MAX_FRAMES,
        )
        if recipe.weights_sha256 and recipe.weights_sha256 != model.weights_sha256:
            notes = (*notes, OTHER_WEIGHTS)
        return Drawing(
            labels=path.labels,
            class_names=model.class_names,
            steps=path.steps,
            timesteps=path.timesteps,
            signal_scale=path.signal_scale,
            noise_scale=path.noise_scale,
            noisy_images=path.noisy_images,
            predicted_images=path.predicted_images,
            step=model.step,
            recipe=recipe.written_now(model.weights_sha256),
            device=device_label(model.device),
            notes=notes,
            fingerprint=model.image_set_fingerprint,
            layers=path.layers,
        )


def _start(recipe: Recipe, model: LoadedModel, site: SiteSettings) -> Start | None:
    if recipe.start is None:
        return None
    if recipe.start.picture:
        return start_of_picture(recipe.start, model, len(recipe.labels))
    source = source_named(recipe.source, RunStore(site.runs), site.models)
    return start_of(recipe.start, model, images_here(source.settings.data, site, source.rules))


def at_most(on_step: OnStep, per_second: float = PREVIEWS_PER_SECOND) -> OnStep:
    """The first and the last step always, those between at most so often."""
    told = -np.inf

    def sometimes(done: int, total: int, pictures: np.ndarray) -> None:
        nonlocal told
        now = time.monotonic()
        if done == total or now - told >= 1.0 / per_second:
            on_step(done, total, pictures)
            told = time.monotonic()

    return sometimes
