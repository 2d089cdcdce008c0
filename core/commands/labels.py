"""The grammar of --labels: '0-9', '3,5,7', class names, or a mixture separated by commas."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from core.errors import UsageError

MAX_PART_LENGTH = 300
_RANGE = re.compile(r"^(\d+)\s*-\s*(\d+)$")


def parse_labels(text: str, class_names: Sequence[str]) -> tuple[int, ...]:
    """Label numbers in the order asked for, each once. A number counts classes from 0; anything else is a name.

    Raises UsageError for what is no class.
    """
    by_name = {name.strip().casefold(): index for index, name in enumerate(class_names)}
    labels: dict[int, None] = {}
    whole = text.strip().casefold()
    parts = [whole] if whole in by_name else [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        for label in _labels_of(part, by_name, class_names):
            labels[label] = None
    if not labels:
        raise UsageError("--labels: names no class", "give numbers such as 0-9 or 3,5,7, or class names")
    return tuple(labels)


def _labels_of(part: str, by_name: dict[str, int], class_names: Sequence[str]) -> Sequence[int]:
    count = len(class_names)
    found = _RANGE.match(part)
    if len(part) > MAX_PART_LENGTH:
        raise UsageError(f"--labels: '{part[:20]}…' is not a class")
    if part.isdecimal() and int(part) < count:
        return [int(part)]
    if part.casefold() in by_name:
        return [by_name[part.casefold()]]
    if part.isdecimal():
        raise UsageError(f"--labels: {part} is outside the classes 0 to {count - 1}")
    if found:
        first, last = int(found.group(1)), int(found.group(2))
        if first > last or last >= count:
            raise UsageError(f"--labels: {part} is not a range inside the classes 0 to {count - 1}")
        return range(first, last + 1)
    close = difflib.get_close_matches(part.casefold(), by_name, n=1)
    hint = f"did you mean {class_names[by_name[close[0]]]}?" if close else f"there are {', '.join(class_names[:12])}"
    raise UsageError(f"--labels: '{part}' is not a class", hint)
