"""Each question has its function, which takes a `Tell` and as many arguments as the question's type says."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from core.compute import questions
from core.compute.question import Question

ALL = {name: value for name, value in vars(questions).items() if isinstance(value, Question)}


def declared(name: str) -> int:
    """Arguments in the type of the question of that name."""
    for node in ast.parse(Path(questions.__file__).read_text()).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            kind = node.annotation
            assert isinstance(kind, ast.Subscript) and isinstance(kind.slice, ast.Tuple)
            request = kind.slice.elts[0]
            assert isinstance(request, ast.List)
            return len(request.elts)
    raise AssertionError(f"{name} has no type")


@pytest.mark.parametrize("name", ALL)
def test_a_question_has_its_function(name: str) -> None:
    function = getattr(importlib.import_module(ALL[name].module), ALL[name].name)
    first, *others = inspect.signature(function).parameters.values()
    assert first.name == "tell"
    assert len(others) == declared(name)
