"""Boxes whose choice lives in the URL: every choice sticks, links are obeyed, ids and not words are in the link."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def one() -> None:
    import streamlit as st

    from lab.widgets.url_selectbox import pick

    st.write(pick("Model", {"a": "First", "b": "Second", "c": "Third"}, "run"))


def many() -> None:
    import streamlit as st

    from lab.widgets.url_selectbox import pick_many

    st.write(",".join(pick_many("Schedules", {"a": "First", "b": "Second", "c": "Third"}, "of", ["a", "b"])))


def shown(app: AppTest) -> str:
    assert not app.exception
    return str(app.markdown[-1].value) if app.markdown else ""


def test_every_choice_sticks_not_only_the_first() -> None:
    app = AppTest.from_function(one, default_timeout=600).run()
    for choice in ("c", "b", "a", "b"):
        app.selectbox[0].set_value(choice).run()
        assert (shown(app), app.query_params["run"]) == (choice, choice)
        app.run()
        assert shown(app) == choice


def test_a_link_chooses_and_another_link_chooses_again() -> None:
    app = AppTest.from_function(one, default_timeout=600)
    app.query_params["run"] = "b"
    assert shown(app.run()) == "b"
    app.selectbox[0].set_value("c").run()
    app.query_params["run"] = "a"
    assert shown(app.run()) == "a"


def test_an_unknown_id_falls_back_to_the_first() -> None:
    app = AppTest.from_function(one, default_timeout=600)
    app.query_params["run"] = "zzz"
    assert shown(app.run()) == "a"
    assert app.query_params["run"] == "a"


def test_many_are_in_the_link_by_their_ids() -> None:
    app = AppTest.from_function(many, default_timeout=600).run()
    assert (shown(app), app.query_params["of"]) == ("a,b", "a,b")
    for choice in (["a", "b", "c"], ["c"], ["a", "c"]):
        app.button_group[0].set_value(choice).run()
        assert shown(app).split(",") == choice
    app.query_params["of"] = "b,nonsense,c"
    assert shown(app.run()) == "b,c"


def test_none_chosen_stays_none() -> None:
    app = AppTest.from_function(many, default_timeout=600).run()
    app.button_group[0].set_value([]).run()
    app.run()
    assert shown(app) == ""
    assert "of" not in app.query_params


def run_and_checkpoint() -> None:
    import streamlit as st

    from lab.widgets.url_selectbox import pick_checkpoint

    kept = {"a": {"2": 2, "1": 1}, "b": {"1": 1}, "gone": {}}
    found = pick_checkpoint(
        "Run",
        {"a": "First", "b": "Second", "gone": "Third"},
        ("run", "checkpoint"),
        kept.__getitem__,
        "step {}".format,
        refusal="Run {} is no run.",
        help="",
    )
    st.write(f"{found[0]}-{found[1]}" if found else "none")


def test_a_run_and_its_checkpoint_are_in_the_link_and_another_run_begins_with_its_own_first() -> None:
    app = AppTest.from_function(run_and_checkpoint, default_timeout=600)
    app.query_params["run"], app.query_params["checkpoint"] = "a", "1"
    assert shown(app.run()) == "a-1"
    app.selectbox[0].set_value("b").run()
    assert (shown(app), app.query_params["run"], app.query_params["checkpoint"]) == ("b-1", "b", "1")
    app.selectbox[0].set_value("a").run()
    assert shown(app) == "a-2"
    assert not app.warning


def test_what_a_link_names_in_vain_is_told_until_another_choice_is_made() -> None:
    app = AppTest.from_function(run_and_checkpoint, default_timeout=600)
    app.query_params["run"], app.query_params["checkpoint"] = "![x](http://198.51.100.7)", "7"
    for _ in range(3):  # a page draws itself again by its own clock
        assert shown(app.run()) == "a-2"
        told = [warning.value for warning in app.warning]
        assert len(told) == 2 and "is no run" in told[0] and "Checkpoint 7 is not stored" in told[1]
        assert "![x](" not in told[0]
    app.selectbox[1].set_value("1").run()
    assert [warning.value for warning in app.warning] == told[:1]
    app.selectbox[0].set_value("b").run()
    assert not app.warning


def test_a_run_without_checkpoints_is_said_and_gives_nothing() -> None:
    app = AppTest.from_function(run_and_checkpoint, default_timeout=600)
    app.query_params["run"] = "gone"
    assert shown(app.run()) == "none"
    assert "checkpoints are gone" in app.warning[0].value


def sources_page() -> None:
    from pathlib import Path

    import streamlit as st

    from core.model_folders.model_facts import LabFacts, ModelFolderInfo
    from core.model_folders.sources import FolderSource
    from lab.widgets.url_selectbox import pick_source

    facts = {
        "known": LabFacts.model_construct(title="", step=1500),
        "plain": LabFacts.model_construct(title="", step=0),
    }
    folders = [FolderSource(ModelFolderInfo(path=Path(name), facts=found)) for name, found in facts.items()]
    st.text(pick_source(folders).id)


def test_how_long_a_plain_folder_was_trained_is_not_made_up() -> None:
    app = AppTest.from_function(sources_page, default_timeout=600).run()
    assert app.selectbox[0].options == ["known · step 1,500 · imported as known", "plain · imported as plain"]
