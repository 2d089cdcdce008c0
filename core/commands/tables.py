"""Plain text for a terminal: tables; nothing a person typed reaches it unescaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns aligned with blanks, numbers to the right."""
    cells = [[plain(value) for value in row] for row in rows]
    widths = [max(len(row[index]) for row in [list(headings), *cells]) for index in range(len(headings))]
    is_number = [
        bool(rows) and all(isinstance(row[index], int | float) for row in rows) for index in range(len(headings))
    ]
    lines = []
    for row in [list(headings), *cells]:
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def plain(value: Any) -> str:
    """Text without control characters: a name cannot move the cursor or colour the terminal."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
    return "".join(character if character.isprintable() else "?" for character in text)
