"""What the default suite leaves out, and that CI leaves out nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LONG, ROOT, WHOLE, is_long

COLLECT = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]


def files_of(*arguments: str, **environment: str) -> set[str]:
    """Files with tests that `pytest` would run, relative to tests/; collecting imports no test but the named ones."""
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", WHOLE)}
    done = subprocess.run(
        [*COLLECT, *arguments],
        cwd=ROOT.parent,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return {line.split("::")[0].removeprefix("tests/") for line in done.stdout.splitlines() if "::" in line}


@pytest.fixture
def few(tmp_path: Path) -> str:
    """A configuration whose test paths are two light files, one of them long."""
    path = tmp_path / "pytest.ini"
    path.write_text(f"[pytest]\ntestpaths = {ROOT}/browser/test_data.py {ROOT}/test_architecture.py\n")
    return str(path)


def test_files_that_are_named_as_long_exist() -> None:
    assert [name for name in LONG if not (ROOT / name).is_file()] == []
    assert is_long("browser/test_data.py") and not is_long("core/test_device.py")


@pytest.mark.parametrize(
    ("arguments", "environment", "whole"),
    [([], {}, False), (["--whole"], {}, True), ([], {"CI": "true"}, True), (["tests/browser/test_data.py"], {}, True)],
)
def test_long_files_run_in_ci_and_when_they_are_asked_for(
    few: str, arguments: list[str], environment: dict[str, str], whole: bool
) -> None:
    found = files_of("-c", few, "--rootdir", str(ROOT.parent), *arguments, **environment)
    assert ("browser/test_data.py" in found) == whole
