"""What a text says of this machine and its people, taken out: addresses, absolute paths, tokens, names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>]+", re.IGNORECASE)
_PATH = re.compile(r"(?:~[\w.-]*|(?<![\w.~)\]])[A-Za-z]:|(?<![\w.~)\]]))[/\\](?:[^\s\"'<>:;,|*?()\\/]+[/\\])+")
_TOKEN = re.compile(
    r"\b(?:hf_|gh[pousr]_|github_pat_|xox[a-z]-|sk-|AKIA|eyJ)[\w.-]{8,}"
    r"|(?i:\b(?:bearer|basic)\s+)[\w.+/=-]{8,}"
    r"|(?i:\b[\w-]*(?:token|secret|passwor[dt]|passwd|api[_-]?key|webhook)[\w-]*[\"']?\s*[=:]\s*)[\"']?[^\s\"',;]+"
)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
LEAST_NAME = 2  # letters of a name that is looked for


def without_secrets(text: str, names: Iterable[str] = ()) -> str:
    """The text with addresses, tokens, mail addresses, folders and these names of people replaced by words in angle
    brackets. Of an absolute path the last part stays."""
    text = _ADDRESS.sub("<address>", text)
    text = _TOKEN.sub("<secret>", text)
    text = _MAIL.sub("<mail>", text)
    text = _PATH.sub("<folder>/", text)
    known = sorted({name for name in names if len(name) >= LEAST_NAME}, key=len, reverse=True)
    if known:
        text = re.sub(rf"(?<!\w)(?:{'|'.join(map(re.escape, known))})(?!\w)", "<name>", text, flags=re.IGNORECASE)
    return text


def public_value(value: Any, names: Iterable[str] = ()) -> Any:
    """A value of settings, JSON or the like with each text in it, keys included, as `without_secrets`."""
    if isinstance(value, str):
        return "<folder>/" + os.path.basename(value.rstrip("/")) if _is_path(value) else without_secrets(value, names)  # noqa: PTH119 - no file of this machine
    if isinstance(value, dict):
        return {without_secrets(str(key), names): public_value(each, names) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [public_value(each, names) for each in value]
    return value


def _is_path(text: str) -> bool:
    return text.startswith(("/", "~")) or bool(re.match(r"[A-Za-z]:[\\/]", text))
