"""How tests are chosen, and what no test may do: each rule has a planted fault that must be caught."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import dealt

ROOT = Path(__file__).resolve().parents[1]
LONGEST_SLEEP_S = 0.2
SHORTEST_WAIT_S = 60.0  # below a second, it is meant to end
WAITS = {"communicate", "join", "result", "wait"}
PATIENCE = {"patience_s", "timeout", "timeout_s"}
SAVING = {"stop_grace_s", "machine.stop_grace_s"}  # seconds that a run gets to save before it is killed
FEW_STEPS = 1000  # of a run that must not end before a test has acted: twenty seconds of the stand-in
LOOKS = {"all_inner_texts", "all_text_contents", "bounding_box", "count", "evaluate", "evaluate_all", "get_attribute"}
LOOKS |= {"inner_html", "inner_text", "input_value", "is_checked", "is_disabled", "is_editable", "is_enabled"}
LOOKS |= {"is_hidden", "is_visible", "query_selector", "text_content", "title"}
MISSING = re.compile(
    r"(?:\b(?:querySelector|closest)\((?:[^()]|\([^()]*\))*\)"
    r"|\b(?:activeElement|parentElement|shadowRoot|(?:first|last)ElementChild|(?:next|previous)ElementSibling)\b)\."
)
# for what is planted below
BROWSER = "from tests.browser.conftest import wait_for\n"
SELECTS, ABOVE = "querySelector", "parentElement"


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


@pytest.mark.parametrize(("long", "others", "workers"), [(5, 8, 1), (5, 8, 3), (4, 2, 3), (3, 9, 2), (0, 5, 4)])
def test_browser_tests_are_what_two_workers_begin_with(long: int, others: int, workers: int) -> None:
    browser = [f"browser {number}" for number in range(long)]
    rest = list(range(others))
    found = dealt(browser, rest, workers)
    assert sorted(map(str, found)) == sorted(map(str, browser + rest))
    second = found[len(found) // workers :]
    if workers > 1 and long and others > long:
        assert "browser" in str(found[0]) and "browser" in str(second[0])
    assert [each for each in found if each in rest] == rest, "those of one module stay together"


def faults(source: str) -> Iterator[tuple[int, str]]:
    """(line, rule) of what a test may not do: patch a private name or a dotted string, wait for a fixed time, run
    again when it fails, choose itself by a variable, look at a page or type once, or need a machine that is not busy.
    """
    looks_at_pages, waits_for_steps = "tests.browser.conftest" in source, ".wait_for_step(" in source
    for node in ast.walk(ast.parse(source)):
        if looks_at_pages and isinstance(node, ast.Assert):
            named = {part.attr for part in ast.walk(node.test) if isinstance(part, ast.Attribute)}
            if named & (LOOKS | {"url"}):
                yield node.lineno, "looks at a page once"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MISSING.search(node.value):
            yield node.lineno, "reads an element that may be missing"
        if isinstance(node, ast.Attribute) and node.attr == "flaky":
            yield node.lineno, "runs again"
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            if "'/proc'" in ast.unparse(node.generators[0].iter) and "read_" in ast.unparse(node):
                yield node.lineno, "reads processes that may end meanwhile"
        elif isinstance(node, ast.FunctionDef):
            yield from acts_on_short_runs(node) if waits_for_steps else ()
            yield from types_once(node) if looks_at_pages else ()
            yield from hurries_a_save(node)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and isinstance(node.left, ast.Call):
            if ast.unparse(node.left) == "time.monotonic()" and is_too_soon(node.right):
                yield node.lineno, "gives up too soon"
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            values = [part.value if isinstance(part, ast.Constant) else None for part in node.args[:2]]
            texts = [value for value in values if isinstance(value, str)]
            limits = [word.value for word in node.keywords if word.arg in PATIENCE] + node.args[: name in WAITS]
            if any(map(is_too_soon, limits)):
                yield node.lineno, "gives up too soon"
            if "LAB_SLOW" in texts:
                yield node.lineno, "is chosen by something else than a marker"
            if name == "setattr" or ast.unparse(node.func).removeprefix("mock.") in ("patch", "patch.object"):
                if values[:1] == texts[:1] and "." in texts[0]:
                    yield node.lineno, "patches a dotted string"
                if any(text.rpartition(".")[2].startswith("_") and not text.endswith("__") for text in texts):
                    yield node.lineno, "patches a private name"
            elif name == "sleep" and values and isinstance(values[0], int | float) and values[0] > LONGEST_SLEEP_S:
                yield node.lineno, "waits for a fixed time"


def numbers_of(node: ast.expr) -> list[float]:
    """The number that stands there; [] for anything else."""
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, int | float) else []


def is_too_soon(node: ast.expr) -> bool:
    return any(1 <= number < SHORTEST_WAIT_S for number in numbers_of(node))


def acts_on_short_runs(function: ast.FunctionDef) -> Iterator[tuple[int, str]]:
    """Runs of a few steps of the stand-in, of which the function waits for one: they may have ended before it acts."""
    few: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            steps = [numbers_of(word.value) for word in node.value.keywords if word.arg == "steps"]
            if any(number < FEW_STEPS for found in steps for number in found):
                few |= {ast.unparse(target) for target in node.targets}
    for node in ast.walk(function) if few else ():
        is_wait = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".wait_for_step")
        if is_wait and ast.unparse(node.args[0]) in few:
            yield node.lineno, "acts on a run that may have ended"


def types_once(function: ast.FunctionDef) -> Iterator[tuple[int, str]]:
    """What is filled in and entered at once: a page that is drawn again in between forgets it."""
    steps = [each.value.func for each in ast.walk(function) if isinstance(each, ast.Expr) and is_method(each.value)]
    filled = {ast.unparse(step.value) for step in steps if step.attr == "fill"}
    for step in steps:
        if step.attr == "press" and ast.unparse(step.value) in filled:
            yield step.lineno, "types once"


def is_method(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


def hurries_a_save(function: ast.FunctionDef) -> Iterator[tuple[int, str]]:
    """A run that shall save when it is stopped is killed instead where the machine is busy."""
    given = [(part.arg, part.value) for part in ast.walk(function) if isinstance(part, ast.keyword)]
    for part in ast.walk(function):
        if isinstance(part, ast.Dict):
            given += [(getattr(key, "value", None), value) for key, value in zip(part.keys, part.values, strict=True)]
    ignores = any(each in ast.unparse(function) for each in ("STANDIN_IGNORE_TERM", "STANDIN_CHILDREN"))
    for name, value in given:
        if name in SAVING and is_too_soon(value) and not ignores:
            yield value.lineno, "gives a run little time to save"


def test_no_test_breaks_these_rules() -> None:
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if lines := [f"{line}: {rule}" for line, rule in faults(path.read_text())]:
            found[name] = lines
    assert found == {}


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        ("monkeypatch.setattr(module, '_ids', None)", "patches a private name"),
        ("patch.object(module, '_ids')", "patches a private name"),
        ("monkeypatch.setattr('core.data.arrays.MOST', 3)", "patches a dotted string"),
        ("mock.patch('core.data.arrays.MOST')", "patches a dotted string"),
        ("import time\ntime.sleep(1.0)", "waits for a fixed time"),
        ("@pytest.mark.flaky(reruns=1)\ndef test_x(): ...", "runs again"),
        ("os.environ.get('LAB_SLOW')", "is chosen by something else than a marker"),
        ("thread.join(10)", "gives up too soon"),
        ("process.wait(timeout=30.0)", "gives up too soon"),
        ("end = time.monotonic() + 20", "gives up too soon"),
        ("[path.read_bytes() for path in Path('/proc').glob('*/stat')]", "reads processes that may end meanwhile"),
        (
            "def test_x(box):\n run = box.create(steps=60)\n box.wait_for_step(run, 7)",
            "acts on a run that may have ended",
        ),
        (f"{BROWSER}def test_x(field):\n field.fill('Bob')\n field.press('Enter')", "types once"),
        ("def settings():\n return {'machine': {'stop_grace_s': 2.0}}", "gives a run little time to save"),
        ("def test_x(box):\n box.create(stop_grace_s=5)", "gives a run little time to save"),
        (f"{BROWSER}assert page.locator('p').count() == 1", "looks at a page once"),
        (f"{BROWSER}assert canvas.evaluate(PICTURE) != before", "looks at a page once"),
        (f"{BROWSER}assert page.url == link", "looks at a page once"),
        (f"page.evaluate('document.{SELECTS}(\"p:not(.a)\").innerText')", "reads an element that may be missing"),
        (f"svg.evaluate('(svg) => svg.{ABOVE}.clientWidth')", "reads an element that may be missing"),
    ],
)
def test_a_planted_fault_is_caught(planted: str, rule: str) -> None:
    assert [found for _, found in faults(planted)] == [rule]


def test_public_names_and_short_looks_are_allowed() -> None:
    allowed = "monkeypatch.setattr(module, 'MOST', 3)\nmonkeypatch.setattr(Class, '__init__', f)\ntime.sleep(0.02)"
    allowed += "\nwork.wait(600)\nchild.wait(0.2)\ntime.monotonic() + 180"
    assert list(faults(allowed)) == []


def test_a_page_may_be_looked_at_until_it_shows_something() -> None:
    allowed = "wait_for(lambda: page.evaluate('document.querySelector(\"p\")?.innerText') == 'a', 'no a')"
    assert list(faults(f"{BROWSER}{allowed}\nexpect(page.locator('p')).to_have_count(1)")) == []
