"""A start that cannot be says why, and what to do, before anything is imported that could fail."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.server import free_port
from core.startup import PACKAGES, start_problem

ROOT = Path(__file__).resolve().parents[2]


def test_here_it_starts() -> None:
    assert start_problem() == ""


def test_every_required_package_is_looked_for() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [re.split(r"[<>=]", line)[0] for line in lines if line and not line.startswith("#")] == list(PACKAGES)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"version": (3, 10)}, "this is 3.10"),
        ({"version": (3, 8)}, "make PYTHON=python3.11"),
        ({"encoding": "ascii", "environment": {"LANG": "C"}}, "(LANG=C). Run: export LC_ALL=C.UTF-8"),
        ({"encoding": "iso8859-1", "environment": {}}, "is not UTF-8. Run: export"),
        ({"modules": {"one": "no_such_module_1", "two": "no_such_module_2"}}, "the package one is missing, and 1 more"),
        ({"modules": {"one": "no_such_module.within"}}, "the package one is missing. "),
    ],
)
def test_what_hinders_it_is_said_with_the_command_that_helps(given: dict[str, Any], words: str) -> None:
    assert words in start_problem(**given)


@pytest.mark.parametrize("entry", [["-m", "core"], ["-c", "import latent_diffusion_lab as lab; lab.main()"]])
def test_without_packages_every_entry_ends_with_one_sentence(entry: list[str]) -> None:
    done = subprocess.run([sys.executable, "-S", *entry], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the package torch is missing, and 19 more are. ")
    assert done.stderr.count("\n") == 1


AS_3_10 = "import runpy, sys; sys.version_info = (3, 10, 12, 'final', 0); "
STREAMLIT = "sys.argv = ['streamlit', 'run', 'lab/Home.py', '--server.headless', 'true', '--server.port', '{port}']; "


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "runpy.run_module('core', run_name='__main__')",
        "import latent_diffusion_lab as lab; lab.main()",
        "import streamlit.web.cli as cli; " + AS_3_10 + STREAMLIT + "cli.main()",
    ],
    ids=["python -m core", "latent-lab", "streamlit run"],
)
def test_an_old_python_is_named_by_every_entry(code: str) -> None:
    """Streamlit's own packages come first there: what it does with an older Python is its own matter."""
    begins = "" if "streamlit" in code else AS_3_10
    program = begins + code.format(port=free_port())
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert f"error: Python 3.11 or newer is needed, and this is 3.10 ({sys.executable}). Run: make " in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("version", ["3.7", "3.8", "3.9", "3.10"])
def test_an_older_python_that_is_here_reads_what_asks_for_a_newer(version: str) -> None:
    found = shutil.which(f"python{version}") or ""
    if not found or subprocess.run([found, "--version"], capture_output=True).returncode:
        pytest.skip(f"no Python {version} here")
    done = subprocess.run([found, "-m", "core", "train", "all"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"and this is {version} (" in done.stderr


FIRST = ("core/__init__.py", "core/startup.py", "core/__main__.py", "latent_diffusion_lab/__init__.py", "lab/Home.py")


@pytest.mark.parametrize("path", FIRST)
def test_what_is_read_before_the_question_is_asked_is_no_newer_python(path: str) -> None:
    ast.parse((ROOT / path).read_text(), feature_version=(3, 7))


def test_a_locale_that_is_not_utf8_is_named_before_a_path_fails() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "core", "--version"],
        cwd=ROOT,
        env={**os.environ, **plain},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (
        1,
        "error: this shell's locale is not UTF-8 (LC_ALL=C). Run: export LC_ALL=C.UTF-8\n",
    )
