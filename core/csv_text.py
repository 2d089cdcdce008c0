"""The one writer of CSV. Its texts come from files and people, and a spreadsheet runs what begins as a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = re.compile(r"(^|[;\t\n])(?=[=+\-@\t\n＝＋－＠])")  # where a cell may begin, and what begins a formula there


def csv_text(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A header and rows as UTF-8. Numbers stay as they are; None and NaN are empty. In texts and names, an apostrophe
    stands before whatever a spreadsheet would run as a formula, also one that takes semicolons for separators."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_cell(name) for name in names])
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode(errors="replace")


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return "" if value != value else value  # NaN is nothing else's equal
    text = value.replace("\r\n", "\n").replace("\r", "\n")  # the writer quotes no lone \r, which begins a line
    return text if _is_number(text) else _FORMULA.sub(r"\1'", text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
