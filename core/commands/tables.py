"""Plain text for a terminal: tables, durations, ages; nothing a person typed reaches it unescaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
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


def duration(seconds: float | None) -> str:
    """'42 s', '3 min 20 s', '5 h 10 min', '3 days'."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days"


def age(iso: str) -> str:
    """'3 min 20 s ago'; the text itself when it is no time."""
    try:
        return f"{duration((datetime.now(UTC) - datetime.fromisoformat(iso)).total_seconds())} ago"
    except (ValueError, TypeError):
        return plain(iso)


def size(size_bytes: float) -> str:
    """'512 B', '1.4 MB', '20.1 GB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"
