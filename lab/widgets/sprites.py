"""Many small pictures sent to the browser as one: cells of equal size in a sheet, behind a header in JSON."""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

MAX_SIDE = 8192  # what every browser decodes
MIME = "image/webp"


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A WebP picture of cells (height × width pixels each), `columns` side by side, row by row."""

    image: bytes
    columns: int
    width: int
    height: int


def sprite_sheet(cells: Sequence[np.ndarray], *, quality: int = 88) -> Sheet:
    """Cells (H, W, C) uint8 of equal shape → one sheet. Raises ValueError when it is larger than browsers decode."""
    height, width, channels = cells[0].shape
    across, down = cells_across_and_down(len(cells), width, height)
    sheet = np.zeros((down * height, across * width, channels), dtype=np.uint8)
    for index, cell in enumerate(cells):
        top, left = (index // across) * height, (index % across) * width
        sheet[top : top + height, left : left + width] = cell
    buffer = io.BytesIO()
    Image.fromarray(sheet.squeeze(-1) if channels == 1 else sheet).save(buffer, "WEBP", quality=quality, method=2)
    return Sheet(image=buffer.getvalue(), columns=across, width=width, height=height)


def cells_across_and_down(count: int, width: int, height: int) -> tuple[int, int]:
    """How `count` cells of that many pixels lie in a sheet that is nearly square. Raises ValueError when none holds
    them."""
    across = max(1, min(math.ceil(math.sqrt(count * height / width)), MAX_SIDE // width))
    if math.ceil(count / across) * height > MAX_SIDE:
        across = MAX_SIDE // width
    down = math.ceil(count / max(1, across))
    if across < 1 or down * height > MAX_SIDE:
        raise ValueError(f"{count} frames of {width} x {height} pixels are too many for one sheet")
    return across, down


def framed(header: dict[str, Any], *bodies: bytes) -> bytes:
    """u32 length of the header (little endian), the header as JSON, then the bodies."""
    text = json.dumps(header).encode()
    return b"".join([struct.pack("<I", len(text)), text, *bodies])
