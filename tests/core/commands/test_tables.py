from core.commands.tables import plain, table


def test_a_table_aligns_words_left_and_numbers_right():
    assert table(["name", "n"], [["a", 1], ["longer", 1234]]) == "name        n\na           1\nlonger  1,234"


def test_what_a_person_typed_cannot_steer_the_terminal():
    assert plain("a\x1b[31m\nb") == "a?[31m?b"
