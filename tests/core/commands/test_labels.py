import pytest

from core.commands.labels import parse_labels
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
    ],
)
def test_labels_are_numbers_ranges_and_names(text, names, labels):
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
