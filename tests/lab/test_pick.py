"""Boxes whose choice lives in the URL: every choice sticks, links are obeyed, ids and not words are in the link."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def one() -> None:
    import streamlit as st

    from lab.components.pick import pick

    st.write(pick("Model", {"a": "First", "b": "Second", "c": "Third"}, "run"))


def many() -> None:
    import streamlit as st

    from lab.components.pick import pick_many

    st.write(",".join(pick_many("Schedules", {"a": "First", "b": "Second", "c": "Third"}, "of", ["a", "b"])))


def shown(app: AppTest) -> str:
    assert not app.exception
    return str(app.markdown[-1].value) if app.markdown else ""


def test_every_choice_sticks_not_only_the_first() -> None:
    app = AppTest.from_function(one).run()
    for choice in ("c", "b", "a", "b"):
        app.selectbox[0].set_value(choice).run()
        assert (shown(app), app.query_params["run"]) == (choice, choice)
        app.run()
        assert shown(app) == choice


def test_a_link_chooses_and_another_link_chooses_again() -> None:
    app = AppTest.from_function(one)
    app.query_params["run"] = "b"
    assert shown(app.run()) == "b"
    app.selectbox[0].set_value("c").run()
    app.query_params["run"] = "a"
    assert shown(app.run()) == "a"


def test_an_unknown_id_falls_back_to_the_first() -> None:
    app = AppTest.from_function(one)
    app.query_params["run"] = "zzz"
    assert shown(app.run()) == "a"
    assert app.query_params["run"] == "a"


def test_many_are_in_the_link_by_their_ids() -> None:
    app = AppTest.from_function(many).run()
    assert (shown(app), app.query_params["of"]) == ("a,b", "a,b")
    for choice in (["a", "b", "c"], ["c"], ["a", "c"]):
        app.button_group[0].set_value(choice).run()
        assert shown(app).split(",") == choice
    app.query_params["of"] = "b,nonsense,c"
    assert shown(app.run()) == "b,c"


def test_none_chosen_stays_none() -> None:
    app = AppTest.from_function(many).run()
    app.button_group[0].set_value([]).run()
    app.run()
    assert shown(app) == ""
    assert "of" not in app.query_params
