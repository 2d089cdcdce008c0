"""The words of screens, command line and errors: no private dialect, US spelling, at most 25 words in a sentence.

Documents are checked by tests/test_documentation.py with the same list.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = [path for room in ("core", "lab", "pages") for path in sorted((ROOT / room).rglob("*.py"))]
SCRIPTS = sorted((ROOT / "lab").rglob("*.js"))
SETTINGS = [ROOT / "config.yaml", *sorted((ROOT / "core" / "config").rglob("*.yaml"))]
MOST_WORDS = 25
VALUE = "N"  # what an f-string fills in counts as one word
UNITS = "second|minute|hour|day|step|class|image|side|cell|channel|run|value|coefficient"
# what has one form here; the field's own terms stand in docs/glossary.md
DIALECT = re.compile(
    rf"""\b(?:
    pictures?(?!/)|data\ sets?|drawings?|draws?|drawn|is\ told|are\ told|of\ before          # image, dataset, generate
    |everybody|somebody|anybody|for\ good|go(?:es|ing)?\ on|dear(?:er|est)                   # everyone, permanently
    |(?<!there\ )(?:is|are)\ no|has\ no\ words                                               # is not a ...
    |gr[e]y|\w*colou?red|colours?|neighbours?|favourites?|behaviours?|licen[c]es?|centres?
    |(?:memor|recogn|minim|maxim|normal|organ|summar|initial|optim)is(?:e[sd]?|ing|ations?)
    |(?:\d+|{VALUE}|one|images|steps|evaluations|nats|seconds|minutes)\ an?\ (?:{UNITS})     # per
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
SHOWN = re.compile(r'(?:aria-label|title|alt|placeholder)="([^"]*)"|>([^<>{}]+)<')  # of HTML
NOT_PROSE = re.compile(r"export default|^(?:insert|update|select|delete|create|pragma) |\{ ?--|: \w+;")


def said(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every string in code that a person may read: docstrings, SQL, tags and styles are left out."""
    tree = ast.parse(source)
    within: set[int] = set()
    for node in ast.walk(tree):  # what holds a string comes before it
        if id(node) in within:
            continue
        if isinstance(node, ast.Expr) and isinstance(
            node.value, ast.Constant | ast.JoinedStr
        ):  # a docstring, or what stands in its place
            within.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            within |= {id(each) for each in node.values}
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "derive":  # the purpose of a seed
            within |= {id(each) for each in node.args}
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(each.value) if isinstance(each, ast.Constant) else VALUE for each in node.values)
        else:
            continue
        if re.search(r"</?\w+[ >]", text) and "<style>" not in text:
            text = "\n".join("".join(found) for found in SHOWN.findall(text))
        if " " in text.strip() and not NOT_PROSE.search(text):
            yield node.lineno, text


def said_in_script(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of the quoted strings with a space in JavaScript; what is no comment."""
    for number, line in enumerate(source.splitlines(), 1):
        for text in re.findall(r"'([^']* [^']*)'|`([^`]* [^`]*)`|\"([^\"]* [^\"]*)\"", line.partition("// ")[0]):
            yield number, re.sub(r"\$\{[^}]*\}", VALUE, "".join(text))


def comments(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of the comments of a YAML file."""
    for number, line in enumerate(source.splitlines(), 1):
        if comment := line.partition("# ")[2]:
            yield number, comment


def dialect(text: str) -> list[str]:
    """Words that have one better form, without what stands in backticks or is an argument to type."""
    return [each.group(0) for each in DIALECT.finditer(re.sub(r"`[^`]*`|--\w+|\S*[/_]\S*", "", text))]


def long_sentences(text: str) -> list[str]:
    """Sentences of more than MOST_WORDS words; a new line begins another one."""
    pieces = re.split(r"(?<=[.!?])[*_)\"']*\s+|\n", text)
    return [piece for piece in pieces if len(piece.split()) > MOST_WORDS]


def wrong(text: str) -> list[str]:
    """Everything that the style refuses in one text."""
    return [*dialect(text), *long_sentences(text)]


@pytest.mark.parametrize(("paths", "read"), [(CODE, said), (SCRIPTS, said_in_script), (SETTINGS, comments)])
def test_everything_that_is_said_follows_the_style(
    paths: list[Path], read: Callable[[str], Iterator[tuple[int, str]]]
) -> None:
    assert paths
    found = [
        f"{path.relative_to(ROOT)}:{line}: {each}"
        for path in paths
        for line, text in read(path.read_text(encoding="utf-8"))
        for each in wrong(text)
    ]
    assert found == []


LONG = "word " * 26


@pytest.mark.parametrize(
    ("read", "source", "found"),
    [
        (said, 'st.caption("Ten pictures a class.")', ["pictures"]),
        (said, 'raise UsageError(f"{name} is told to everybody")', ["is told", "everybody"]),
        (said, 'parser.add_argument("--size", help=f"{rate} a second")', ["N a second"]),
        (said, 'LABELS = {"x": "a grey colour", "y": "it is no class"}', ["grey", "colour", "is no"]),
        (said, '"""A docstring about pictures."""\nx = "picture"', []),
        (said, 'st.caption("There is no GPU; set `data.color=grey`")', []),
        (said, """x = '<button aria-label="Next picture">Play it for good</button>'""", ["picture", "for good"]),
        (said, 'derive(SEED, "pictures of a run")', []),
        (said, f'st.caption("Short. {LONG}. Short.")', [f"{LONG}."]),
        (said, f'st.caption("{LONG[:-15]}" f"{{a + b}} end.")', []),
        (said_in_script, "words.textContent = `${count} pictures`  // of grey", ["pictures"]),
        (comments, "size: 3  # a neighbour", ["neighbour"]),
    ],
)
def test_a_planted_fault_is_caught(
    read: Callable[[str], Iterator[tuple[int, str]]], source: str, found: list[str]
) -> None:
    assert [each for _, text in read(source) for each in wrong(text)] == found
