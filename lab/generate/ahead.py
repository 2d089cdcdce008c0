"""The images that Generate shows when it opens, generated while people still look at the first page."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import streamlit as st

from core.errors import LabError
from core.model_folders.sources import ModelSource
from core.rules import NEWEST
from core.sampling.recipe import Recipe
from lab.generate import generation_service
from lab.generate.grid import GUIDANCE
from lab.services import machine
from lab.services.computing import a_browser_is_connected
from lab.services.models import MAX_PICTURES, model_sources, source_of
from lab.services.room import room_of

AFTER_S = 3.0  # the page that a visit begins with is drawn by then
CLASSES = 10


@st.cache_resource(show_spinner=False)
def generate_ahead() -> None:
    """Begin soon, once per server, and only on a CPU on which a run may start: it shall take nothing from anybody."""
    timer = threading.Timer(AFTER_S, _generate)
    timer.daemon = True
    timer.start()


def _generate() -> None:
    with contextlib.suppress(LabError, OSError):  # Generate itself says what is wrong
        if a_browser_is_connected() and room_of(machine.cards(), 0).free == (machine.CPU_NAME,):
            source = source_of(model_sources()[0].id)
            generation_service.begin(first_recipe(source), watcher="ahead")


def first_recipe(source: ModelSource) -> Recipe:
    """What the controls of Generate say at first: an image of each class, with the settings of the model's run."""
    defaults = source.settings.sampling
    steps = defaults.num_inference_steps
    allowed, _ = source.settings.diffusion.offered_samplers(steps)
    labels = tuple(range(min(CLASSES, len(source.class_names), MAX_PICTURES)))
    return Recipe(
        source=source.id,
        step=source.steps[0],
        weights="raw" if source.weights[0] == "raw" else "ema",
        labels=labels,
        seeds=(defaults.seed,) * len(labels),
        places=labels,
        sampler=defaults.sampler if defaults.sampler in allowed else allowed[0],
        num_inference_steps=steps,
        guidance_scale=min(max(defaults.guidance_scale, GUIDANCE[0]), GUIDANCE[1]),
        guidance_rescale=defaults.guidance_rescale,
        guidance_interval=defaults.guidance_interval,
        versions=replace(NEWEST, noise=source.rules.noise).written(),
    )
