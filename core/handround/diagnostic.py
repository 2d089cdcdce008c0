"""A zip that a person may send to whoever helps them: what a lab or a run says of itself, without secrets and names."""

from __future__ import annotations

import io
import json
import os
import socket
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from core import reading
from core.handround.private import public_value, without_secrets
from core.runs.listing import list_checkpoints
from core.runs.notes import read_notes
from core.runs.provenance import current_user, package_versions
from core.runs.run import Run
from core.runs.store import RunStore

TAIL_BYTES = 200_000  # of a log or of lines
MOST_ROWS = 500  # runs that are listed
RECORDS = ("run.json", "status.json", "job.json", "attempt.json", "exit.json", "stop.json", "data.json")
LINES = ("events.jsonl", "metrics.jsonl")
PERSONS = ("owner", "by", "account", "user", "uid", "to", "before")  # keys whose text names somebody
TYPED = ("name", "notes", "tags", "tagged", "untagged")  # keys of what people typed about a run
SECRETS = ("token", "secret", "password", "webhook", "api_key")
_README = """What the lab says of itself, for whoever helps you. Look through it before you send it.

Taken out: addresses, tokens, passwords, mail addresses, names of people and of this machine, folders (of a path the
last part stays), names, notes and tags of runs. Not in it: images, weights, notes, evaluations.
"""


def diagnostic_zip(
    store: RunStore, run: Run | None, facts: Mapping[str, Any], logs: Mapping[str, Path] = MappingProxyType({})
) -> bytes:
    """The zip of the lab, or of the lab and one run. facts: name of a file → what JSON can hold; logs: name → file of
    which the end is taken. All is cleaned."""
    names = names_in(store)
    files: dict[str, str] = {"README.txt": _README, "versions.json": _json(package_versions(), names)}
    for name, value in facts.items():
        files[f"{name}.json"] = _json(value, names)
    files |= {f"{name}.log": without_secrets(_tail(path), names) for name, path in logs.items()}
    rows = []
    for each in store.list()[:MOST_ROWS]:
        status = each.status()
        rows.append({"id": each.id, "kind": each.info.kind, "state": str(status.state), "reason": status.reason})
    broken = [{"id": folder.name, "problem": problem} for folder, problem in store.broken()]
    files["runs.json"] = _json({"readable": rows, "broken": broken}, names)
    if run is not None:
        files |= {f"run/{name}": text for name, text in _of_run(run, names).items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def names_in(store: RunStore) -> set[str]:
    """Of whoever is known here, in whole and by the part before an @, and of this machine."""
    found = {current_user(), os.environ.get("USER", ""), Path.home().name, socket.gethostname()}
    for run in store.list():
        found.add(run.info.owner)
        found.update(read_notes(run).favourite_of)
        found.update(str(event.get(key) or "") for event in run.events() for key in PERSONS)
    found |= {name.partition("@")[0] for name in found}
    return {name for name in found if name and not name.isdigit()} - {"root", "unknown", "localhost"}


def _of_run(run: Run, names: Iterable[str]) -> dict[str, str]:
    files = {}
    for name in RECORDS:
        try:
            files[name] = _json(reading.read_object(run.folder / name), names, typed=name == "run.json")
        except FileNotFoundError:
            continue
        except (OSError, reading.Unreadable) as error:
            files[name] = without_secrets(f"cannot be read: {error}", names)
    for name in LINES:
        lines = []
        for raw in _tail(run.folder / name).splitlines():
            try:
                lines.append(
                    json.dumps(_cleaned(reading.json_object(raw.encode(), name), names, typed=name == "events.jsonl"))
                )
            except (ValueError, reading.Unreadable):
                lines.append(without_secrets(raw, names))
        files[name] = "\n".join(lines)
    files["config.yaml"] = without_secrets(_tail(run.config_path), names)
    files["log.txt"] = without_secrets(_tail(run.log_path), names)
    saved = [{"step": item.step, "size_bytes": item.size_bytes} for item in list_checkpoints(run)]
    files["checkpoints.json"] = _json(saved, names)
    return files


def _tail(path: Path) -> str:
    try:
        return reading.read_tail(path, TAIL_BYTES).decode(errors="replace")
    except (OSError, reading.Unreadable):
        return ""


def _json(value: Any, names: Iterable[str], *, typed: bool = False) -> str:
    return json.dumps(_cleaned(value, names, typed=typed), indent=1)


def _cleaned(value: Any, names: Iterable[str], key: str = "", *, typed: bool = False) -> Any:
    """As `public_value`, and by their key what names somebody and what is a secret; `typed`: also what people wrote."""
    if isinstance(value, dict):
        return {
            without_secrets(str(name), names): _cleaned(each, names, str(name).lower(), typed=typed)
            for name, each in value.items()
        }
    if value and key in PERSONS:
        return "<name>"
    if value and typed and key in TYPED:
        return "<typed>"
    if value and any(word in key for word in SECRETS):
        return "<secret>"
    if isinstance(value, list | tuple):
        return [_cleaned(each, names, typed=typed) for each in value]
    is_plain = value is None or isinstance(value, bool | int | float)
    return value if is_plain else public_value(str(value), names)
