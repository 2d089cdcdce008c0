"""The labeled grid: what the browser gets stays within what it decodes."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lab.widgets.image_grid import MOST_ZOOM, pack_grid
from lab.widgets.sprites import MAX_SIDE


def unpacked(payload: bytes) -> tuple[dict[str, Any], Image.Image]:
    (length,) = struct.unpack("<I", payload[:4])
    return json.loads(payload[4 : 4 + length]), Image.open(io.BytesIO(payload[4 + length :]))


@pytest.mark.parametrize("channels", [1, 3])
def test_cells_that_are_too_many_for_one_sheet_are_sent_smaller(channels: int) -> None:
    width, height = 1501, 1200
    cell = np.full((height, width, channels), 90, np.uint8)
    words = (["a"] * 10, ["b"] * 10, [""])
    header, first = unpacked(pack_grid({3: cell}, {}, words, size=(width, height)))
    shown_width, shown_height = header["cell"]
    assert first.size == (shown_width, shown_height)
    assert 100 * shown_width * shown_height <= MAX_SIDE**2 < 100 * width * height
    assert shown_width * header["zoom"] == pytest.approx(width * MOST_ZOOM, rel=0.01)
    assert np.asarray(first.convert("L")).mean() == pytest.approx(90, abs=2)


def test_cells_that_fit_are_sent_as_they_are() -> None:
    header, sheet = unpacked(
        pack_grid({0: np.zeros((32, 40, 1), np.uint8)}, {}, (["a", "b"], [""], [""]), size=(40, 32))
    )
    assert (header["cell"], header["zoom"], sheet.size) == ([40, 32], MOST_ZOOM, (40, 32))
