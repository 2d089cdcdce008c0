from __future__ import annotations

import pytest

from lab.latents.compare import difference


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (26.47, 25.3, "-1.17"),
        (0.84, 1.215, "+0.375"),
        (1.0, 1.0 + 1e-16, "0"),
        (1.0, 1.0 + 2e-16, "0"),
        (0.0, 0.0, "0"),
    ],
)
def test_a_difference_has_its_sign_and_rounding_is_none(a: float, b: float, words: str) -> None:
    assert difference(a, b) == words
