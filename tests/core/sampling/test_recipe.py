"""A recipe survives JSON, PNG and npz, gives the same pictures bit for bit, and hostile ones are one sentence."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from core.errors import UsageError
from core.runs.run import Run
from core.sampling.load import load_model
from core.sampling.recipe import (
    PNG_KEY,
    BranchRecipe,
    Recipe,
    StartRecipe,
    npz_with_recipe,
    png_with_recipe,
    read_recipe,
)
from core.sampling.trajectory import record

RECIPE = Recipe(
    source="20261123-213600-unet-13bd",
    step=30,
    labels=(1, 7),
    seeds=(3, 2**31 - 1),
    sampler="unipc",
    num_inference_steps=4,
    guidance_scale=1.5,
    guidance_rescale=0.3,
    guidance_interval=(0.1, 0.9),
    to_seeds=(4, 4),
    noise_mix=(0.1, 0.30000000000000004),
    branch=BranchRecipe(at=2, labels=(3, 3), guidance_scale=2.0),
)
PICTURES = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8, 1)


def as_png(recipe: Recipe) -> bytes:
    return png_with_recipe(PICTURES[0], recipe)


def as_npz(recipe: Recipe) -> bytes:
    return npz_with_recipe(PICTURES, recipe.labels, recipe)


def as_json(recipe: Recipe) -> bytes:
    return recipe.to_json().encode()


@pytest.mark.parametrize("written", [as_png, as_npz, as_json])
def test_what_was_written_is_read(written: object) -> None:
    started = RECIPE.model_copy(update={"branch": None, "start": StartRecipe(at=1, fingerprint="ab", places=(3, 4))})
    sigma = RECIPE.model_copy(update={"guidance_interval": (0.28, 2.9, "sigma")})
    for recipe in (RECIPE, started, sigma):
        assert read_recipe(written(recipe), where="file") == recipe  # type: ignore[operator]


def test_a_recipe_gives_the_same_pictures_bit_for_bit(trained: Run) -> None:
    drawn = []
    for _ in range(2):
        recipe = read_recipe(as_png(RECIPE), where="file")
        model = load_model(trained, device="cpu")
        path = record(model, recipe.request(), branch=recipe.branching())
        drawn.append((model.weights_sha256, path.noisy_images))
    assert drawn[0][0] == drawn[1][0] != ""
    assert np.array_equal(drawn[0][1], drawn[1][1])


def test_raw_and_averaged_weights_have_other_hashes(trained: Run) -> None:
    ema, raw = (load_model(trained, device="cpu", weights=name).weights_sha256 for name in ("ema", "raw"))  # type: ignore[arg-type]
    assert ema != raw


def png_with_text(text: str, key: str = PNG_KEY) -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt(key, text, zip=True)
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()


def changed(**values: object) -> bytes:
    return json.dumps({**json.loads(RECIPE.to_json()), **values}).encode()


HOSTILE = {
    "no recipe in the picture": (png_with_text("hello", "comment"), "holds no recipe"),
    "a text that is no JSON": (png_with_text("hello"), "is not a recipe"),
    "a text bomb": (png_with_text("[" * 60_000_000), "cannot be read"),
    "deep JSON": (b"[" * 200_000, "is not a recipe"),
    "a truncated picture": (as_png(RECIPE)[:60], "holds no recipe|cannot be read"),
    "a file that is no archive": (b"PK\x03\x04 nothing", "cannot be read"),
    "an archive without a recipe": (npz_with_recipe(PICTURES, (1, 7), RECIPE)[:200], "cannot be read"),
    "no text at all": (b"\xff\xfe\x00", "cannot be read"),
    "an unknown field": (changed(colour="red"), "colour"),
    "a text as a number": (changed(num_inference_steps="4"), "num_inference_steps"),
    "a negative seed": (changed(seeds=[1, -1]), "seeds.1"),
    "another number of seeds": (changed(seeds=[1]), "names 1 seeds for 2 labels"),
    "a million steps": (changed(num_inference_steps=1_000_000), "num_inference_steps"),
    "a million pictures": (changed(labels=[1] * 100_000, seeds=[1] * 100_000), "longer than|labels"),
    "not a number": (changed(guidance_scale=float("nan")), "guidance_scale|is not a recipe"),
    "a newer format": (
        changed(format=2, mood="good"),
        r"made by a newer version of the lab \(format 2; this one knows 1",
    ),
    "a newer format without a new key": (
        changed(format=2),
        r"made by a newer version of the lab \(format 2; this one knows 1",
    ),
    "a format that never was": (changed(format=0), "not known"),
    "a newer rule": (
        changed(versions={"rules.noise": "3"}),
        "made by a newer version of the lab: version 3 of the rule",
    ),
    "no format at all": (changed(format="one"), "format"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recipe_is_one_sentence(name: str) -> None:
    data, words = HOSTILE[name]
    with pytest.raises(UsageError, match=words) as caught:
        read_recipe(data, where="upload.png")
    assert str(caught.value).startswith("upload.png: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
