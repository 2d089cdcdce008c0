"""No cell and no header of a CSV is a formula; numbers are never touched; and there is no other writer."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from core.csv_text import csv_text
from core.home import code_root
from core.runs.store import RunStore
from lab.services.runs import as_csv
from tests.pages.run_folders import make_run

FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "-",
    "=HYPERLINK(1)",
    "+ 1",
]


def harmless(text: str) -> str:
    """As it stands in the file: every '=' after a separator is preceded by an apostrophe."""
    return re.sub(r"^(\s?)(?=.)", r"'\1", text.replace("\r", "\n")).replace("\t=", "\t'=").replace("\n=", "\n'=")


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text_in_cells_and_headers(text: str) -> None:
    header, row = read(csv_text([text, "other"], [[text, 1]]))
    assert header == [harmless(text), "other"]
    assert row == [harmless(text), "1"]


@pytest.mark.parametrize("text", ["a;=1", "a\t=1", "a\n=1", "a\r=1", "a\r\n=1", "a;;-1+1"])
def test_nor_does_a_formula_begin_inside_a_text(text: str) -> None:
    ((cell,),) = read(csv_text([text], []))
    assert re.search(r"[;\t\n][=-]", cell) is None
    assert cell.replace("'", "") == re.sub("\r\n?", "\n", text)


@pytest.mark.parametrize("value", ["a", "a=1", "", "-1.5", "+3e4", "-inf", -1.5, 2, True, 0.1, 1e-300])
def test_what_is_no_formula_stays(value: object) -> None:
    assert read(csv_text(["x", "y"], [[value, 1]])) == [["x", "y"], [str(value), "1"]]


def test_nothing_known_is_empty() -> None:
    assert csv_text(["x", "y"], [[None, float("nan")]]) == b"x,y\n,\n"


def test_half_a_character_breaks_nothing() -> None:
    assert csv_text(["\ud800"], [["\udfff"]]) == b"?\n?\n"


def test_a_metric_named_as_a_formula_is_text(tmp_path: Path) -> None:
    run = make_run(RunStore(tmp_path), logged=2)
    with run.metrics_path.open("a") as file:
        file.write('{"step": 99, "=HYPERLINK(1)": 1.0}\n')
    assert "'=HYPERLINK(1)" in read(as_csv(run))[0]


def test_there_is_one_writer() -> None:
    root = code_root()
    writers = {
        path.relative_to(root).as_posix()
        for part in ("core", "lab", "pages")
        for path in (root / part).rglob("*.py")
        if any(word in path.read_text() for word in ("to_csv(", "csv.writer", "csv.DictWriter"))
    }
    assert writers == {"core/csv_text.py"}
