"""No figure of README, of the cards or of the finish line stands there without the file that says it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.figures import CARD, DEMO_CARD, LINE, README, ROOT, SECTIONS, faults, written


@pytest.mark.parametrize("document", SECTIONS)
def test_every_figure_is_what_its_file_says(document: str) -> None:
    text = (ROOT / document).read_text()
    assert faults(document, text) == []
    assert written(document, text) == text


@pytest.mark.parametrize(
    ("document", "plant", "told"),
    [
        (README, lambda text: text.replace("| 0.027 |", "| 0.026 |"), "says: | FD-judge"),
        (
            README,
            lambda text: text.replace("\n| training seeds", "\n| KID | 0.1 | 0.2 | 0.3 |\n| training seeds"),
            "KID",
        ),
        (CARD, lambda text: text.replace("guidance 1.25, sampling", "guidance 1.3, sampling"), "guidance 1.25"),
        (CARD, lambda text: text.replace("| FD-judge, lower", "| FID, lower"), "a figure without its file"),
        (DEMO_CARD, lambda text: text.replace("0.01426", "0.01326"), "floor of 5,000 real held-out images 0.01426"),
        (LINE, lambda text: text.replace("Means of *minute*: 79.1", "Means of *minute*: 78.1"), "79.1 s"),
    ],
)
def test_a_planted_figure_is_caught(document: str, plant: Callable[[str], str], told: str) -> None:
    text = (ROOT / document).read_text()
    assert plant(text) != text
    assert any(told in fault for fault in faults(document, plant(text)))


def test_a_figure_that_changed_is_written_again() -> None:
    text = (ROOT / README).read_text()
    assert written(README, text.replace("| 0.027 |", "| 0.999 |")) == text
    line = (ROOT / LINE).read_text()
    assert written(LINE, line.replace("recall .726. **The line", "recall .999. **The line")) == line
