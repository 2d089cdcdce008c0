"""A picture or an archive that claims what it does not hold is one sentence, and takes no memory for its claim."""

from __future__ import annotations

import base64
import io
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.data.array_files import read_npy
from core.data.npz_file import arrays_in, read_npz
from core.errors import LabError, UsageError
from core.runs.store import RunStore
from core.sampling.pictures_in import decoded
from core.sampling.recipe import NPZ_KEY, Recipe, png_with_recipe, read_recipe
from lab.services.runs import read_preview
from tests.pages.run_folders import make_run

RECIPE = Recipe(
    source="model:x", step=1, labels=(1,), seeds=(1,), sampler="ddim", num_inference_steps=2, guidance_scale=1.0
)
FEW = settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def png(width: int, height: int) -> bytes:
    """A PNG of one pixel that says it has more, and holds a recipe."""
    data = png_with_recipe(np.zeros((1, 1, 1), np.uint8), RECIPE)
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def npz(name: str, shape: str, descr: str = "|u1") -> bytes:
    """An archive of one array whose header claims that shape."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + b"\0" * 64
        )
    return file.getvalue()


def test_an_honest_picture_gives_its_recipe() -> None:
    assert read_recipe(png(1, 1), where="x") == RECIPE


@pytest.mark.parametrize("side", [9_000, 40_000, 2**31 - 1])
def test_a_picture_that_claims_too_many_pixels_is_one_sentence(side: int) -> None:
    for read in (lambda data: read_recipe(data, where="x"), lambda data: decoded(base64.b64encode(data).decode())):
        with pytest.raises(UsageError, match="pixels"):
            read(png(side, side))


CLAIMS = ["(1000000000000,)", "(-1,)", "(9999999999999999999999,)", "(2, 2, 2)", "()", "(True,)", "'x'", "(" * 3000]


@pytest.mark.parametrize("shape", CLAIMS)
def test_an_array_that_claims_what_is_not_there_is_one_sentence(shape: str, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(npz("images", shape[:100]))
    run = make_run(RunStore(tmp_path / "runs"), logged=0)
    run.previews_dir.mkdir(exist_ok=True)
    (run.previews_dir / "step-00000001.npz").write_bytes(npz("images", shape[:100]))
    tracemalloc.start()
    try:
        assert read_npz(tmp_path / "a.npz") is None
        assert read_preview(run, 1) is None
        with pytest.raises(UsageError):
            read_recipe(npz(NPZ_KEY, shape[:100], "<U100000000"), where="x")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@FEW
@given(data=st.data())
def test_any_bytes_are_a_recipe_or_one_sentence(data: st.DataObject) -> None:
    sound = data.draw(st.sampled_from([png(1, 1), npz(NPZ_KEY, "()"), RECIPE.to_json().encode(), b"RIFF\0\0\0\0WEBP"]))
    at = data.draw(st.integers(0, len(sound)))
    spoilt = sound[:at] + data.draw(st.binary(max_size=16)) + sound[at + data.draw(st.integers(0, 16)) :]
    try:
        assert isinstance(read_recipe(spoilt, where="x"), Recipe)
    except UsageError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("read", [arrays_in, read_npy])
@FEW
@given(data=st.binary(max_size=200) | st.sampled_from(CLAIMS).map(lambda shape: npz("x", shape[:100])))
def test_any_bytes_are_arrays_or_one_error(
    read: Callable[[Path], object], tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(data)
    try:
        read(path)
    except (OSError, ValueError, LabError) as error:
        assert "\n" not in str(error)
