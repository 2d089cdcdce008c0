"""How tests are chosen, and what no test may do."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def recipe(*goals: str, **variables: str) -> str:
    """What make would run."""
    words = [f"{name}={value}" for name, value in variables.items()]
    done = subprocess.run(["make", "-n", *goals, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return next(line for line in done.stdout.splitlines() if "-m pytest" in line)


@pytest.mark.parametrize(
    ("goal", "ci", "everything"), [("test", "", False), ("test", "true", True), ("test-all", "", True)]
)
def test_continuous_integration_and_test_all_run_what_the_markers_leave_out(
    goal: str, ci: str, everything: bool
) -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]
    assert options[options.index("-m") + 1] == "not browser and not slow"
    assert ('-m ""' in recipe(goal, CI=ci)) == everything
