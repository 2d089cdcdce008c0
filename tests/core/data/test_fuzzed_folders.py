"""Five hundred folder trees and array headers at random; `benchmarks/fuzz_folders.py` tries thousands."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_folders import cases

SHARES = {"names": 330, "arrays": 100, "folders": 70}


@pytest.mark.parametrize("kind", SHARES)
def test_any_folder_is_a_reading_or_one_sentence_and_never_two(kind: str) -> None:
    cases(SHARES[kind])[kind]()  # type: ignore[operator]
