"""Words on the screen."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.errors import LabError
from core.words import ago, count, duration, size
from lab.words import escaped, exactly, plain, sentence, significant, state_badge

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("plain words 123", "plain words 123"),
        ("a*b_c", r"a\*b\_c"),
        ("![x](y)", r"\!\[x\]\(y\)"),
        ("<img>", r"\<img\>"),
        ("$x$", r"\$x\$"),
        (":red[x]", "\\:\u2060red\\[x\\]"),
        ("http://a.b", "http\\:\u2060//a\\.b"),
        ("www.a", "www\u2060\\.a"),
        ("a@b", "a@\u2060b"),
        ("->", "\\-\u2060\\>"),
        ("two\nlines\tand\x00more", "two lines and more"),
        ("right \u202e left", "right   left"),
    ],
)
def test_typed_text_has_no_meaning_in_markdown(typed: str, shown: str) -> None:
    assert escaped(typed) == shown


def test_a_long_name_is_cut_with_an_ellipsis() -> None:
    assert plain("x" * 500) == "x" * 119 + "…"


def test_an_error_is_a_sentence_with_what_to_do_and_no_markdown() -> None:
    error = LabError("run '![x](y)' does not exist", "did you mean z?")
    assert sentence(error) == r"Run '\!\[x\]\(y\)' does not exist; did you mean z?"


@pytest.mark.parametrize("text", ["train_unet.steps: should be a number", "20260101-x: is broken", ""])
def test_a_setting_or_an_id_keeps_its_spelling_at_the_start(text: str) -> None:
    assert sentence(LabError(text)) == escaped(text)


@pytest.mark.parametrize(
    ("instant", "words"),
    [
        ("2026-03-01T11:59:58+00:00", "just now"),
        ("2026-03-01T11:58:00+00:00", "2 min ago"),
        ("2026-03-01T13:00:00+02:00", "1 h ago"),
        ("2026-02-27T12:00:00+00:00", "2 d ago"),
        ("2026-03-01T12:05:00+00:00", "just now"),
        ("yesterday", ""),
        ("", ""),
    ],
)
def test_time_is_said_as_an_age(instant: str, words: str) -> None:
    assert ago(instant, NOW) == words


def test_an_instant_without_a_zone_is_utc() -> None:
    assert ago("2026-03-01T11:58:00", NOW) == "2 min ago"


def test_the_exact_time_is_utc() -> None:
    assert exactly("2026-03-01T13:00:00+02:00") == "2026-03-01 11:00:00 UTC"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3599, "1 h"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (-1, "–"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"), [(12400, "12,400"), (0, "0"), (None, "–"), (float("nan"), "–"), (float("inf"), "–")]
)
def test_counts_are_grouped(value: float | None, words: str) -> None:
    assert count(value) == words


@pytest.mark.parametrize(("size_bytes", "words"), [(12, "12 B"), (2_500_000, "2.5 MB"), (3e15, "3000.0 TB")])
def test_sizes_have_units(size_bytes: float, words: str) -> None:
    assert size(size_bytes) == words


@pytest.mark.parametrize(("value", "words"), [(0.123456, "0.1235"), (None, "–"), (float("nan"), "–")])
def test_losses_have_four_digits(value: float | None, words: str) -> None:
    assert significant(value) == words


def test_an_unknown_state_still_has_a_badge() -> None:
    assert "hibernating" in state_badge("hibernating")
