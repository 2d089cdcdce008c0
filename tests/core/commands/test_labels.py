import pytest

from core.commands.labels import in_words, parse_labels
from core.errors import UsageError

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Trouser", "Ankle boot", "a, b", "0-1")


@pytest.mark.parametrize(
    ("text", "names", "labels"),
    [
        ("0-9", DIGITS, tuple(range(10))),
        ("3,5,7", DIGITS, (3, 5, 7)),
        (" 7 , 3-4 ,3", DIGITS, (7, 3, 4)),
        ("t-shirt/top,Ankle boot", CLOTHES, (0, 2)),
        ("a, b", CLOTHES, (3,)),
        ("0-1", CLOTHES, (4,)),
        ("1-2", CLOTHES, (1, 2)),
        ("30", ("10", "20", "30"), (2,)),
        ("1", ("3", "7", "1"), (2,)),  # a name, although there is a class 1
        ("3", ("0", "1", "2", "4", "5", "3"), (5,)),
        ("1,3", ("1", "2", "3", "4"), (0, 2)),
        ("2-3", ("1", "2", "x", "3"), None),
        ("0", ("1", "2"), (0,)),  # no name, so a number
        ("0-1", ("0", "1", "0-1"), (2,)),
        ("cat", ("Cat", "cat"), (1,)),
        ("Cat", ("Cat", "cat"), (0,)),
        ("CAT", ("Cat", "cat"), None),
        ("straße", ("STRASSE", "weg"), (0,)),
        ("cat", ("cat", "dog", "cat"), None),
        ("2", ("cat", "dog", "cat"), (2,)),
        ("a,b", ("a", "b", "a,b"), None),
        ("2,0", ("a", "b", "a,b"), (2, 0)),
        ("a,c", ("a", "b", "a,c"), (2,)),
        ("0-9", tuple("1234567890"), None),
    ],
)
def test_labels_are_names_numbers_and_ranges_and_what_may_mean_two_is_refused(text, names, labels):
    if labels is None:
        with pytest.raises(UsageError, match=r"may mean|may count|each part of it"):
            parse_labels(text, names)
    else:
        assert parse_labels(text, names) == labels


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("10", "outside the classes 0 to 9"),
        ("0-10", "not a range inside"),
        ("5-3", "not a range inside"),
        ("-1", "is not a class"),
        ("", "names no class"),
        (",", "names no class"),
        ("³", "is not a class"),
        ("9" * 5000, "is not a class"),
        ("0-" + "9" * 5000, "is not a class"),
    ],
)
def test_what_is_no_class_is_refused(text, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse_labels(text, DIGITS)


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(UsageError, match="did you mean Trouser"):
        parse_labels("trousers", CLOTHES)


def test_classes_are_printed_with_their_number_where_their_name_is_another():
    assert in_words((2, 0), ("1", "cat", "2")) == "2, 1 (class 0)"
    assert in_words(range(100), tuple(map(str, range(100)))).endswith("11 and 88 more")
