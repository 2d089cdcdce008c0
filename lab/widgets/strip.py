"""Small pictures in a table: a row a name, a column a heading; pixels stay pixels."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

import numpy as np

from lab.widgets.pictures import png
from lab.words import plain


def strip_html(rows: Sequence[tuple[str, Iterable[np.ndarray]]], heads: Sequence[str], title: str = "") -> str:
    """A table of pictures: a row a schedule (name, pictures (F, H, W, C) uint8), a column a time, a title above."""
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    body = ""
    for name, frames in rows:
        cells = "".join(
            f'<td><img alt="{html.escape(plain(name, 60))}" src="data:image/png;base64,'
            f'{base64.b64encode(png(frame)).decode()}"></td>'
            for frame in frames
        )
        body += f"<tr><th>{html.escape(plain(name, 60))}</th>{cells}</tr>"
    above = f"<caption>{html.escape(plain(title, 60))}</caption>" if title else ""
    return f'<table class="lab-strip">{above}<tr><th></th>{top}</tr>{body}</table>'
