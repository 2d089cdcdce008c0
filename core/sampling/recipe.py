"""The recipe of a drawing: everything that decides its pictures, in JSON, in a PNG, in a WebP, or in an npz.

The same recipe with the same weights on the same machine gives the same pictures, bit for bit.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image, PngImagePlugin
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import reading
from core.config.interval import Interval
from core.data.decoding import opened_picture
from core.data.npz_file import arrays_in
from core.diffusion.guidance import Guidance
from core.errors import DataUnavailable, LabError, UsageError, quoted
from core.rules import Rules, rules_of
from core.runs.provenance import package_versions
from core.sampling.request import Branch, SampleRequest

FORMAT = 1
PNG_KEY = "latent-diffusion-lab-recipe"
NPZ_KEY = "recipe"
EXIF_TAG = 0x010E  # ImageDescription
MAX_BYTES = 256 * 1024
MAX_FILE_BYTES = 256 * 2**20
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Label = Annotated[int, Field(ge=0, lt=100_000)]
Place = Annotated[int, Field(ge=0, lt=1_000_000)]
Text = Annotated[str, Field(max_length=200)]
MOST_PICTURES = 4096
PER_IMAGE = ("labels", "seeds", "places", "to_labels", "label_mix", "to_seeds", "noise_mix")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class BranchRecipe(_Part):
    """The drawing goes another way from network evaluation `at` on; empty = as before."""

    at: int = Field(ge=0, le=10_000)
    labels: tuple[Label, ...] = Field((), max_length=MOST_PICTURES)
    sampler: Text = ""
    guidance_scale: float | None = Field(None, ge=0.0, le=50.0)
    guidance_rescale: Share = 0.0
    guidance_interval: Interval = (0.0, 1.0)


class StartRecipe(_Part):
    """The drawing begins at step `at` with real pictures, noised to it.

    Either held-out pictures `places` of the dataset with this fingerprint, or one `picture` for all: a PNG of the
    model's own size, base64.
    """

    at: int = Field(ge=0, le=10_000)
    fingerprint: Text = ""
    places: tuple[Annotated[int, Field(ge=0)], ...] = Field((), max_length=MOST_PICTURES)
    picture: str = Field("", max_length=160 * 1024)


class AxisRecipe(_Part):
    """One axis of a grid: a setting and the values that it takes, see `core.comparison.recipe_grid`."""

    setting: Text
    values: tuple[int | float | Text, ...] = Field(min_length=1, max_length=200)


class Recipe(_Part):
    """One drawing. source: a run's id or 'model:<folder>'. Picture i: label labels[i], and the noise of
    picture places[i] (0 without places) of seed seeds[i]. batch: so many images are generated at once, 0 for all; the
    last bits depend on it. axes: none, or the recipe is that of a grid, whose cells are recipes without axes."""

    format: int = FORMAT
    source: Text
    step: int = Field(ge=0)
    weights: Literal["ema", "raw"] = "ema"
    weights_sha256: Text = ""
    labels: tuple[Label, ...] = Field(min_length=1, max_length=MOST_PICTURES)
    seeds: tuple[Seed, ...] = Field(min_length=1, max_length=MOST_PICTURES)
    places: tuple[Place, ...] = Field((), max_length=MOST_PICTURES)
    sampler: Text
    num_inference_steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=0.0, le=50.0)
    guidance_rescale: Share = 0.0
    guidance_interval: Interval = (0.0, 1.0)
    whole_timesteps: bool = False
    to_labels: tuple[Label, ...] = Field((), max_length=MOST_PICTURES)
    label_mix: tuple[Share, ...] = Field((), max_length=MOST_PICTURES)
    to_seeds: tuple[Seed, ...] = Field((), max_length=MOST_PICTURES)
    noise_mix: tuple[Share, ...] = Field((), max_length=MOST_PICTURES)
    branch: BranchRecipe | None = None
    start: StartRecipe | None = None
    batch: int = Field(0, ge=0, le=MOST_PICTURES)
    axes: tuple[AxisRecipe, ...] = Field((), max_length=3)
    versions: dict[Text, Text] = Field(default_factory=dict, max_length=40)

    def request(self) -> SampleRequest:
        """What `sample_steps` takes. Raises UsageError for a grid, which is many requests."""
        if self.axes:
            raise UsageError("this recipe is a grid of settings", "open it on the page Generate")
        return SampleRequest(
            labels=self.labels,
            seeds=self.seeds,
            places=self.places,
            sampler=self.sampler,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            guidance_rescale=self.guidance_rescale,
            guidance_interval=self.guidance_interval,
            whole_timesteps=self.whole_timesteps,
            seed=0,
            batch_size=self.batch or len(self.labels),
            to_labels=self.to_labels,
            label_mix=self.label_mix,
            to_seeds=self.to_seeds,
            noise_mix=self.noise_mix,
            noise_rule=self.rules.noise,
        )

    def parts(self) -> tuple[Recipe, ...]:
        """What is generated one after the other: recipes of at most `batch` images, together the images of this one.

        The first part of a larger number is the recipe of the smaller one, so its images are the same, bit for bit.
        """
        size = self.batch or len(self.labels)
        if size >= len(self.labels):
            return (self.model_copy(update={"batch": 0}),)
        found = []
        for first in range(0, len(self.labels), size):
            cut = slice(first, first + size)
            changes: dict[str, object] = {name: getattr(self, name)[cut] for name in PER_IMAGE}
            if self.branch is not None:
                changes["branch"] = self.branch.model_copy(update={"labels": self.branch.labels[cut]})
            if self.start is not None:
                changes["start"] = self.start.model_copy(update={"places": self.start.places[cut]})
            found.append(self.model_copy(update={**changes, "batch": 0}))
        return tuple(found)

    @property
    def rules(self) -> Rules:
        """What its noise follows. Raises LabError for rules of a newer version of the lab."""
        return rules_of(self.versions)

    def written_now(self, weights_sha256: str) -> Recipe:
        """The same pictures, as drawn here and now with these weights: its rules stay."""
        return self.model_copy(update={"weights_sha256": weights_sha256, "versions": package_versions(self.rules)})

    def branching(self) -> Branch | None:
        """The branch for `sample_steps`, or None."""
        if self.branch is None:
            return None
        found = self.branch
        guidance = None
        if found.guidance_scale is not None:
            guidance = Guidance(
                scale=found.guidance_scale, rescale=found.guidance_rescale, interval=found.guidance_interval
            )
        return Branch(at=found.at, labels=found.labels, sampler=found.sampler or None, guidance=guidance)

    def to_json(self) -> str:
        """One line of JSON without what is at its default."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True) | {"format": self.format})


def read_recipe(data: bytes, *, where: str) -> Recipe:
    """The recipe in a JSON text, or in a PNG, WebP or npz of ours. Raises UsageError, one sentence."""
    try:
        if data.startswith(b"\x89PNG"):
            text = _from_png(data, where)
        elif data.startswith(b"RIFF"):
            text = _from_webp(data, where)
        elif data.startswith(b"PK"):
            text = _from_npz(data)
        else:
            text = data[: MAX_BYTES + 1].decode()
    except DataUnavailable as error:
        raise _refused(where, f"cannot be read: {error.message.removeprefix(f'{where}: ')}") from None
    except (OSError, ValueError, KeyError, SyntaxError, EOFError) as error:
        raise _refused(
            where, f"cannot be read: {quoted(str(error).splitlines()[0] if str(error) else error, 120)}"
        ) from None
    if not text:
        raise _refused(where, "holds no recipe")
    if len(text) > MAX_BYTES:
        raise _refused(where, f"its recipe is longer than {MAX_BYTES // 1024} KB")
    try:
        recipe = Recipe.model_validate_json(text)
        if recipe.format != FORMAT:
            raise _refused(where, reading.newer(recipe.format, FORMAT) or "is of a format that is not known")
        recipe.rules  # noqa: B018 - those of a newer lab raise here
    except (ValidationError, RecursionError) as error:
        raise _refused(where, _newer(text) or f"is not a recipe: {_first(error)}") from None
    except UsageError:
        raise
    except LabError as error:
        raise _refused(where, error.message) from None
    if len(recipe.seeds) != len(recipe.labels):
        raise _refused(where, f"names {len(recipe.seeds)} seeds for {len(recipe.labels)} labels")
    return recipe


def read_recipe_file(path: Path) -> Recipe:
    """As `read_recipe`. Raises UsageError when the file cannot be read or is too large."""
    try:
        return read_recipe(reading.read_bytes(path, limit=MAX_FILE_BYTES), where=quoted(path))
    except reading.Unreadable as error:
        raise UsageError(f"{quoted(path)}: {error.message}", "give a recipe as JSON, PNG, WebP or npz") from None
    except OSError as error:
        raise _refused(quoted(path), f"cannot be read: {error.strerror or error}") from None


def png_with_recipe(picture: np.ndarray, recipe: Recipe) -> bytes:
    """(H, W, C) uint8 → PNG that carries the recipe as text under `PNG_KEY`."""
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt(PNG_KEY, recipe.to_json())
    buffer = io.BytesIO()
    Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()


def exif_with_recipe(recipe: Recipe) -> bytes:
    """EXIF whose description is the recipe, for a WebP."""
    exif = Image.Exif()
    exif[EXIF_TAG] = recipe.to_json()
    return exif.tobytes()


def npz_with_recipe(images: np.ndarray, labels: tuple[int, ...], recipe: Recipe) -> bytes:
    """images (N, H, W, C) uint8, labels int64 and the recipe as text under `NPZ_KEY`."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, images=images, labels=np.array(labels, dtype=np.int64), recipe=np.array(recipe.to_json())
    )
    return buffer.getvalue()


def _from_png(data: bytes, where: str) -> str:
    with opened_picture(io.BytesIO(data), where, formats=("PNG",)) as picture:  # its text comes before the pixels
        return str(picture.info.get(PNG_KEY, ""))


def _from_webp(data: bytes, where: str) -> str:
    if len(data) > MAX_FILE_BYTES:
        return ""
    with opened_picture(io.BytesIO(data), where, formats=("WEBP",)) as picture:
        return str(picture.getexif().get(EXIF_TAG, "")).rstrip("\0")


def _from_npz(data: bytes) -> str:
    return str(arrays_in(io.BytesIO(data), [NPZ_KEY], most_bytes=5 * MAX_BYTES)[NPZ_KEY])


def _newer(text: str) -> str:
    """That a newer version of the lab wrote it, or '' for a recipe that is wrong in another way."""
    try:
        number = reading.json_object(text, "").get("format", 1)
    except reading.Unreadable:
        return ""
    return reading.newer(number, FORMAT) if isinstance(number, int) else ""


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors()[0]
        place = ".".join(str(part) for part in found["loc"][:3])
        return quoted(f"{place}: {found['msg']}" if place else found["msg"], 160)
    return "it is nested too deeply"


def _refused(where: str, what: str) -> UsageError:
    return UsageError(f"{where}: {what}", "give a PNG, WebP, npz or JSON that this lab wrote")
