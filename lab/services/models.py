"""Drawing with models that all sessions share. PyTorch is imported inside the functions, at the first picture."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.bounded_cache import BoundedCache
from core.errors import LabError, UsageError, is_full_gpu
from core.model_folders.model_facts import PREFIX
from core.model_folders.sources import FolderSource, ModelSource, Weights, list_sources, source_named
from core.sampling.recipe import Recipe
from lab.services.runs import list_views, open_store
from lab.services.settings import current_settings, current_site

if TYPE_CHECKING:
    from core.sampling.load import LoadedModel
    from core.sampling.request import Start
    from core.sampling.trajectory import Layers

MAX_FRAMES = 101
MAX_KEPT_BYTES = 256 * 2**20
MAX_PICTURES = 64
MAX_IDLE_MODELS = 4
AT_ONCE = threading.BoundedSemaphore(4)  # drawings at a time, whatever the model: their memory adds up
PREVIEWS_A_SECOND = 10.0
FULL_GPU = "The GPU had no room, so this was drawn on the CPU."
OTHER_WEIGHTS = "These are not the weights that the recipe was written with: the pictures may differ."
OnStep = Callable[[int, int, np.ndarray], None]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Pictures and their path. (F, N, H, W, C) uint8; steps, timesteps and scales (F,); the last frame is the end.

    A path of more than 101 frames is thinned out, the first and the last frame stay. `steps` counts from 0. recipe:
    what gives these pictures again; device: in words; notes: sentences that whoever looks at it should read; layers:
    None unless asked for, as in `core.sampling.trajectory.Layers`.
    """

    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    steps: np.ndarray
    timesteps: np.ndarray
    signal_scale: np.ndarray
    noise_scale: np.ndarray
    noisy_images: np.ndarray
    predicted_images: np.ndarray
    step: int
    recipe: Recipe
    device: str
    notes: tuple[str, ...]
    fingerprint: str
    layers: Layers | None

    @property
    def images(self) -> np.ndarray:
        """The finished pictures (N, H, W, C)."""
        return self.noisy_images[-1]

    @property
    def num_bytes(self) -> int:
        """Memory of the pictures and their layers."""
        arrays = [self.noisy_images, self.predicted_images]
        if self.layers is not None:
            arrays += [self.layers.latents, self.layers.predicted_noise]
            arrays += [] if self.layers.guidance_change is None else [self.layers.guidance_change]
        return sum(array.nbytes for array in arrays)


@st.cache_resource(show_spinner=False)
def drawings() -> BoundedCache[tuple[str, bool], Drawing]:
    """The newest drawings of all sessions, by what decides them; not st.cache_data, which cannot hold a callback."""
    return BoundedCache(max_bytes=MAX_KEPT_BYTES, size_of=lambda drawing: drawing.num_bytes)


@st.cache_resource(show_spinner=False)
def shelf() -> BoundedCache[tuple[object, ...], LoadedModel]:
    """The loaded models of this server: any number of sessions may draw with one, as drawing changes nothing in it."""
    return BoundedCache(max_count=MAX_IDLE_MODELS, on_release=_free_gpu)


def model_sources() -> list[ModelSource]:
    """Every U-Net run with a checkpoint, newest first, then the model folders, the bundled demo before the others."""
    return list_sources((view.run for view in list_views()), current_site().models)


def source_of(name: str) -> ModelSource:
    """The source of that id, or 'model:<folder>', once its files could be read. Raises a LabError."""
    found = source_named(name, open_store(), current_site().models)
    found.settings, found.class_names, found.fingerprint, found.channels  # noqa: B018 - each reads a file
    return found


def load_source(name: str, step: int, weights: Weights, device: str) -> LoadedModel:
    """The very checkpoint, on `device` ('' for what its settings say). Raises a LabError."""
    from core.device import set_threads

    source = source_named(name, open_store(), current_site().models)
    machine = (source.run.settings if source.run else current_settings()).machine
    set_threads(machine.num_threads)
    return source.load(device=device or machine.device, weights=weights, step=step)


def stamp_of(name: str) -> tuple[int, ...]:
    """Another one when a model folder was replaced under its name; a run's checkpoint never is. () when unknown."""
    try:
        found = source_named(name, open_store(), current_site().models) if name.startswith(PREFIX) else None
    except LabError:
        return ()
    return found.stamp if isinstance(found, FolderSource) else ()


@contextlib.contextmanager
def borrowed(source: str, step: int, weights: Weights = "ema", device: str = "") -> Iterator[LoadedModel]:
    """The model of one checkpoint; nobody releases it before the block ends. Raises a LabError."""
    key = (source, step, weights, device, stamp_of(source))
    with shelf().lease(key, lambda: load_source(source, step, weights, device)) as model:
        yield model


def kept_drawing(recipe: Recipe, *, with_layers: bool = False) -> Drawing | None:
    """The drawing of this recipe when it is among the newest ones; one with layers serves whoever wants none."""
    key = _deciding(recipe)
    return (None if with_layers else drawings().get((key, False))) or drawings().get((key, True))


def draw_recipe(
    recipe: Recipe,
    *,
    with_layers: bool = False,
    on_step: OnStep | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Drawing:
    """Draw and keep the whole path, or take it from the newest drawings.

    on_step(steps done, steps, predicted clean pictures (N, H, W, C)), at most ten times a second. should_stop is asked
    at every step; SamplingCancelled is raised then, and nothing is kept, as with any error out of on_step. A GPU
    without room is tried once; then the CPU draws, and the drawing's notes say so. Raises a LabError in one sentence.
    """
    if len(recipe.labels) > MAX_PICTURES:
        raise UsageError(
            f"recipe: {len(recipe.labels):,} pictures, at most {MAX_PICTURES} are drawn here",
            "use python -m core sample --recipe",
        )
    kept = kept_drawing(recipe, with_layers=with_layers)
    if kept is not None:
        return kept
    key = (_deciding(recipe), with_layers)
    steps = None if on_step is None else _at_most(on_step, PREVIEWS_A_SECOND)
    with _turn(should_stop):
        try:
            return drawings().put(key, _draw(recipe, "", with_layers, steps, should_stop))
        except RuntimeError as error:
            if not is_full_gpu(error):
                raise
        shelf().trim(0)
        _free_gpu()
        return drawings().put(key, _draw(recipe, "cpu", with_layers, steps, should_stop, notes=(FULL_GPU,)))


@contextlib.contextmanager
def _turn(should_stop: Callable[[], bool]) -> Iterator[None]:
    """One of the few that draw at a time; who waits can be cancelled."""
    from core.sampling.trajectory import SamplingCancelled

    while not AT_ONCE.acquire(timeout=0.2):
        if should_stop():
            raise SamplingCancelled("drawing: cancelled")
    try:
        yield
    finally:
        AT_ONCE.release()


def _draw(
    recipe: Recipe,
    device: str,
    with_layers: bool,
    on_step: OnStep | None,
    should_stop: Callable[[], bool],
    notes: tuple[str, ...] = (),
) -> Drawing:
    from core.device import device_label
    from core.sampling.trajectory import record

    with borrowed(recipe.source, recipe.step, recipe.weights, device) as model:
        path = record(
            model,
            recipe.request(),
            on_step,
            with_layers=with_layers,
            branch=recipe.branching(),
            start=_start(recipe, model),
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


def _start(recipe: Recipe, model: LoadedModel) -> Start | None:
    if recipe.start is None:
        return None
    from core.data.arrays import prepare
    from core.sampling.pictures_in import start_of, start_of_picture

    if recipe.start.picture:
        return start_of_picture(recipe.start, model, len(recipe.labels))
    source, site = source_of(recipe.source), current_site()
    data = source.settings.data.model_copy(update={"download": False})
    images = prepare(data, data_dir=site.data, cache_dir=site.cache, rules=source.rules)
    return start_of(recipe.start, model, images)


def _deciding(recipe: Recipe) -> str:
    """A recipe without what is only told about it. The hash stays: it decides what is said about the weights."""
    return f"{stamp_of(recipe.source)} {recipe.model_copy(update={'versions': recipe.rules.written()}).to_json()}"


def _at_most(on_step: OnStep, per_second: float) -> OnStep:
    """The first and the last step always, those between at most so often."""
    told = -np.inf

    def sometimes(done: int, total: int, pictures: np.ndarray) -> None:
        nonlocal told
        now = time.monotonic()
        if done == total or now - told >= 1.0 / per_second:
            on_step(done, total, pictures)
            told = time.monotonic()

    return sometimes


def _free_gpu() -> None:
    """Give memory of released models back to the GPU."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
