"""What the documents name exists: paths, commands, make targets, presets, settings; each check with a planted fault."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import GROUPS, build_parser
from core.commands.command_help import PROGRAM, names_shown
from core.config.load import BY_NAME_ONLY, Configuration, load_config, parse_override, preset_names
from core.config.schema import field_rows
from core.errors import ConfigError
from core.jobs.sweeps import parse_values
from core.runs.run import RunState
from lab.frame.state import PAGES as APP_PAGES
from tests.json_reference import json_reference

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
MANUAL = [
    *(page for page in sorted(ROOT.glob("*.md")) if page.name != "CHANGELOG.md"),
    *(page for page in sorted(DOCS.glob("*.md")) if page.name != "log.md"),
]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
REFUSED = "python -m core train vae --set train_unet.learning_rte=1"
EXIT_CODES = (0, 1, 2, 28, 130)
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
    "lab/.streamlit/secrets.toml",
    ".streamlit/",
)
SETTINGS = {name for name, _ in field_rows(Configuration)}
SECTIONS = {name.partition(".")[0] for name in SETTINGS} | set(Configuration.model_fields)
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
    """Targets of Markdown links that lie in the repository, with their anchors."""
    return [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]


def anchors(text: str) -> set[str]:
    """What a link can name behind '#': every heading, as GitHub spells it."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def looks_like_a_path(span: str) -> bool:
    """A file or folder of the repository: has a slash, or is a file name with a suffix of ours."""
    if re.search(r"[\s*<>{}$=…]", span) or span.startswith(("-", "http", "/", "..")):
        return False
    if span.startswith(MADE_LATER):
        return False
    return "/" in span or span.endswith(FILE_SUFFIXES)


def missing_paths(text: str, folder: Path = ROOT) -> list[str]:
    """Paths in backticks and links that do not exist. Backticks count from the root, links from `folder`."""
    named = code_spans(re.sub(r"^New file `[^`]+`", "", text, flags=re.MULTILINE))
    spans = [span for span in named if looks_like_a_path(span) and not (ROOT / span).exists()]
    missing = []
    for link in links(text):
        name, _, anchor = link.partition("#")
        target = folder / name
        if (name and not target.exists()) or (anchor and anchor not in anchors(target.read_text() if name else text)):
            missing.append(link)
    return spans + missing


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
    items = getattr(arguments, "overrides", [])
    overrides = [parse_override(item) for item in items] if words[0] != "sweep" else first_values(items)
    try:
        load_config(preset=getattr(arguments, "preset", None), overrides=dict(overrides))
    except ConfigError as error:
        return str(error)
    return ""


def first_values(items: list[str]) -> list[tuple[str, Any]]:
    """Each setting of a sweep with the first of its values."""
    return [(name, values[0]) for name, values in map(parse_values, items)]


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


def words_to_avoid(text: str) -> list[str]:
    """Words outside of code that have a better form: 'data set', British spelling, 'is told'."""
    prose = re.sub(
        r"<!-- (?:settings|commands|json) -->.*?<!-- end|^```.*?^```|`[^`]*`|\*[^*\n]+\*",
        "",
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
    return re.findall(r"\b(?:data sets?|gr[e]y|licences?|colours?|is told|for good|everybody here)\b", prose)


def settings_table() -> str:
    """Every setting by section with its default, what is allowed and its description, as Markdown."""
    schema = Configuration.model_json_schema()
    lines: list[str] = []
    section = None
    for name, info in field_rows(Configuration):
        if name.partition(".")[0] != section:
            section = name.partition(".")[0]
            lines += ["", f"**{section}**", "", "| setting | default | allowed | meaning |", "|---|---|---|---|"]
        parent, _, key = name.rpartition(".")
        owner = schema
        for part in parent.split(".") if parent else ():
            owner = schema["$defs"][owner["properties"][part]["$ref"].rpartition("/")[2]]
        default = yaml_text(info.default)
        cells = [f"`{name}`", default, allowed(owner["properties"][key]), info.description.replace("|", "\\|")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines[1:]) + "\n"


def yaml_text(value: object) -> str:
    """A default as one writes it in config.yaml."""
    if value is None or value == "":
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else f"{value}"


def allowed(field: dict[str, Any]) -> str:
    """The choices or the bounds of one field of a JSON schema, or ''."""
    field = {**next((each for each in field.get("anyOf", []) if each.get("type") != "null"), {}), **field}
    inside = field.get("items", {})
    if choices := field.get("enum") or inside.get("enum"):
        return ", ".join(map(str, choices))
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    bounds = [
        f"from {low:g}" if low is not None else "",
        f"above {above:g}" if above is not None else "",
        f"to {high:g}" if high is not None else "",
        f"below {below:g}" if below is not None and below < 2**31 else "",
        f"multiple of {field['multipleOf']}" if "multipleOf" in field else "",
    ]
    return " ".join(filter(None, bounds))


def commands_reference() -> str:
    """Every command with its sentence, examples and options, as Markdown; what all commands share stands once."""
    parsers = subparsers()
    shared = {"help", "config", "overrides", "preset"}
    lines: list[str] = []
    for group, names in GROUPS.items():
        lines += [f"### {group}", ""]
        for parser in (parsers[name.replace("_", "-")] for name in names):
            examples = "\n".join(f"{PROGRAM} {example}" for example in parser.get_default("examples"))
            lines += [f"#### {parser.prog.split()[-1]}", "", str(parser.description), "", f"```\n{examples}\n```", ""]
            cells = [option_cells(action) for action in parser._actions if action.dest not in shared]
            if cells:
                lines += ["| argument | default | meaning |", "|---|---|---|", *map(" | ".join, cells), ""]
    common = [each for each in parsers["train"]._actions if each.dest in shared - {"help"}]
    table = ["| argument | default | meaning |", "|---|---|---|", *(" | ".join(option_cells(each)) for each in common)]
    return "\n".join([*lines, "### Options of every command", "", *table, ""])


def option_cells(action: argparse.Action) -> tuple[str, str, str]:
    """Name, default and meaning of one argument; '|' inside them is escaped."""
    words = (action.help or "").replace("|", "\\|")
    found = re.search(r" \(default: ([^)]*)\)", words)
    name = ", ".join(names_shown(action)) or str(action.metavar or action.dest).replace("|", "\\|")
    value = "" if not action.option_strings or action.nargs == 0 else value_name(action)
    if action.required and action.option_strings:
        default = "required"
    else:
        is_given = action.nargs != 0 and action.default not in (None, "", [])
        default = found.group(1) if found else f"`{action.default}`" if is_given else ""
    return f"| `{name}{value}`", default, (words.replace(found.group(0), "") if found else words) + " |"


def value_name(action: argparse.Action) -> str:
    """' N', ' LOW HIGH' or ' ema or raw': what stands behind an option."""
    if action.choices is not None:
        return " " + " or ".join(map(str, action.choices))
    names = action.metavar if isinstance(action.metavar, tuple) else (action.metavar or action.dest.upper(),)
    return " " + " ".join(names)


def subparsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    return next(dict(each.choices) for each in build_parser()._actions if isinstance(each.choices, dict))


def with_reference(text: str, mark: str, made: str) -> str:
    """A page with what stands between `<!-- mark -->` and the next `<!-- end` made anew."""
    before, _, rest = text.partition(f"<!-- {mark} -->\n")
    return f"{before}<!-- {mark} -->\n{made}<!-- end" + rest.partition("<!-- end")[2]


GENERATED = {"settings": settings_table, "commands": commands_reference, "json": json_reference}


def rows(text: str, column: str) -> list[str]:
    """First cells of the tables whose first column has this title, without backticks."""
    tables = re.findall(rf"^\| {column} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    return [line.split("|")[1].strip().strip("`") for table in tables for line in table.splitlines()]


def faults(check: Callable[[str], list[str]], pages: list[Path] = PAGES) -> dict[str, list[str]]:
    """What a check finds, by page."""
    found = {str(page.relative_to(ROOT)): check(page.read_text()) for page in pages}
    return {page: each for page, each in found.items() if each}


def test_every_path_and_link_leads_somewhere() -> None:
    found = {str(page.relative_to(ROOT)): missing_paths(page.read_text(), page.parent) for page in PAGES}
    assert {page: missing for page, missing in found.items() if missing} == {}


def test_every_setting_that_is_named_exists() -> None:
    assert faults(unknown_settings) == {}


def test_no_page_names_a_path_of_somebodys_machine() -> None:
    assert faults(machine_paths) == {}


def test_every_make_target_exists() -> None:
    assert faults(lambda text: sorted(set(make_targets(text)) - targets_of_makefile())) == {}


def test_every_preset_that_is_named_exists() -> None:
    assert faults(lambda text: sorted(set(presets_named(text)) - {"NAME"} - {*preset_names(), *BY_NAME_ONLY})) == {}


def test_the_manual_is_written_in_one_language() -> None:
    assert faults(words_to_avoid, MANUAL) == {}


def test_the_command_line_accepts_every_command_of_the_manual() -> None:
    assert faults(lambda text: [each for each in commands(text) if each != REFUSED and refusal(each)], MANUAL) == {}


def test_the_refused_example_is_refused_with_the_words_of_the_manual() -> None:
    assert f"$ {REFUSED}\nerror: {refusal(REFUSED)}" in (DOCS / "settings.md").read_text()


def test_the_manual_shows_every_command_target_and_preset() -> None:
    assert {command.split()[3] for command in commands((DOCS / "commands.md").read_text())} >= set(subparsers())
    assert "lab" in make_targets(README.read_text())
    assert set(make_targets((DOCS / "development.md").read_text())) >= {"check", "test", "test-all", "bench", "demo"}
    assert set(presets_named((DOCS / "settings.md").read_text())) == set(preset_names())


def test_the_manual_explains_every_state_and_exit_code() -> None:
    text = (DOCS / "runs.md").read_text()
    assert sorted(rows(text, "state")) == sorted(RunState)
    assert sorted(rows(text, "code")) == sorted(map(str, EXIT_CODES))


def test_every_setting_has_a_description() -> None:
    assert all(info.description for _, info in field_rows(Configuration))


@pytest.mark.parametrize("mark", ["settings", "commands", pytest.param("json", marks=pytest.mark.slow)])
def test_the_reference_in_the_manual_is_what_the_code_says(mark: str) -> None:
    text = (DOCS / f"{mark}.md").read_text()
    assert text == with_reference(text, mark, GENERATED[mark]()), "run: python -m tests.test_documentation"


def test_the_front_page_stays_short_and_names_every_page_of_the_app_and_the_manual() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 130
    assert sorted(re.findall(r"^\| \*\*(\w+)\*\* \|", text, flags=re.MULTILINE)) == sorted(
        title for title, _ in APP_PAGES.values()
    )
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} <= {link.partition("#")[0] for link in links(text)}


@pytest.mark.parametrize(
    ("check", "planted", "found"),
    [
        (missing_paths, "see `core/data/katalog.py`", ["core/data/katalog.py"]),
        (missing_paths, "see [architecture](docs/house.md)", ["docs/house.md"]),
        (missing_paths, "see [runs](docs/runs.md#trains)", ["docs/runs.md#trains"]),
        (missing_paths, "needs `requirements-prod.txt`", ["requirements-prod.txt"]),
        (unknown_settings, "set `train_unet.learning_rte`", ["train_unet.learning_rte"]),
        (machine_paths, "look into /home/ana/lab", ["/home/ana/lab"]),
        (presets_named, "run with --preset fast", ["fast"]),
        (make_targets, "then `make coffee`", ["coffee"]),
        (words_to_avoid, "a data set of grey pictures, `data set` in code", ["data set", "grey"]),
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


if __name__ == "__main__":
    for mark, make in GENERATED.items():
        page = DOCS / f"{mark}.md"
        page.write_text(with_reference(page.read_text(), mark, make()))
