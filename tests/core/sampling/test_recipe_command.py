"""`sample --recipe` in this process: the pictures of a recipe again, bit for bit, whatever the recipe holds."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.__main__ import main
from core.data.arrays import ImageSet, prepare
from core.runs.run import Run
from core.sampling.load import LoadedModel, load_model
from core.sampling.pictures_in import start_of, start_of_picture
from core.sampling.recipe import BranchRecipe, Recipe, StartRecipe, npz_with_recipe, png_with_recipe
from core.sampling.trajectory import record
from lab.widgets.pictures import png

PICTURE = np.random.default_rng(0).integers(0, 256, (16, 16, 1), dtype=np.uint8)


def encoded(picture: np.ndarray) -> str:
    """As the screens put an uploaded picture into a recipe."""
    return base64.b64encode(png(picture)).decode()


@pytest.fixture(scope="module")
def model(trained: Run) -> LoadedModel:
    return load_model(trained, device="cpu")


@pytest.fixture(scope="module")
def image_set(trained: Run) -> ImageSet:
    root = trained.folder.parents[1]
    return prepare(trained.settings.data, data_dir=root / "data", cache_dir=root / "cache")


@pytest.fixture
def places(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    root = trained.folder.parents[1]
    for name in ("runs", "data", "cache"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(root / name))


def recipe_of(trained: Run, model: LoadedModel, **changes: Any) -> Recipe:
    values = {
        "source": trained.id,
        "step": model.step,
        "weights_sha256": model.weights_sha256,
        "labels": (1, 7, 7),
        "seeds": (3, 3, 2**31 - 1),
        "places": (0, 5, 1),
        "sampler": "unipc",
        "num_inference_steps": 3,
        "guidance_scale": 1.5,
        "guidance_rescale": 0.3,
        "guidance_interval": (0.1, 0.9),
        **changes,
    }
    return Recipe.model_validate(values)


KINDS: dict[str, dict[str, Any]] = {
    "classes": {},
    "a walk between seeds": {"to_seeds": (9, 9, 9), "noise_mix": (0.0, 0.3, 1.0)},
    "a walk between classes": {"to_labels": (4, 4, 4), "label_mix": (0.0, 0.3, 1.0)},
    "a branch": {"branch": BranchRecipe(at=1, labels=(2, 2, 2), sampler="euler", guidance_scale=2.0)},
    "two at a time": {"batch": 2},
    "a branch of two at a time": {"batch": 2, "branch": BranchRecipe(at=1, labels=(2, 2, 2), guidance_scale=2.0)},
    "an uploaded picture": {"start": StartRecipe(at=1, picture=encoded(PICTURE))},
    "held-out images": {"start": StartRecipe(at=1, places=(3, 4, 5))},
}


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("kind", KINDS)
def test_the_command_draws_a_recipe_bit_for_bit(
    trained: Run, model: LoadedModel, image_set: ImageSet, kind: str, tmp_path: Path
) -> None:
    recipe = recipe_of(trained, model, **KINDS[kind])
    start = None
    if recipe.start is not None and recipe.start.picture:
        start = start_of_picture(recipe.start, model, len(recipe.labels))
    elif recipe.start is not None:
        named = recipe.start.model_copy(update={"fingerprint": image_set.fingerprint})
        recipe = recipe.model_copy(update={"start": named})
        start = start_of(named, model, image_set)
    drawn = [record(model, part.request(), branch=part.branching(), start=start) for part in recipe.parts()]
    expected = np.concatenate([part.images for part in drawn])
    file, out = tmp_path / "drawing.png", tmp_path / "out"
    file.write_bytes(png_with_recipe(PICTURE, recipe))
    assert main(["sample", "--recipe", str(file), "--out", str(out)]) == 0
    with np.load(out / "samples.npz") as found:
        np.testing.assert_array_equal(found["images"], expected)
        assert found["labels"].tolist() == ([2, 2, 2] if "branch" in kind else [1, 7, 7])
    assert main(["sample", "--recipe", str(out / "recipe.json"), "--out", str(tmp_path / "again")]) == 0
    with np.load(tmp_path / "again" / "samples.npz") as again:
        np.testing.assert_array_equal(again["images"], expected)


@pytest.mark.usefixtures("places")
def test_other_weights_are_told(
    trained: Run, model: LoadedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "drawing.npz"
    file.write_bytes(npz_with_recipe(PICTURE[None], (1,), recipe_of(trained, model, weights_sha256="00" * 32)))
    assert main(["sample", "--recipe", str(file), "--out", str(tmp_path / "out")]) == 0
    assert "not the weights that the recipe was written with" in capsys.readouterr().err
    written = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert written["weights_sha256"] == model.weights_sha256


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        ({}, ["--seed", "3"], "--seed: the recipe decides this"),
        ({}, ["--set", "sampling.seed=3"], "--set: the recipe decides this"),
        ({"source": "no-such-run"}, [], "no-such-run"),
        ({"labels": (1, 7, 99)}, [], "labels: 99 is outside the classes"),
        ({"start": StartRecipe(at=1, fingerprint="ab", places=(0, 0, 0))}, [], "the recipe's images are of the data"),
        ({"start": StartRecipe(at=1, picture="AAAA")}, [], "start: the recipe's image cannot be read"),
        ({"start": StartRecipe(at=1, picture=encoded(PICTURE[:8]))}, [], "images of 8 × 16 × 1 given, 16 × 16 × 1"),
        ({"start": StartRecipe(at=3, picture=encoded(PICTURE))}, [], "start: step 3 does not exist"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence_and_leaves_nothing(
    trained: Run,
    model: LoadedModel,
    changes: dict[str, Any],
    options: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(recipe_of(trained, model, **changes).to_json())
    assert main(["sample", "--recipe", str(file), "--out", str(tmp_path / "out"), *options]) in (1, 2)
    said = capsys.readouterr().err.strip()
    assert sentence in said and said.startswith("error: ") and "\n" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_drawing_that_begins_late_keeps_its_picture(trained: Run, model: LoadedModel) -> None:
    recipe = recipe_of(trained, model, sampler="euler", num_inference_steps=50, guidance_scale=1.0)
    late, early = (
        record(model, recipe.request(), start=start_of_picture(StartRecipe(at=at, picture=encoded(PICTURE)), model, 3))
        for at in (49, 5)
    )
    clean = start_of_picture(StartRecipe(at=49, picture=encoded(PICTURE)), model, 3).latents
    seen = model.codec.decode_to_uint8(clean).astype(int)  # all that the VAE lets through
    assert clean.shape == (3, *model.latent_shape) and (seen[0] == seen[1]).all()
    assert np.abs(late.images - seen).mean() < 0.5 * np.abs(early.images - seen).mean()
    blank = start_of_picture(StartRecipe(at=49, picture=encoded(np.zeros_like(PICTURE))), model, 3).latents
    assert not np.allclose(clean, blank, atol=1e-3)
