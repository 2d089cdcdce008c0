"""What the scrubber sends to the browser, and how pictures are laid out."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.mosaic import mosaic
from lab.widgets.pictures import png
from lab.widgets.scrubber import (
    MAX_PICTURES,
    Beside,
    Layer,
    frames_that_fit,
    pack,
    pack_layers,
    side_by_side,
    signed_levels,
    tiled,
)
from lab.widgets.sprites import MAX_SIDE, cells_across_and_down


def unpack(payload: bytes) -> tuple[dict[str, Any], list[Image.Image]]:
    (length,) = struct.unpack("<I", payload[:4])
    header, at, sheets = json.loads(payload[4 : 4 + length]), 4 + length, []
    for layer in header["layers"]:
        sheets.append(Image.open(io.BytesIO(payload[at : at + layer["bytes"]])))
        at += layer["bytes"]
    assert len(payload) == at + 4 * header["numbers"] + header["odds"] + header["nearest"]["bytes"]
    return header, sheets


def frames(count: int, pictures: int, size: int = 8, channels: int = 1) -> np.ndarray:
    """Frame k of every picture has the value 10 k."""
    values = (np.arange(count) * 10).astype(np.uint8)[:, None, None, None, None]
    return np.broadcast_to(values, (count, pictures, size, size, channels))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_frame_of_every_layer_lies_where_the_header_says(channels: int) -> None:
    noisy, clean = frames(5, 4, channels=channels), 255 - frames(5, 4, channels=channels)
    header, sheets = unpack(pack([noisy, clean], ["a", "b", "c", "d", "e"], columns=2))

    def value(layer: int, frame: int) -> int:
        facts, pixels = header["layers"][layer], np.asarray(sheets[layer].convert("L")).astype(int)
        top, left = frame // facts["columns"] * facts["height"], frame % facts["columns"] * facts["width"]
        return int(pixels[top + 3, left + 3])

    seen = [[value(layer, frame) for frame in range(5)] for layer in range(2)]
    assert np.abs(np.array(seen) - [[0, 10, 20, 30, 40], [255, 245, 235, 225, 215]]).max() <= 6  # WebP is lossy


def test_class_names_travel_as_text() -> None:
    header, _ = unpack(pack([frames(2, 2)], ["x", "y"], columns=2, heads=["<b>cat</b>", "dog"], sides=[]))
    assert header["heads"] == ["<b>cat</b>", "dog"]


def test_other_names_make_another_drawing() -> None:
    first, second = (unpack(pack([frames(2, 1)], ["x", "y"], columns=1, heads=[name]))[0] for name in ("cat", "dog"))
    assert first["id"] != second["id"]


@pytest.mark.parametrize("columns", [4, 8, 16])
@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_as_many_frames_as_are_said_to_fit_do_fit(columns: int, size: int) -> None:
    count = frames_that_fit(101, MAX_PICTURES, columns, size)
    width, height = columns * (size + 1) - 1, MAX_PICTURES // columns * (size + 1) - 1
    across, down = cells_across_and_down(count, width, height)
    assert across * down >= count
    assert max(across * width, down * height) <= MAX_SIDE


def test_a_sheet_is_as_large_as_its_cells_need() -> None:
    small = np.zeros((7, 6, 8, 8, 1), dtype=np.uint8)
    _, sheets = unpack(pack([small, small], [""] * 7, columns=3))
    across, down = cells_across_and_down(7, 26, 17)
    assert [sheet.size for sheet in sheets] == [(across * 26, down * 17)] * 2


def test_ten_digits_over_fifty_steps_are_a_few_hundred_kilobytes() -> None:
    from sklearn.datasets import load_digits

    clean = load_digits().images[:10].repeat(4, axis=1).repeat(4, axis=2) * (255 / 16)  # (10, 32, 32)
    noise = np.random.default_rng(0).normal(128, 60, (10, 8, 8)).repeat(4, axis=1).repeat(4, axis=2)  # decoded latents
    share = np.linspace(1, 0, 50)[:, None, None, None]
    film = (share * noise + (1 - share) * clean).clip(0, 255).astype(np.uint8)[..., None]
    assert len(pack([film], [""] * 50, columns=10)) <= 400_000


def test_too_many_frames_for_one_sheet_are_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        pack([frames(300, 64, size=64)], [""] * 300, columns=8)


@pytest.mark.parametrize(
    ("labels", "order", "columns", "heads", "sides"),
    [
        ((3,), [0], 1, [3], []),
        ((0, 1, 2), [0, 1, 2], 3, [0, 1, 2], []),
        ((7, 7, 7, 7), [0, 1, 2, 3], 4, [], [7]),
        ((0, 1, 0, 1), [0, 2, 1, 3], 2, [], [0, 1]),
        (tuple(range(10)) * 2, list(range(20)), 10, list(range(10)), []),
        (tuple(range(20)), list(range(20)), 16, [], []),
    ],
)
def test_classes_stand_side_by_side_with_their_names(
    labels: tuple[int, ...], order: list[int], columns: int, heads: list[int], sides: list[int]
) -> None:
    assert side_by_side(labels) == (order, columns, heads, sides)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_have_one_black_pixel_between_them(channels: int) -> None:
    sheet = mosaic(np.full((3, 4, 4, channels), 200, dtype=np.uint8), columns=2, zoom=2)
    assert sheet.shape == (18, 18, channels)
    assert (sheet[:8, 8:10] == 0).all()
    assert (sheet[10:, 10:] == 0).all()  # the fourth place is empty
    assert Image.open(io.BytesIO(png(sheet))).size == (18, 18)


def test_odds_travel_with_the_step_at_which_each_digit_commits() -> None:
    turns = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.9, 0.1]]
    odds = np.array([turns, [[0.5, 0.5]] * 4]).swapaxes(0, 1)
    layer = Layer(name="clean", title="", caption="", pictures=frames(4, 2))
    payload = pack_layers([layer], [""] * 4, columns=2, odds=odds, classes=("0", "1"), asked=(0, 1))
    header, _ = unpack(payload)
    assert (header["classes"], header["asked"], header["commits"]) == (["0", "1"], [0, 1], [2, -1])
    sent = np.frombuffer(payload[-header["odds"] :], dtype=np.uint8).reshape(odds.shape) / 255
    np.testing.assert_allclose(sent, odds, atol=1 / 255)


def test_more_about_the_same_pictures_leaves_them_the_same() -> None:
    layers = [Layer(name="clean", title="", caption="", pictures=frames(4, 2))]
    beside = Beside(pictures=frames(1, 2)[0] + 200, titles=("a", "b"), words=("far", "near"))
    plain, more = (pack_layers(layers, [""] * 4, columns=2, nearest=found) for found in (None, beside))
    first, second = unpack(plain)[0], unpack(more)[0]
    assert first["same"] == second["same"] and first["id"] != second["id"]
    assert (second["nearest"]["titles"], second["nearest"]["words"]) == (["a", "b"], ["far", "near"])
    sent = Image.open(io.BytesIO(more[-second["nearest"]["bytes"] :]))
    assert np.asarray(sent)[:8, :17].max() == 200 == np.asarray(sent)[3, 12]


def test_zero_is_the_middle_of_signed_levels_and_both_ends_reach_as_far() -> None:
    assert signed_levels(np.array([-2.0, 0.0, 2.0])).tolist() == [1, 128, 255]


def test_latent_channels_stand_in_a_square_and_keep_their_places() -> None:
    latents = np.arange(2 * 3 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 3, 2, 2)
    found = tiled(latents)
    assert found.shape == (2, 3, 4, 4, 1)
    np.testing.assert_array_equal(found[1, 2, :2, 2:, 0], latents[1, 2, 1])
    np.testing.assert_array_equal(found[1, 2, 2:, :2, 0], latents[1, 2, 2])
    assert (found[:, :, 2:, 2:] == 0).all()
