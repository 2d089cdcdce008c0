"""`sample RUN --labels 0-9 --per-label 100 --out DIR`: pictures as npz, a grid as PNG, and what was asked for."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.labels import in_words, parse_labels
from core.commands.options import add_checkpoint_options, find_source, settings_of_run
from core.commands.progress import progress_bar
from core.commands.sample_files import check_folder, write_samples
from core.config.compatibility import pair_warning
from core.config.interval import SIGMA, interval_as_setting
from core.errors import UsageError
from core.home import PROGRAM, lab_home
from core.rules import NEWEST
from core.runs.provenance import package_versions
from core.runs.run import now_iso
from core.runs.store import storage_error
from core.sampling.recipe import MOST_PICTURES, Recipe
from core.words import counted

if TYPE_CHECKING:
    from core.sampling.load import LoadedModel
    from core.sampling.request import SampleRequest

MAX_PICTURES = 1_000_000


def add_parser(commands: Any) -> None:
    """Its options; what is left out comes from the run's own `sampling` settings."""
    parser = add_command(
        commands,
        "sample",
        "Generate images with a run or a model folder.",
        (
            "sample model:mnist-demo --labels 0-9 --per-class 4 --out digits",
            "sample RUN --labels 3,5,7 --steps 20 --guidance-scale 1.5 --seed 0",
        ),
    )
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN|MODEL_DIR",
        help="run id or name, model:NAME, or the path of a run or model folder",
    )
    parser.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="reproduce the images of a recipe bit for bit: a JSON, PNG, WebP or npz of a lab (default: none)",
    )
    parser.add_argument("--labels", metavar="LABELS", help="class names, 0-9 or 3,5,7 (default: all classes)")
    parser.add_argument("--per-class", "--per-label", type=_positive, default=10, metavar="N", help="images per class")
    parser.add_argument("--steps", type=_positive, metavar="N", help="sampler steps (default: the run's setting)")
    parser.add_argument("--sampler", metavar="NAME", help="unipc, dpmpp_2m, ddim, ... (default: the run's setting)")
    parser.add_argument(
        "--guidance-scale", type=float, metavar="X", help="1 turns guidance off (default: the run's setting)"
    )
    parser.add_argument(
        "--guidance-rescale",
        type=float,
        metavar="X",
        help="0 to 1: how far to scale guided outputs back to their standard deviation (default: the run's setting)",
    )
    parser.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="guide only between these noise levels t / T (default: the run's setting)",
    )
    parser.add_argument(
        "--guidance-sigma",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="the same, between these values of sigma (default: none)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="image i depends on the seed and i alone (default: the run's setting)"
    )
    add_checkpoint_options(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="a folder for the files (default: samples/<time> in the run folder, or in the lab for a model)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier sample in --out")


def run(arguments: argparse.Namespace) -> int:
    """Sample, then write DIR/samples.npz, DIR/grid.png, DIR/request.json and DIR/recipe.json."""
    if arguments.recipe is not None:
        from core.commands.sample_recipe import draw_recipe

        return draw_recipe(arguments, print_result)
    if arguments.run is None:
        raise UsageError(
            "sample: which run or model should generate?", f"try: {PROGRAM} sample model:mnist-demo --labels 0-9"
        )
    source = find_source(arguments, arguments.run)
    names = source.class_names
    labels = parse_labels(arguments.labels, names) if arguments.labels is not None else tuple(range(len(names)))
    if arguments.guidance_interval and arguments.guidance_sigma:
        raise UsageError("--guidance-sigma: --guidance-interval is given as well", "leave one of them out")
    sigma = interval_as_setting((*arguments.guidance_sigma, SIGMA)) if arguments.guidance_sigma else None
    options = {
        "sampler": arguments.sampler,
        "num_inference_steps": arguments.steps,
        "guidance_scale": arguments.guidance_scale,
        "guidance_rescale": arguments.guidance_rescale,
        "guidance_interval": arguments.guidance_interval or sigma,
        "seed": arguments.seed,
    }
    arguments.overrides += [f"sampling.{key}={value}" for key, value in options.items() if value is not None]
    settings = settings_of_run(arguments, source, ("sampling", "machine"))
    if len(labels) * arguments.per_class > MAX_PICTURES:
        raise UsageError(
            f"--per-class: {len(labels)} classes times {arguments.per_class} images are more than {MAX_PICTURES:,}"
        )
    out = (
        arguments.out
        or (source.folder if source.run else lab_home()) / "samples" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    )
    check_folder(out, overwrite=arguments.overwrite)

    from core.device import take_free_cores
    from core.sampling.request import SampleRequest
    from core.sampling.room import check_room
    from core.sampling.steps import sample

    wanted = settings.sampling
    request = SampleRequest(
        labels=tuple(label for label in labels for _ in range(arguments.per_class)),
        sampler=wanted.sampler,
        num_inference_steps=wanted.num_inference_steps,
        guidance_scale=wanted.guidance_scale,
        guidance_rescale=wanted.guidance_rescale,
        guidance_interval=wanted.guidance_interval,
        whole_timesteps=wanted.whole_timesteps,
        seed=wanted.seed,
        batch_size=wanted.batch_size,
        noise_rule=source.rules.noise,
    )
    poor = pair_warning(
        schedule=settings.diffusion.schedule, sampler=wanted.sampler, num_inference_steps=wanted.num_inference_steps
    )
    if poor:
        print(f"note: {poor}", file=sys.stderr)
    if arguments.labels is not None:
        print(f"{counted(arguments.per_class, 'image')} per class: {in_words(labels, names)}", file=sys.stderr)
    with progress_bar("loading the model") as show:
        model = source.load(device=settings.machine.device, weights=arguments.weights, step=arguments.checkpoint)
        check_room(model, min(len(request.labels), request.batch_size))
        threads = take_free_cores(settings.machine.num_threads)
        started = time.monotonic()
        images = sample(model, request, on_step=lambda share: show(f"{len(request.labels):,} images", share))
    facts = {
        "run": model.run_id,
        "step": model.step,
        "weights": arguments.weights,
        "labels": list(labels),
        "class_names": [names[label] for label in labels],
        "per_label": arguments.per_class,
        "sampler": request.sampler,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "guidance_rescale": request.guidance_rescale,
        "guidance_interval": list(request.guidance_interval),
        "whole_timesteps": request.whole_timesteps,
        "seed": request.seed,
        "batch_size": request.batch_size,
        "device": str(model.device),
        "num_threads": threads,
        "elapsed_s": round(time.monotonic() - started, 3),
        "created_at": now_iso(),
        "versions": package_versions(replace(NEWEST, noise=request.noise_rule)),
    }
    recipe = recipe_of(model, request, source.id, arguments.weights)
    try:
        write_samples(out, images, np.array(request.labels, dtype=np.int64), facts, recipe)
    except OSError as error:
        raise storage_error(error, out) from None
    print_result(arguments, out, len(images), facts)
    return 0


def print_result(arguments: argparse.Namespace, out: Path, count: int, facts: dict[str, Any]) -> None:
    """Where the images are; with --json what request.json holds, and the folder."""
    answer(arguments, {"folder": str(out), "count": count, **facts}, f"{count:,} images in {out}")


def recipe_of(model: LoadedModel, request: SampleRequest, source: str, weights: Literal["ema", "raw"]) -> str:
    """What draws these pictures again with --recipe, or '' for more pictures than a recipe holds."""
    count = len(request.labels)
    if count > MOST_PICTURES:
        return ""
    return Recipe(
        source=source,
        step=model.step,
        weights=weights,
        weights_sha256=model.weights_sha256,
        labels=request.labels,
        seeds=(request.seed,) * count,
        places=tuple(range(count)),
        sampler=request.sampler,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        guidance_rescale=request.guidance_rescale,
        guidance_interval=request.guidance_interval,
        whole_timesteps=request.whole_timesteps,
        versions=package_versions(replace(NEWEST, noise=request.noise_rule)),
    ).to_json()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
