"""Tables beside images that say which class each is: CSV, TSV and JSON lines, such as Hugging Face's metadata files."""

from __future__ import annotations

import csv
import io
import posixpath
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from core import reading
from core.data.reader.layout import FOLDERS, NAMES, Labels
from core.data.reader.listing import Member
from core.data.reader.names import part_of, suffix_of
from core.data.reader.reading_of_set import AUTO, Answers, Question
from core.errors import UsageError, quoted
from core.rules import NEWEST

IMAGE_COLUMNS = (
    *("file_name", "filename", "image", "image_name", "image_path", "path", "filepath", "file_path", "file", "img"),
    *("img_name", "img_path", "image_file", "image_id", "imagename", "photo", "id", "name"),
)
LABEL_COLUMNS = (
    *("label", "class", "class_name", "label_name", "category", "labels", "target", "species", "classname"),
    *("class_label", "breed", "diagnosis", "emotion", "variety", "y"),
)
PART_COLUMNS = ("split", "subset", "set", "partition", "usage")
ONE_HOT = "one per class"  # instead of a column
MOST_TABLES, MOST_BYTES = 50, 100_000_000  # all of them together
Row = Mapping[str, Any]


def labels_in(
    tables: Sequence[Member], images: Sequence[str], answers: Answers, rule: int = NEWEST.folders
) -> Labels | None:
    """What the tables say about these images; None where no table names them, or somebody chose another source.

    rule: the version of `folders` in core.rules.
    Raises UsageError for a table or a column that was named and is not there.
    """
    said = answers.labels_from
    if said in (FOLDERS, NAMES):
        return None
    file, _, column = ("", "", "") if said == AUTO else said.partition(":")
    chosen = [each for each in tables if not file or file in (each.path, PurePosixPath(each.path).name)]
    places = _Places(images, any_case=rule > 2)
    found = [_Table(each, places, column, rule) for each in sorted(chosen, key=lambda each: each.path)[:MOST_TABLES]]
    if column and found and not any(each.label for each in found):
        raise UsageError(
            f"--labels-from: {quoted(file)} has no column '{quoted(column)}'",
            f"it has: {', '.join(quoted(name, 40) for name in found[0].columns[:12]) or 'none'}",
        )
    used = [each for each in found if each.classes]
    if not used:
        return None
    classes = {path: name for each in used for path, name in each.classes.items()}
    if said == AUTO and 2 * len(set(classes.values())) > len(classes) + 2:
        return None  # captions or numbers of their own, no classes
    names = dict.fromkeys(PurePosixPath(each.member.path).name for each in used)
    return Labels(
        source=f"the column '{quoted(used[0].label, 40)}' of {' and '.join(quoted(name, 40) for name in names)}",
        option=next(iter(names)),
        classes=classes,
        parts={path: part for each in used for path, part in each.parts.items()},
        tables=tuple(each.member.path for each in used),
        questions=() if column else tuple(question for each in used[:1] if (question := each.question())),
    )


class _Places:
    """Finds the image that a cell of a table means."""

    def __init__(self, images: Sequence[str], *, any_case: bool) -> None:
        self.all, self.any_case = set(images), any_case
        self.by_folded: dict[str, list[str]] = defaultdict(list)
        self.by_name: dict[str, list[str]] = defaultdict(list)
        for path in images:
            name = path.rpartition("/")[2]
            self.by_name[name].append(path)
            self.by_folded[name.casefold()].append(path)
            self.by_name[name[: len(name) - len(suffix_of(name))]].append(path)

    def find(self, text: str, directory: str, part: str) -> str | None:
        """From the table's directory, else from the top, else by a name that only one image has (of that part)."""
        text = posixpath.normpath(text.strip().replace("\\", "/"))
        for path in (posixpath.join(directory, text) if directory else text, text):
            if path in self.all:
                return path
        name = text.rpartition("/")[2]
        found = self.by_name.get(name, []) or (self.by_folded.get(name.casefold(), []) if self.any_case else [])
        if len(found) > 1:
            below = f"{directory}/" if directory else ""
            near = [path for path in found if path.startswith(below)]
            found = [path for path in near if not part or part in {part_of(name)[0] for name in path.split("/")[:-1]}]
        return found[0] if len(found) == 1 else None


class _Table:
    """One table: its columns, and what it says about images that are there. No `classes` = it says nothing."""

    def __init__(self, member: Member, places: _Places, column: str, rule: int) -> None:
        self.member = member
        self.columns: list[str] = []
        self.label, self.labels = "", [""]
        self.classes: dict[str, str] = {}
        self.parts: dict[str, str] = {}
        try:
            rows = list(_rows(member))
        except Exception:  # a file that is no table raises whatever its parser meets; it is left out, and said
            return
        self.columns = [str(name) for name in (rows[0] if rows else {})]
        known = {name.strip().lower().replace(" ", "_"): name for name in self.columns}
        image = next((known[name] for name in IMAGE_COLUMNS if name in known), None)
        self.labels = (
            [column] if column in self.columns else [known[n] for n in LABEL_COLUMNS if n in known and not column]
        )
        part_column = next((known[name] for name in PART_COLUMNS if name in known), None)
        if rule > 2 and image is not None and not self.labels and not column:
            rows, self.labels = _one_hot(rows, leave_out={image, part_column})
        if image is None or not self.labels:
            return
        directory, file = posixpath.split(member.path)
        own_part = part_of(PurePosixPath(file).stem)[0]
        self.label = self.labels[0]
        self.rows: dict[str, Row] = {}
        for row in rows:
            label, place = _text(row.get(self.label)), _text(row.get(image))
            part = part_of(_text(row.get(part_column)))[0] if part_column else own_part
            path = places.find(place, directory, part) if place and label else None
            if path is None:
                continue
            self.classes[path], self.rows[path] = label, row
            if part:
                self.parts[path] = part
        if 2 * len(self.classes) < len(rows):  # it is about other files
            self.classes, self.parts = {}, {}

    def question(self) -> Question | None:
        """Whether another column could be the class too, and sorts the images otherwise."""
        for other in self.labels[1:]:
            pairs = {(label, _text(self.rows[path].get(other))) for path, label in self.classes.items()}
            others = {name for _, name in pairs}
            if len(others) > 1 and len(pairs) > len({label for label, _ in pairs}) and 2 * len(others) < len(self.rows):
                name = quoted(PurePosixPath(self.member.path).name, 40)
                return Question(
                    seen=f"{name} has the columns '{quoted(self.label, 40)}' and '{quoted(other, 40)}', which sort the "
                    "images into different classes",
                    taken=f"the {len({label for label, _ in pairs})} classes of '{quoted(self.label, 40)}'",
                    option="labels_from",
                    value=f"{name}:{quoted(self.label, 40)}",
                )
        return None


def _one_hot(rows: list[Row], *, leave_out: Collection[str | None]) -> tuple[list[Row], list[str]]:
    """(the rows with the name of their class in a column more, that column), where a column stands for each class: all
    cells 0 but one of each row. (the rows, []) otherwise."""
    names = [name for name in (rows[0] if rows else {}) if name not in leave_out]
    labelled: list[Row] = []
    for row in rows:
        cells = {name: str(row.get(name)).strip().removesuffix(".0") for name in names}
        ones = [name for name, cell in cells.items() if cell == "1"]
        if len(ones) != 1 or not set(cells.values()) <= {"0", "1"}:
            return rows, []
        labelled.append({**row, ONE_HOT: ones[0]})
    return labelled, [ONE_HOT] if len(names) > 1 and labelled else []


def _rows(member: Member) -> Iterator[Row]:
    data = member.read()
    if len(data) > MOST_BYTES:
        return
    text = data.decode("utf-8-sig", errors="replace")
    if suffix_of(member.path) == ".jsonl":
        for line in text.splitlines():
            if line.strip():
                yield reading.json_object(line, "a line of it")
        return
    first = text.partition("\n")[0]
    delimiter = Counter({mark: first.count(mark) for mark in ",\t;"}).most_common(1)[0][0]
    yield from csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)


def _text(value: object) -> str:
    """A cell as a name; '' for what is none. A number without a fraction is written without one."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip() if isinstance(value, str | int | float | bool) else ""
