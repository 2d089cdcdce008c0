"""A fresh server, a real process: what several pages ask at once imports diffusers one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.compute.process import Compute
from core.compute.question import Answer, Question
from core.compute.questions import DRAW, IMPORT_AHEAD, MEASURE_COST, SCHEDULE_TABLE
from core.config.schema import DiffusionSettings


@pytest.fixture
def compute() -> Iterator[Compute]:
    made = Compute(budget_bytes=4e9)
    yield made
    made.end()


@pytest.mark.slow
@pytest.mark.parametrize("page", [DRAW, MEASURE_COST], ids=lambda question: question.name)
def test_schedulers_and_another_page_within_two_seconds(compute: Compute, page: Question[..., object]) -> None:
    """Two threads in the first import of diffusers said "cannot import name 'AutoencoderKL'"."""
    first = compute.remote(SCHEDULE_TABLE, DiffusionSettings())
    second = compute.remote(IMPORT_AHEAD, page.module)
    *_, told = second
    assert told == Answer(value=None)
    *_, table = first
    assert len(table.value["snr"]) == 1000
