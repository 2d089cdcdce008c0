"""The commands that train a run again to equal weights: all of its settings as files, in one text for a shell."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from core.config.frozen import dump_settings
from core.config.load import (
    FORMAT,
    differences,
    is_preset,
    load_preset,
    merge,
    plain_value,
    rules_of_preset,
    settings_from,
    with_overrides,
)
from core.config.schema import Settings
from core.errors import LabError
from core.handround.private import public_value
from core.home import COMMAND, is_installed
from core.rules import NEWEST, PREFIX
from core.runs.run import Run
from core.runs.store import RunStore

_END = "END_OF_SETTINGS"
_ALL_CHECKPOINTS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """script: for a POSIX shell, '' where there is none. notes: what it needs, or why there is none, in sentences."""

    script: str
    notes: tuple[str, ...] = ()


def repeat_of(store: RunStore, run: Run) -> Repeat:
    """How the run is trained again, its VAE and the run that it branched from before it."""
    try:
        lines: list[str] = []
        notes: list[str] = []
        _train(store, run, lines, notes, name="RUN")
    except LabError as error:
        return Repeat(script="", notes=(f"It cannot be trained again by a command: {error.message}.",))
    return Repeat(script="\n".join(lines), notes=tuple(dict.fromkeys(notes)))


def _train(store: RunStore, run: Run, lines: list[str], notes: list[str], *, name: str, whole: bool = True) -> None:
    """Lines that train the run and put its id into the variable `name`. whole: False keeps every checkpoint."""
    if not run.kind.trains:
        raise LabError(f"a {run.kind.noun} trains nothing")
    info = run.info
    if info.branched_from:
        origin = _get(store, info.branched_from, "the run that it continues from")
        _train(store, origin, lines, notes, name=f"{name}_ORIGIN", whole=False)
        changes = [
            f"--set {shlex.quote(f'{key}={_yaml(_public(key, new, notes))}')}"
            for key, _, new in differences(origin.settings, run.settings)
        ]
        words = ["branch", f'"${name}_ORIGIN"', "--checkpoint", str(info.branched_step), *changes]
        lines.append(f"{name}=$({program()} {' '.join(words)})")
        return
    options: list[str] = []
    if run.kind.parent:
        vae = _get(store, info.parents[0] if info.parents else "", f"its {run.kind.parent.upper()} run")
        _train(store, vae, lines, notes, name=f"{name}_VAE")
        options = ["--vae", f'"${name}_VAE"']
    settings, file = run.settings, f"{name.lower()}.yaml"
    if not whole:
        settings = settings_from(
            with_overrides(settings.model_dump(mode="json"), {"logging.keep_checkpoints": _ALL_CHECKPOINTS})
        )
    values = yaml.safe_load(dump_settings(settings))
    values["data"] = {key: _public(f"data.{key}", value, notes) for key, value in values["data"].items()}
    text = yaml.safe_dump({"format": FORMAT, **values}, sort_keys=False, width=100)
    lines += [f"cat > {file} <<'{_END}'", text.rstrip("\n"), _END]
    options += ["--config", file, *_rules(run, settings)]
    lines.append(f"{name}=$({program()} train {info.kind} {' '.join(options)})")


def program() -> str:
    """What a reader types before the words of a command."""
    return COMMAND if is_installed() else "python -m core"


def _get(store: RunStore, run_id: str, words: str) -> Run:
    try:
        return store.get(run_id)
    except LabError:
        raise LabError(f"{words} was deleted") from None


def _rules(run: Run, settings: Settings) -> list[str]:
    """The options for a run of older rules: the preset that pins them, and what it would change. Raises LabError."""
    if run.rules == NEWEST:
        return []
    preset = run.info.preset
    if is_preset(preset) and rules_of_preset(preset) == run.rules:
        pinned = settings_from(merge(settings.model_dump(mode="json"), load_preset(preset)))
        changes = differences(pinned, settings)
        return ["--preset", preset, *(f"--set {shlex.quote(f'{key}={_yaml(new)}')}" for key, _, new in changes)]
    newest = NEWEST.written()
    older = [name.removeprefix(PREFIX) for name, version in run.rules.written().items() if version != newest[name]]
    raise LabError(f"it follows earlier versions of the rules {', '.join(older)}, which no option asks for")


def _public(key: str, value: Any, notes: list[str]) -> Any:
    """A value without the folders of this machine; a sentence in `notes` where one was taken out."""
    shown = public_value(value) if isinstance(value, str) else value
    if shown != value:
        notes.append(f"Put the folder of your copy of the images into {key}: here it says {shown}.")
    return shown


def _yaml(value: Any) -> str:
    return yaml.safe_dump(plain_value(value), default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
