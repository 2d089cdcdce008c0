"""One store of everything that is measured on a run and kept in its folder: written durably, read bounded.

Each kind is a frozen dataclass, kept as JSON with its format number. For showing, unknown keys are ignored, a missing
key means what held before there was one (the field's default), and what a newer version wrote is one sentence.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from core import atomic, reading
from core.errors import quoted
from core.reading import Unreadable
from core.version import VERSION

logger = logging.getLogger(__name__)
Record = TypeVar("Record")
MOST_FIGURE = 1e15  # of anything that is measured: its square and its sums are numbers too


class NewerResult(Unreadable):
    """A result that a newer version of the lab kept: it stays as it is, and nothing is kept in its place."""


@dataclass(frozen=True, kw_only=True)
class ResultKind(Generic[Record]):
    """What is kept: its name in words, the dataclass, and the number of its format."""

    title: str
    record: type[Record]
    format: int = 1

    def as_json(self, found: Record) -> dict[str, Any]:
        """What its file holds."""
        about = {"format_version": self.format, "format": self.format, "lab_version": VERSION}
        return {**asdict(found), **about}  # type: ignore[call-overload]

    def write(self, path: Path, found: Record) -> None:
        """Keep it durably, in a folder that may not exist yet. Raises OSError, ValueError for a figure that is none."""
        atomic.make_folder(path.parent)
        atomic.write_json(path, self.as_json(found))

    def keep(self, path: Path, found: Record) -> Path | None:
        """As `write`; where the folder cannot be written, the log says so, and None."""
        try:
            self.write(path, found)
            return path
        except OSError as error:
            logger.warning(
                "%s: the %s cannot be kept (%s)", path.parent.parent.name, self.title, error.strerror or error
            )
            return None

    def read(self, path: Path) -> Record:
        """What is kept there. Raises OSError where nothing is, Unreadable for a damaged file, NewerResult."""
        return self.parse(reading.read_bytes(path), path.name)

    def parse(self, data: bytes, name: str, *, for_acting: bool = False) -> Record:
        """As `read`, of the contents. for_acting: keys that are not known are refused as a newer format is."""
        values = reading.json_object(data, name, most=MOST_FIGURE)
        number = values.get("format", values.get("format_version", 1))  # the older spelling
        if isinstance(number, int) and (words := reading.newer(number, self.format)):
            raise NewerResult(f"{name}: {words}")
        if number != self.format:
            raise Unreadable(f"{name}: is of a format that is not known, {quoted(number, 20)}")
        known = {field.name for field in fields(self.record)} | {"format", "format_version", "lab_version"}  # type: ignore[arg-type]
        if for_acting and (unknown := sorted(values.keys() - known)):
            raise NewerResult(f"{name}: made by a newer version of the lab: {quoted(unknown[0], 40)} is not known here")
        return reading.record_from(data, self.record, name)

    def find(self, path: Path) -> Record | None:
        """What is kept there; None where nothing usable is. Raises NewerResult."""
        try:
            return self.read(path)
        except NewerResult:
            raise
        except (OSError, Unreadable):
            return None

    def read_all(self, paths: Iterable[Path]) -> tuple[list[Record], list[str]]:
        """What is kept in those files, and a sentence for each that cannot be shown."""
        found, problems = [], []
        for path in paths:
            try:
                found.append(self.read(path))
            except Unreadable as error:
                problems.append(f"{self.title} {error.message}")
            except OSError as error:
                problems.append(f"{self.title} {path.name}: cannot be read: {error.strerror or error}")
        return found, problems
