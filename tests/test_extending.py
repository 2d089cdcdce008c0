"""docs/extending.md is followed to the letter: each recipe, applied to a copy of the product, adds what works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MANUAL = ROOT / "docs" / "extending.md"
CHECKS = ROOT / "tests" / "extending_checks.py"
STEP = re.compile(
    r"^(?:New file `(?P<new>[^`]+)`|In `(?P<path>[^`]+)`, (?P<where>below|above|instead of) `(?P<anchor>[^`]+)`):\n\n"
    r"```python\n(?P<code>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)
MOST_FILES = 2


@dataclass(frozen=True, kw_only=True)
class Step:
    """Code that goes into a file: the whole of a new one, or beside the only line that is `anchor`."""

    path: str
    where: str
    anchor: str
    code: str


def recipes(text: str) -> dict[str, list[Step]]:
    """Heading → steps, of the manual's sections that have steps."""
    found = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        steps = [
            Step(
                path=match["new"] or match["path"],
                where=match["where"] or "",
                anchor=match["anchor"] or "",
                code=match["code"],
            )
            for match in STEP.finditer(section)
        ]
        if steps:
            found[section.partition("\n")[0]] = steps
    return found


def apply(step: Step, root: Path) -> None:
    """Do what one step says. Raises AssertionError where the file or the line is not what the manual says."""
    path = root / step.path
    if not step.where:
        assert not path.exists(), f"{step.path} exists already"
        path.write_text(step.code)
        return
    lines = path.read_text().splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if line.rstrip("\n") == step.anchor]
    assert len(places) == 1, f"{step.path} has {len(places)} lines '{step.anchor}'"
    start, end = {"below": (1, 1), "above": (0, 0), "instead of": (0, 1)}[step.where]
    lines[places[0] + start : places[0] + end] = [step.code]
    path.write_text("".join(lines))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the checks say of a copy of the product with everything added at once: heading → traceback or ''."""
    root = tmp_path_factory.mktemp("extended")
    for folder in ("core", "lab", "pages"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "config.yaml", root)
    for steps in recipes(MANUAL.read_text()).values():
        for step in steps:
            apply(step, root)
    program = Path(shutil.copy(CHECKS, root))
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(program)], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("heading", recipes(MANUAL.read_text()))
def test_what_a_recipe_adds_works(heading: str, results: dict[str, str]) -> None:
    assert not results[heading], results[heading]


def test_no_recipe_touches_more_files_than_it_may() -> None:
    counts = {heading: len({step.path for step in steps}) for heading, steps in recipes(MANUAL.read_text()).items()}
    assert {heading for heading, count in counts.items() if count > MOST_FILES} == set()


def test_a_planted_recipe_that_names_a_line_that_is_not_there_is_caught(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\ntwo\n")
    text = "## A thing\n\nIn `a.py`, below `{}`:\n\n```python\nnew\n```\n"
    [step] = recipes(text.format("one"))["A thing"]
    apply(step, tmp_path)
    assert (tmp_path / "a.py").read_text() == "one\nnew\ntwo\ntwo\n"
    for line in ("two", "three"):
        [step] = recipes(text.format(line))["A thing"]
        with pytest.raises(AssertionError, match=line):
            apply(step, tmp_path)
