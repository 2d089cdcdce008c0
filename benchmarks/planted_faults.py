"""Does the suite catch faults? Each of `planted_faults.json` is planted in a copy of a checkout, and its tests run.

`python -m benchmarks.planted_faults CHECKOUT [--only 0-9,12] [--slow] [--out FILE]`. The faults were drawn from the
product as it was at 57d6eac (one changed operator each, spread over all rooms, before the suite was rewritten). A fault
is found again by its function and statement, wherever the function lives now; 'gone' where no such statement is left.
Prints a line per fault: caught, missed or gone, with the seconds that its tests took.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FAULTS = Path(__file__).with_suffix(".json")
PRODUCT = ("core", "lab", "pages")
MOST_SECONDS = 900


def main() -> None:
    """Plant one fault after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--only", default="", help="numbers of faults: 0-9,12")
    parser.add_argument("--slow", action="store_true", help="slow tests too, as CI runs them")
    parser.add_argument("--out", type=Path, help="a JSON file that gets what was found, fault by fault")
    arguments = parser.parse_args()
    faults = json.loads(FAULTS.read_text())
    found: dict[str, Any] = {}
    if arguments.out and arguments.out.exists():
        found = json.loads(arguments.out.read_text())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        ignored = shutil.ignore_patterns(".git", "runs", "cache", ".mypy_cache", ".pytest_cache", "__pycache__")
        shutil.copytree(
            arguments.checkout, copy, symlinks=True, ignore=lambda at, names: ignored(at, names) - _kept(at)
        )
        for number in _numbers(arguments.only, len(faults)):
            if str(number) not in found:
                found[str(number)] = tried(copy, faults[number], [] if not arguments.slow else ["-m", "not browser"])
            print(number, faults[number]["function"], found[str(number)], flush=True)
            if arguments.out:
                arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def _kept(at: str) -> set[str]:
    """Rooms of the product may be called like folders that a lab makes."""
    return {"runs", "cache"} if Path(at).name in ("core", "lab", "tests", "fixtures") or "fixtures" in at else set()


def tried(copy: Path, fault: dict[str, Any], choice: list[str]) -> dict[str, Any]:
    """What the tests of this fault say of it. choice: of pytest, which of them."""
    places = [place for path in _files(copy) for place in _places(path, fault)]
    if not places and "now" in fault:  # where the code that holds it was written anew
        fault = {**fault, **fault["now"]}
        places = [place for path in _files(copy) for place in _places(path, fault)]
    own = [place for place in places if place[0].stem == Path(fault["file"]).stem]
    if not places or len(own or places) > 1:
        return {"outcome": "gone" if not places else f"stands in {len(places)} places"}
    path, first, last, columns = (own or places)[0]
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    before, after = lines[first][: columns[0]], lines[last][columns[1] :]
    path.write_text("".join([*lines[:first], before + fault["after"] + after, *lines[last + 1 :]]))
    tests = sorted({str(found.relative_to(copy)) for name in fault["tests"] for found in copy.glob(name)})
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *choice, *tests],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
        outcome = "missed" if done.returncode == 0 else "caught"
        by = next((line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
    except subprocess.TimeoutExpired:
        outcome, by = "caught", "no end"
    finally:
        path.write_text(whole)
    at = str(path.relative_to(copy))
    return {"outcome": outcome, "at": at, "by": by[:160], "seconds": round(time.monotonic() - began, 1)}


def _files(copy: Path) -> list[Path]:
    return [path for folder in PRODUCT for path in sorted((copy / folder).rglob("*.py"))]


def _places(path: Path, fault: dict[str, Any]) -> list[tuple[Path, int, int, tuple[int, int]]]:
    """(file, first line, last line, columns) where the function of the fault has its statement or condition."""
    source = path.read_text()
    if fault["function"] not in source:
        return []
    found = []
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef) and function.name == fault["function"]:
            for node in ast.walk(function):
                if isinstance(node, ast.stmt | ast.expr) and ast.unparse(node) == fault["before"]:
                    assert node.end_lineno is not None and node.end_col_offset is not None
                    columns = (node.col_offset, node.end_col_offset)
                    found.append((path, node.lineno - 1, node.end_lineno - 1, columns))
    return found[:1]


def _numbers(text: str, count: int) -> list[int]:
    if not text:
        return list(range(count))
    parts = [part.partition("-") for part in text.split(",")]
    return [number for first, _, last in parts for number in range(int(first), int(last or first) + 1)]


if __name__ == "__main__":
    main()
