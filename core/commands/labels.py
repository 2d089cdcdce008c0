"""The grammar of --labels: class names, '0-9', '3,5,7', or a mixture separated by commas."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from core.errors import UsageError, quoted

MAX_PART_LENGTH = 300
MOST_NAMED = 12
_RANGE = re.compile(r"^(\d+)\s*-\s*(\d+)$")


def parse_labels(text: str, class_names: Sequence[str]) -> tuple[int, ...]:
    """Label numbers in the order asked for, each once.

    What is the name of a class means that class, written exactly or in other capitals; any other number counts the
    classes from 0. Raises UsageError for what is no class, and for what may mean two.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    whole = _named(text.strip(), class_names)
    if whole and len(parts) > 1 and all(_named(part, class_names) for part in parts):
        raise UsageError(
            f"--labels: '{quoted(text.strip())}' is a class, and each part of it is one too",
            f"give numbers: {whole[0]}, or {','.join(str(_named(part, class_names)[0]) for part in parts)}",
        )
    labels: dict[int, None] = {}
    for part in [text.strip()] if whole else parts:
        for label in _labels_of(part, class_names):
            labels[label] = None
    if not labels:
        raise UsageError("--labels: names no class", "give numbers such as 0-9 or 3,5,7, or class names")
    return tuple(labels)


def in_words(labels: Sequence[int], class_names: Sequence[str]) -> str:
    """The classes as people read them: 'zero, one', with its number where the name is another one: '3 (class 5)'."""
    words = [
        f"{quoted(class_names[label])} (class {label})"
        if class_names[label].strip().isdecimal() and class_names[label].strip() != str(label)
        else quoted(class_names[label])
        for label in labels[:MOST_NAMED]
    ]
    more = len(labels) - len(words)
    return ", ".join(words) + (f" and {more:,} more" if more else "")


def _named(part: str, class_names: Sequence[str]) -> list[int]:
    """The classes of that name: those that are written so or, without any, in other capitals."""
    exact = [index for index, name in enumerate(class_names) if name.strip() == part]
    folded = part.casefold()
    return exact or [index for index, name in enumerate(class_names) if name.strip().casefold() == folded]


def _labels_of(part: str, class_names: Sequence[str]) -> Sequence[int]:
    count = len(class_names)
    if len(part) > MAX_PART_LENGTH:
        raise UsageError(f"--labels: '{part[:20]}…' is not a class")
    named = _named(part, class_names)
    if len(named) > 1:
        names = {class_names[index].strip() for index in named}
        exactly = f"one of {', '.join(sorted(names))}, exactly" if len(names) == len(named) else "a number"
        raise UsageError(
            f"--labels: '{part}' may mean the classes {' and '.join(map(str, named[:5]))}", f"give {exactly}"
        )
    if named:
        return named
    if part.isdecimal():
        if int(part) < count:
            return [int(part)]
        raise UsageError(f"--labels: {part} is outside the classes 0 to {count - 1}")
    if found := _RANGE.match(part):
        first, last = int(found.group(1)), int(found.group(2))
        if first > last or last >= count:
            raise UsageError(f"--labels: {part} is not a range inside the classes 0 to {count - 1}")
        for end in (found.group(1), found.group(2)):
            other = _named(end, class_names)
            if other and other != [int(end)]:
                raise UsageError(
                    f"--labels: {part} may count the classes, or mean their names: class {other[0]} is named '{end}'",
                    f"give the names: {','.join(quoted(class_names[label]) for label in range(first, last + 1)[:5])}…",
                )
        return range(first, last + 1)
    known = {name.strip().casefold(): name for name in class_names}
    close = difflib.get_close_matches(part.casefold(), known, n=1)
    hint = f"did you mean {known[close[0]]}?" if close else f"there are {', '.join(class_names[:MOST_NAMED])}"
    raise UsageError(f"--labels: '{part}' is not a class", hint)
