"""Drawings that go on in the background: seen while they are drawn, cancelled, shared by all who want the same one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from core.sampling.drawing import Drawing
from core.sampling.recipe import Recipe
from lab.services import background, models
from lab.services.background import Tell, Work


@dataclass(frozen=True, kw_only=True)
class Look:
    """What there is of a drawing so far: steps done of all, and the predicted clean pictures (N, H, W, C) uint8."""

    done: int
    total: int
    images: np.ndarray


def kept(recipe: Recipe) -> Drawing | None:
    """The drawing with all its layers, when it is among the newest ones."""
    return models.kept_drawing(recipe, with_layers=True)


def begin(recipe: Recipe, *, watcher: str) -> Work:
    """Draw it with all layers, or join whoever draws it already. Its result is a Drawing, its look a Look."""

    def task(tell: Tell, should_stop: object) -> Drawing:
        def on_step(done: int, total: int, images: np.ndarray) -> None:
            tell("drawing", done / total, Look(done=done, total=total, images=images))

        return models.draw_recipe(recipe, with_layers=True, on_step=on_step, should_stop=should_stop)  # type: ignore[arg-type]

    return background.begin(key_of(recipe), task, watcher=watcher)


def leave(key: str, watcher: str) -> None:
    """This session wants the drawing no longer: it stops unless somebody else waits for it."""
    background.leave(key, watcher)


def key_of(recipe: Recipe) -> str:
    """Names the work; equal recipes are drawn once."""
    return f"drawing-{hashlib.sha256(recipe.to_json().encode()).hexdigest()[:24]}"
