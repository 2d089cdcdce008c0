"""What the documents name exists: paths, commands, make targets, presets, settings; each check with a planted fault."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from core.__main__ import build_parser
from core.config.load import load_config, parse_override, preset_names
from core.config.schema import Settings, field_rows
from core.errors import ConfigError
from core.runs.run import RunState

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
# made by a run, by the user or by a set-up; not in the repository
MADE_LATER = (
    "runs/",
    "data/",
    "cache/",
    "imports/",
    "gallery/",
    "samples/",
    ".venv/",
    "vae/",
    "pictures/",
    "MNIST/",
    "benchmarks/results/",
)
SETTINGS = {name for name, _ in field_rows()}
SECTIONS = {name.partition(".")[0] for name in SETTINGS} | set(Settings.model_fields)
FILE_SUFFIXES = (".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".cfg")
RUN_SUFFIXES = (".json", ".jsonl", ".npz", ".png", ".safetensors")


def code_spans(text: str) -> list[str]:
    """What stands in single backticks, outside of code blocks."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", outside)]


def code_lines(text: str) -> list[str]:
    """Lines of code blocks, without the shell's prompt."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]


def links(text: str) -> list[str]:
    """Targets of Markdown links that lie in the repository."""
    return [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]


def looks_like_a_path(span: str) -> bool:
    """A file or folder of the repository: has a slash, or is a file name with a suffix of ours."""
    if re.search(r"[\s*<>{}$=…]", span) or span.startswith(("-", "http", "/", "..")):
        return False
    if span.startswith(MADE_LATER):
        return False
    return "/" in span or span.endswith(FILE_SUFFIXES)


def missing_paths(text: str, folder: Path = ROOT) -> list[str]:
    """Paths in backticks and links that do not exist. Backticks count from the root, links from `folder`."""
    spans = [span for span in code_spans(text) if looks_like_a_path(span) and not (ROOT / span).exists()]
    return spans + [link for link in links(text) if not (folder / link).exists()]


def unknown_settings(text: str) -> list[str]:
    """`section.key` in backticks that the schema does not have."""
    dotted = [
        span
        for span in code_spans(text)
        if re.fullmatch(r"[a-z_]+\.[a-z_0-9]+", span) and not span.endswith(RUN_SUFFIXES)
    ]
    return [span for span in dotted if span.split(".")[0] in SECTIONS and span not in SETTINGS]


def commands(text: str) -> list[str]:
    """Every `python -m core …`, in backticks or in a code block."""
    return [piece for piece in [*code_spans(text), *code_lines(text)] if piece.startswith("python -m core ")]


def refusal(command: str) -> str:
    """Why the command line would not accept this command, or ''. Nothing is run."""
    words = shlex.split(command)[3:]
    complaint = io.StringIO()
    with contextlib.redirect_stderr(complaint):
        try:
            arguments = build_parser().parse_args(words)
        except SystemExit as error:
            return complaint.getvalue().strip() if error.code else ""
    overrides = [parse_override(item) for item in getattr(arguments, "overrides", [])]
    try:
        load_config(preset=getattr(arguments, "preset", None), overrides=dict(overrides), environment={})
    except ConfigError as error:
        return str(error)
    return ""


def make_targets(text: str) -> list[str]:
    """X of every `make X`, in backticks or in a code block."""
    found = [re.fullmatch(r"make ([a-z-]+)", piece) for piece in [*code_spans(text), *code_lines(text)]]
    return [match.group(1) for match in found if match]


def targets_of_makefile() -> set[str]:
    """Targets a person can ask for."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def presets_named(text: str) -> list[str]:
    """After --preset, and in the first column of the table of presets."""
    table = re.search(r"^\| preset \|.*?\n\n", text, flags=re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(\w+)`", table.group(0), flags=re.MULTILINE) if table else []
    return [*rows, *re.findall(r"--preset ([a-z]\w*)", text)]


def machine_paths(text: str) -> list[str]:
    """Absolute paths of somebody's machine."""
    return re.findall(r"(?<![\w.:/])/(?:home|work|tmp|root|Users)/[^\s`)]*", text)


REFUSED_ON_PURPOSE = {"python -m core train vae --set train_unet.learning_rte=1"}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_every_path_that_is_named_exists(page: Path) -> None:
    assert missing_paths(page.read_text(), page.parent) == []


@each_page
def test_every_setting_that_is_named_exists(page: Path) -> None:
    assert unknown_settings(page.read_text()) == []


@each_page
def test_no_page_names_a_path_of_somebodys_machine(page: Path) -> None:
    assert machine_paths(page.read_text()) == []


@each_page
def test_every_make_target_exists(page: Path) -> None:
    assert set(make_targets(page.read_text())) <= targets_of_makefile()


@each_page
def test_every_preset_that_is_named_exists(page: Path) -> None:
    assert set(presets_named(page.read_text())) - {"NAME"} <= set(preset_names())


@pytest.mark.parametrize("command", sorted(set(commands(README.read_text())) - REFUSED_ON_PURPOSE))
def test_the_command_line_accepts_every_command_of_the_readme(command: str) -> None:
    assert refusal(command) == ""


@pytest.mark.parametrize("command", sorted(REFUSED_ON_PURPOSE))
def test_the_refused_example_is_refused_with_the_words_of_the_readme(command: str) -> None:
    assert f"$ {command}\nerror: {refusal(command)}" in README.read_text()


def test_the_readme_shows_every_command_target_and_preset() -> None:
    text = README.read_text()
    subparsers = next(action for action in build_parser()._actions if action.dest == "command")
    assert subparsers.choices is not None
    assert {command.split()[3] for command in commands(text)} >= set(subparsers.choices)
    assert {"lab", "test", "check"} <= set(make_targets(text))
    assert set(presets_named(text)) >= set(preset_names())


@pytest.mark.parametrize("state", list(RunState))
def test_the_readme_explains_every_state(state: RunState) -> None:
    assert f"\n| {state} | " in README.read_text()


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_setting_is_described(name: str) -> None:
    assert dict(field_rows())[name].description


@pytest.mark.parametrize(
    ("check", "planted", "found"),
    [
        (missing_paths, "see `core/data/katalog.py`", ["core/data/katalog.py"]),
        (missing_paths, "see [architecture](docs/house.md)", ["docs/house.md"]),
        (missing_paths, "needs `requirements-prod.txt`", ["requirements-prod.txt"]),
        (unknown_settings, "set `train_unet.learning_rte`", ["train_unet.learning_rte"]),
        (machine_paths, "look into /home/ana/lab", ["/home/ana/lab"]),
        (presets_named, "run with --preset fast", ["fast"]),
        (make_targets, "then `make coffee`", ["coffee"]),
    ],
)
def test_a_planted_fault_is_caught(check: Callable[[str], list[str]], planted: str, found: list[str]) -> None:
    assert check(planted) == found
    assert not set(found) & (targets_of_makefile() | set(preset_names()))


@pytest.mark.parametrize(
    "command",
    [
        "python -m core trian all",
        "python -m core train all --presset quick",
        "python -m core train all --set train_unet.stpes=5",
        "python -m core train all --preset fast",
        "python -m core show",
    ],
)
def test_a_planted_wrong_command_is_caught(command: str) -> None:
    assert commands(f"```\n$ {command}\n```\n") == [command]
    assert refusal(command) != ""
