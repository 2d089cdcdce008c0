"""Results kept in a run: whole or not at all, and shown however much newer or older the lab is that kept them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.reading import Unreadable
from core.runs.results import NewerResult, ResultKind


@dataclass(frozen=True, kw_only=True)
class Part:
    share: float


@dataclass(frozen=True, kw_only=True)
class Result:
    count: int
    parts: tuple[Part, ...]
    added_later: str = "as it was before"


KIND = ResultKind(title="test", record=Result, format=3)
FOUND = Result(count=2, parts=(Part(share=0.5), Part(share=1.0)), added_later="new")


def changed(path: Path, **changes: object) -> Path:
    KIND.write(path, FOUND)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def test_a_result_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    assert KIND.keep(path, FOUND) == path
    assert KIND.read(path) == FOUND
    values = json.loads(path.read_text())
    assert values["format"] == values["format_version"] == 3 and values["lab_version"]


def test_an_unknown_key_is_ignored_for_showing_and_refused_for_acting(tmp_path: Path) -> None:
    path = changed(tmp_path / "a.json", planted=1)
    assert KIND.read(path) == FOUND
    with pytest.raises(NewerResult, match="planted is not known here"):
        KIND.parse(path.read_bytes(), path.name, for_acting=True)


def test_a_missing_key_means_what_held_before_there_was_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"count": 1, "parts": [], "format_version": 3}))
    assert KIND.read(path) == Result(count=1, parts=(), added_later="as it was before")


def test_a_newer_format_is_a_sentence_and_nothing_is_kept_in_its_place(tmp_path: Path) -> None:
    path = changed(tmp_path / "a.json", format=4)
    found, problems = KIND.read_all([path])
    assert (found, len(problems)) == ([], 1)
    assert "made by a newer version of the lab (format 4; this one knows 3)" in problems[0]
    with pytest.raises(NewerResult):
        KIND.find(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"count": "2"},
        {"count": True},
        {"parts": [{"share": float("nan")}]},
        {"parts": {}},
        {"format": "3"},
        {"count": None},
    ],
)
def test_what_is_damaged_is_a_sentence_and_none_where_one_is_looked_for(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    path = changed(tmp_path / "a.json", **changes)
    with pytest.raises(Unreadable, match=r"a\.json"):
        KIND.read(path)
    assert KIND.find(path) is None
    assert KIND.find(tmp_path / "missing.json") is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert KIND.keep(tmp_path / "file" / "a.json", FOUND) is None
