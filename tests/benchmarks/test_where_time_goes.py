"""Where the time goes: marks of a run become phases, and steps are measured on made data and other networks."""

from __future__ import annotations

import pytest

from benchmarks.matrix_peak import measured
from benchmarks.where_time_goes import PART, SPENT, against_size
from core.training.spent import Spent
from tests.models import tiny_settings


def test_the_parts_of_a_training_are_read_back_from_its_log() -> None:
    spent = Spent()
    with spent.on("previews"):
        pass
    found = SPENT.search(spent.in_words())
    assert found is not None and [name.strip() for name, _ in PART.findall(found[1])] == ["steps", "previews"]


@pytest.mark.slow
def test_a_step_is_measured_on_made_sets_of_several_sizes() -> None:
    rows = against_size(tiny_settings(), (100, 300), rounds=1, steps=1)
    assert [row["images"] for row in rows] == [100, 300]
    assert all(row["vae_ms"]["least"] > 0 < row["unet_ms"]["least"] for row in rows)


@pytest.mark.slow
def test_the_share_of_the_matrix_peak_comes_with_what_bounds_it() -> None:
    found = measured(tiny_settings(**{"train_unet.gradient_accumulation_steps": 1}), side=64, steps=1)
    assert found["share_of_peak"] == found["flops_per_step"] / found["step_s"] / found["matrix_peak_flops_per_s"] > 0
    assert found["bound_by"] in ("compute", "memory", "launches")
