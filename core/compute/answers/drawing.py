"""Drawings for a screen: the whole path of at most 64 pictures, seen while it is drawn."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from core.comparison.recipe_grid import CellImages
from core.compute.answers.images import images_here
from core.compute.answers.models import borrowed, free_gpu, loaded
from core.compute.question import Tell
from core.config.schema import MachineSettings
from core.config.site import SiteSettings
from core.device import device_label
from core.diffusers_parts import diffusers
from core.diffusion.sampler_table import SAMPLERS
from core.errors import LabError, is_full_gpu
from core.model_folders.sources import source_named
from core.runs.store import RunStore
from core.sampling.drawing import Drawing
from core.sampling.load import LoadedModel
from core.sampling.pictures_in import start_of, start_of_picture
from core.sampling.recipe import Recipe
from core.sampling.request import Start
from core.sampling.room import check_room
from core.sampling.steps import sample_steps
from core.sampling.trajectory import OnStep, SamplingCancelled, record

Made = TypeVar("Made")
MAX_FRAMES = 101
PREVIEWS_PER_SECOND = 10.0
FULL_GPU = "The GPU had no room, so these images were generated on the CPU."
OTHER_WEIGHTS = "These are not the weights that the recipe was written with: the images may differ."
for row in SAMPLERS.values():  # with this module, while nobody waits: diffusers imports each when it is asked for
    getattr(diffusers, row.class_name)
_AT_ONCE = threading.BoundedSemaphore(4)  # drawings at a time, whatever the model: their memory adds up


def draw(tell: Tell, recipe: Recipe, site: SiteSettings, machine: MachineSettings, with_layers: bool) -> Drawing:
    """The whole path. A GPU without room is tried once; then the CPU draws, and the drawing's notes say so.

    Raises a LabError in one sentence, SamplingCancelled when nobody listens any more.
    """

    def on_step(done: int, total: int, look: Callable[[], np.ndarray]) -> None:
        tell("drawing", done / total, (done, total, look()))

    def on(device: str, *notes: str) -> Drawing:
        return _draw(recipe, site, machine, device, with_layers, at_most(on_step), tell.is_cancelled, notes)

    return _where_there_is_room(on, tell.is_cancelled)


def draw_cells(
    tell: Tell, recipes: tuple[Recipe, ...], site: SiteSettings, machine: MachineSettings
) -> tuple[CellImages, ...]:
    """The finished images of each recipe, told one by one: the look is (its place, CellImages).

    One that cannot be generated has its problem in words, and the others are generated. Recipes of the same weights
    follow each other. Raises SamplingCancelled when nobody listens any more.
    """
    found: dict[int, CellImages] = {}
    for place in sorted(range(len(recipes)), key=lambda place: (recipes[place].step, recipes[place].weights)):
        recipe = recipes[place]

        def on(device: str, *notes: str, recipe: Recipe = recipe) -> CellImages:
            return _cell(recipe, site, machine, device, tell.is_cancelled, notes)

        try:
            found[place] = _where_there_is_room(on, tell.is_cancelled)
        except SamplingCancelled:
            raise
        except LabError as error:
            found[place] = CellImages(images=None, problem=str(error))
        tell("drawing", len(found) / len(recipes), (place, found[place]))
    return tuple(found[place] for place in range(len(recipes)))


def _cell(
    recipe: Recipe,
    site: SiteSettings,
    machine: MachineSettings,
    device: str,
    should_stop: Callable[[], bool],
    notes: tuple[str, ...],
) -> CellImages:
    with borrowed(recipe.source, recipe.step, site, machine, recipe.weights, device) as model:
        request = recipe.request()
        check_room(model, len(request.labels))
        for step in sample_steps(model, request, start=_start(recipe, model, site)):
            latents = step.next_latents
            if should_stop():
                raise SamplingCancelled("generating: cancelled")
        images = model.codec.decode_to_uint8(latents)
        return CellImages(images=images, weights_sha256=model.weights_sha256, note=" ".join(notes))


def _where_there_is_room(on: Callable[..., Made], should_stop: Callable[[], bool]) -> Made:
    """on(device, *notes) once it is its turn: on a GPU without room once, then on the CPU with a note."""
    with _turn(should_stop):
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
            raise SamplingCancelled("generating: cancelled")
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

    def sometimes(done: int, total: int, look: Callable[[], np.ndarray]) -> None:
        nonlocal told
        now = time.monotonic()
        if done == total or now - told >= 1.0 / per_second:
            on_step(done, total, look)
            told = time.monotonic()

    return sometimes
