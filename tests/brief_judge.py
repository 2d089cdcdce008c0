"""A judge in a second instead of half a minute, for tests whose subject is not how well it judges."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import core.evaluation.judge as module
from core.data.arrays import ImageSet
from core.evaluation.judge import Judge, JudgeRecipe, train_judge


@contextlib.contextmanager
def brief_judges(min_steps: int) -> Iterator[list[int]]:
    """Judges that are missing are really trained, with that many steps at least, in this process. Yields the seed of
    each."""
    done: list[int] = []

    def briefly(image_set: ImageSet, recipe: JudgeRecipe, **others: Any) -> Judge:
        done.append(recipe.seed)
        return train_judge(image_set, replace(recipe, min_steps=min_steps), **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train_judge", briefly)
        yield done
