import pytest

from core.commands.tables import age, duration, plain, size, table


def test_a_table_aligns_words_left_and_numbers_right():
    assert table(["name", "n"], [["a", 1], ["longer", 1234]]) == "name        n\na           1\nlonger  1,234"


def test_what_a_person_typed_cannot_steer_the_terminal():
    assert plain("a\x1b[31m\nb") == "a?[31m?b"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (42.4, "42 s"), (200, "3 min 20 s"), (18_600, "5 h 10 min"), (260_000, "3 days")],
)
def test_durations_are_in_words(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(("count", "words"), [(512, "512 B"), (1_400_000, "1.4 MB"), (2.5e12, "2.5 TB")])
def test_sizes_are_in_words(count, words):
    assert size(count) == words


def test_an_age_that_is_no_time_is_shown_as_it_is():
    assert age("yesterday\n") == "yesterday?"
