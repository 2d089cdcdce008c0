"""What is wrong with a setting, in one sentence: where, what, got what, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from core.config.schema import field_rows
from core.config.strict_yaml import MAX_REASON, shown
from core.errors import quoted


def did_you_mean(name: str, candidates: Sequence[str]) -> str:
    """A hint with the nearest candidate, '' when none is near."""
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else ""


def _section_fields(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    section = model
    for part in location:
        annotation = section.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)


def sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of `model` in words: where, what is wrong, got what, what to do."""
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"]]
    name, got = quoted(".".join(location)), first.get("input")
    if first["type"] == "extra_forbidden":
        fields = _section_fields(model, location[:-1])
        tip = did_you_mean(location[-1], fields)
        if not tip:
            elsewhere = [dotted for dotted, _ in field_rows(model) if dotted.rsplit(".", 1)[-1] == location[-1]]
            tip = f"did you mean {elsewhere[0]}?" if elsewhere else f"known here: {', '.join(fields)}"
        return f"{name}: no such setting; {tip}"
    if first["type"] == "value_error":
        return quoted(f"{name}: {first['ctx']['error']}" if name else first["ctx"]["error"], MAX_REASON)
    if first["type"] in ("model_type", "model_attributes_type"):
        return f"{name or 'configuration'}: expected a section with settings, got {shown(got)}"
    if location[-1:] == ["webhook_url"]:  # whoever reads this sentence must not learn the address
        got = "what it holds"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{name}: {quoted(message.replace('input should', 'should'), MAX_REASON)}, got {shown(got)}"
