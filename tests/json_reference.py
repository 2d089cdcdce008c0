"""The JSON of every command, from what the commands print about run folders of an older lab: docs/json.md."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.__main__ import main
from core.commands.compare import as_json as comparison_json
from core.comparison.comparison_results import list_comparisons, read_comparison
from core.evaluation.report import REPORTS, list_reports
from core.runs.store import RunStore

OLD = Path(__file__).parent / "fixtures" / "runs-57d6eac"
COMMANDS = {
    "runs": ["runs"],
    "show": ["show", "digits"],
    "wait": ["wait", "digits"],
    "note": ["note", "digits"],
    "sample": ["sample", "digits", "--labels", "3", "--per-class", "1", "--steps", "2", "--out", "OUT"],
    "latents": ["latents", "digits"],
    "models": ["models"],
    "data": ["data"],
    "data NAME": ["data", "digits"],
    "paths": ["paths"],
    "doctor": ["doctor"],
}
# objects whose keys are names of something, not of a format: what the names are
BY_NAME = {
    "settings": "all settings by section",
    "metrics": "newest value by metric",
    "versions": "version by package",
}
NAMES = {bool: "true or false", int: "number", float: "number", str: "text", type(None): "null"}


def json_reference() -> str:
    """Each command with the keys of its JSON and the types of their values, as Markdown."""
    lines: list[str] = []
    with _old_lab() as folder:
        found = {
            name: _printed([OUT if word == "OUT" else word for word in words], folder)
            for name, words in COMMANDS.items()
        }
        unet = next(run for run in RunStore(folder / "runs").list() if run.info.name == "digits")
        found["evaluate"] = {"path": "text", **REPORTS.as_json(list_reports(unet)[0])}
        found["compare"] = comparison_json(read_comparison(unet, list_comparisons(unet)[0]))
        found["timestep-loss"] = json.loads(next((unet.folder / "timestep_loss").glob("*.json")).read_text())
    for name, value in sorted(json.loads(json.dumps(found)).items()):
        kind = "an array of objects" if isinstance(value, list) else "an object"
        lines += [f"## {name}", "", f"`{name} --json` prints {kind}.", "", "| key | value |", "|---|---|"]
        lines += [f"| `{key}` | {' or '.join(sorted(kinds))} |" for key, kinds in _keys(value).items()]
        lines.append("")
    return "\n".join(lines)


OUT = "samples"


@contextlib.contextmanager
def _old_lab() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(OLD / "runs", folder / "runs")
        before = dict(os.environ)
        os.environ |= {
            f"LAB_{each.upper()}": str(folder / each) for each in ("runs", "data", "cache", "gallery", "imports")
        }
        try:
            yield folder
        finally:
            os.environ.clear()
            os.environ |= before


def _printed(words: list[str], folder: Path) -> Any:
    out = io.StringIO()
    words = [str(folder / OUT) if word == OUT else word for word in words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert main([*words, "--json"]) in (0, 1)  # doctor finds what is missing
    return json.loads(out.getvalue())


def _keys(value: Any, prefix: str = "") -> dict[str, set[str]]:
    """'a.b[]' -> the types seen there."""
    found: dict[str, set[str]] = {}
    for item in value if isinstance(value, list) else [value]:
        for key, inner in item.items():
            name = f"{prefix}{key}"
            if key in BY_NAME and isinstance(inner, dict) and not prefix:
                found.setdefault(name, set()).add(BY_NAME[key])
            elif isinstance(inner, dict):
                for each, kinds in _keys(inner, f"{name}.").items():
                    found.setdefault(each, set()).update(kinds)
            elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
                for each, kinds in _keys(inner, f"{name}[].").items():
                    found.setdefault(each, set()).update(kinds)
            elif isinstance(inner, list):
                found.setdefault(name, set()).add("list" + (f" of {_list_of(inner)}" if inner else ""))
            else:
                found.setdefault(name, set()).add(NAMES[type(inner)])
    return found


def _list_of(values: list[Any]) -> str:
    return f"{NAMES[type(values[0])]}s"
