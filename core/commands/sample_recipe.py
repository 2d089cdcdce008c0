"""`sample --recipe FILE`: the pictures of a recipe again, with all that it holds: walk, start, branch."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.commands.options import find_source, site_of
from core.commands.progress import progress_bar
from core.commands.sample_files import check_folder, write_samples
from core.errors import UsageError
from core.home import lab_home
from core.model_folders.sources import ModelSource
from core.runs.provenance import package_versions
from core.runs.run import now_iso
from core.runs.store import storage_error
from core.sampling.recipe import Recipe, read_recipe_file

if TYPE_CHECKING:
    from core.sampling.load import LoadedModel
    from core.sampling.request import Start

DECIDED = (
    "labels",
    "steps",
    "sampler",
    "guidance_scale",
    "guidance_rescale",
    "guidance_interval",
    "guidance_sigma",
    "seed",
    "checkpoint",
)
BATCH = 256


def draw_recipe(
    arguments: argparse.Namespace, print_result: Callable[[argparse.Namespace, Path, int, dict[str, Any]], None]
) -> int:
    """Draw it, with the recipe's own model unless RUN names another, and write the same files as `sample`."""
    given = [name for name in DECIDED if getattr(arguments, name) is not None]
    if given or arguments.overrides:
        name = f"--{given[0].replace('_', '-')}" if given else "--set"
        raise UsageError(f"{name}: the recipe decides this", "leave it out, or change the recipe")
    recipe = read_recipe_file(arguments.recipe)
    source = find_source(arguments, arguments.run or recipe.source)
    out = arguments.out or lab_home() / "samples" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    check_folder(out, overwrite=arguments.overwrite)
    step = recipe.step if source.run is not None else None
    weights = recipe.weights if source.run is not None else "ema"
    from core.device import take_free_cores

    machine = source.settings.machine
    with progress_bar("loading the model"):
        model = source.load(device=machine.device, weights=weights, step=step)
        threads = take_free_cores(machine.num_threads)
    if recipe.weights_sha256 not in ("", model.weights_sha256):
        print(
            "note: these are not the weights that the recipe was written with: the images may differ", file=sys.stderr
        )
    began = time.monotonic()
    with progress_bar("generating") as show:
        images = _drawn(model, recipe, source, arguments, partial(show, "generating"))
    labels = recipe.branch.labels if recipe.branch and recipe.branch.labels else recipe.labels
    written = recipe.written_now(model.weights_sha256)
    facts = {
        "run": model.run_id,
        "recipe": written.model_dump(mode="json", exclude_defaults=True),
        "class_names": list(model.class_names),
        "device": str(model.device),
        "num_threads": threads,
        "elapsed_s": round(time.monotonic() - began, 3),
        "created_at": now_iso(),
        "versions": package_versions(),
    }
    try:
        write_samples(out, images, np.array(labels, dtype=np.int64), facts, written.to_json())
    except OSError as error:
        raise storage_error(error, out) from None
    print_result(arguments, out, len(images), facts)
    return 0


def _drawn(
    model: LoadedModel,
    recipe: Recipe,
    source: ModelSource,
    arguments: argparse.Namespace,
    progress: Callable[[float], None],
) -> np.ndarray:
    from core.sampling.room import check_room
    from core.sampling.steps import sample, sample_steps

    images: list[np.ndarray] = []
    parts = recipe.parts()
    for part in parts:

        def share(done: float, before: int = len(images)) -> None:
            progress((before + min(1.0, done)) / len(parts))

        request, branch = part.request(), part.branching()
        check_room(model, len(request.labels))
        start = _start(model, part, source, arguments)
        if branch is None and start is None:
            images.append(sample(model, replace(request, batch_size=min(len(request.labels), BATCH)), on_step=share))
            continue
        for done, step in enumerate(sample_steps(model, request, branch=branch, start=start), 1):
            share(done / request.num_inference_steps)
            latents = step.next_latents
        images.append(model.codec.decode_to_uint8(latents))
    return np.concatenate(images)


def _start(model: LoadedModel, recipe: Recipe, source: ModelSource, arguments: argparse.Namespace) -> Start | None:
    if recipe.start is None:
        return None
    from core.data.arrays import prepare
    from core.sampling.pictures_in import start_of, start_of_picture

    if recipe.start.picture:
        return start_of_picture(recipe.start, model, len(recipe.labels))
    site = site_of(arguments)
    image_set = prepare(
        source.settings.data.model_copy(update={"download": False}),
        data_dir=site.data,
        cache_dir=site.cache,
        rules=source.rules,
    )
    return start_of(recipe.start, model, image_set)
