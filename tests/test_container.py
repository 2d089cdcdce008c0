"""The files that describe the container: nothing they name is missing. No engine builds them here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from core.__main__ import build_parser
from core.home import COMMAND, HOME_VARIABLE
from tests.core.test_installed import BUILT_WITH, HELD, SECRETS

ROOT = Path(__file__).resolve().parents[1]


def steps(word: str, text: str) -> list[str]:
    """What stands behind a word of a Dockerfile, one element per line of it."""
    return re.findall(rf"^{word} (.+)$", text, flags=re.MULTILINE)


def missing_sources(dockerfile: str) -> list[str]:
    """What it copies and the checkout does not have."""
    named = [name for line in steps("COPY", dockerfile) for name in line.split()[:-1]]
    return [name for name in named if not (ROOT / name).exists()]


def test_what_the_container_copies_is_there() -> None:
    assert missing_sources("COPY nowhere.txt core ./\n") == ["nowhere.txt"]
    assert missing_sources((ROOT / "Dockerfile").read_text()) == []


def test_what_the_package_is_built_from_reaches_the_container_and_no_secret() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert {line[1:] for line in lines if line.startswith("!")} == {*HELD, *BUILT_WITH}
    assert lines[0] == "*"
    assert SECRETS in lines


def test_the_container_starts_a_command_that_exists_on_a_volume() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    ((program, *words),) = map(json.loads, steps("CMD", dockerfile))
    assert program == COMMAND
    assert build_parser().parse_args(words).port == int(steps("EXPOSE", dockerfile)[0])
    home = dict(line.split("=") for line in steps("ENV", dockerfile))[HOME_VARIABLE]
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    (service,) = compose["services"].values()
    volumes = dict(volume.split(":") for volume in service["volumes"])
    assert volumes.keys() == compose["volumes"].keys()
    assert home in volumes.values()
    assert (ROOT / service["build"] / "Dockerfile").is_file()
