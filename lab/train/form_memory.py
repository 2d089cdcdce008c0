"""What the form of Train remembers: settings in the address and in the session, or those of a run to repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core.config.load import differences, parse_override
from core.config.schema import field_rows
from core.errors import LabError
from core.runs.run import Run
from lab.services.runs import open_store
from lab.train.training_service import presets, settings_for
from lab.widgets.config_form import HIDDEN, shown_value
from lab.words import escaped, sentence

LIKE, SET = "like", "set"
_SEED, _SHOWN, _FORM, _LIKED = "train-seed", "train-shown", "train-form", "train-liked"
KINDS = {"vae": "VAE only", "unet": "U-Net only"}


def run_to_repeat(*, returned: bool) -> Run | None:
    """The run of `?like=RUN`; when the address begins to name it, its settings fill the form. None without one."""
    wanted, liked = st.query_params.get(LIKE, ""), str(st.session_state.get(_LIKED, ""))
    if not wanted and returned and liked:
        st.query_params[LIKE] = wanted = liked
    if not wanted:
        st.session_state[_LIKED] = ""
        return None
    try:
        run = open_store().get(wanted)
    except LabError as error:
        st.warning(f"{sentence(error)}. The form starts from the preset instead.")
        st.session_state[_LIKED] = ""
        st.query_params.pop(LIKE, None)
        return None
    if wanted != liked:
        preset = run.info.preset if run.info.preset in presets() else presets()[0]
        changed = {name: new for name, _, new in differences(settings_for(preset, {}), run.settings)}
        st.session_state["card-preset"] = preset
        st.session_state["card-data"] = changed.pop("data.name", settings_for(preset, {}).data.name)
        st.session_state["what"] = KINDS.get(run.info.kind, "VAE, then U-Net")
        if run.info.kind == "unet" and run.info.parents:
            st.session_state["repeat-vae"] = run.info.parents[0]
        _begin({name: value for name, value in changed.items() if not name.startswith(HIDDEN)})
        st.session_state[_SHOWN] = tuple(st.query_params.get_all(SET))
    st.session_state[_LIKED] = wanted
    return run


def forget_run() -> None:
    """Start from the preset again, without the settings of a run."""
    st.query_params.pop(LIKE, None)
    st.session_state[_LIKED] = ""
    _begin({})


def remembered(*, returned: bool) -> tuple[dict[str, Any], str]:
    """(settings that the form begins with, by dotted name; what tells its widgets from those of an earlier form).

    They come from the `set` parameters of the address, as in `?set=train_vae.steps=40&set=seed=1`. returned: the
    person comes back to the page, so an address without them asks for nothing.
    """
    wanted = tuple(st.query_params.get_all(SET))
    if wanted != st.session_state.get(_SHOWN, ()) and (wanted or not returned):
        known, found = {name for name, _ in field_rows()}, {}
        for text in wanted:
            try:
                name, value = parse_override(text)
                if name not in known or name.startswith(HIDDEN):
                    raise LabError(f"{name} is not a setting of this form")
                found[name] = tuple(value) if isinstance(value, list) else value
            except LabError as error:
                st.warning(f"The link's setting {escaped(text, 80)} was ignored: {sentence(error)}.")
        _begin(found)
        st.session_state[_SHOWN] = wanted
    number = int(st.session_state.get(_FORM, 0))
    return dict(st.session_state.get(_SEED, {})), f"{number}." if number else ""


def remember(changes: Mapping[str, Any]) -> None:
    """Put what differs from the preset into the address, so that a link, a reload and a return show the same form."""
    words = [f"{name}={_text(value)}" for name, value in changes.items() if name != "data.name"]
    if words != st.query_params.get_all(SET):
        if words:
            st.query_params[SET] = words
        else:
            st.query_params.pop(SET, None)
    st.session_state[_SHOWN] = tuple(words)


def _begin(settings: dict[str, Any]) -> None:
    """A form with these settings: new widgets, as the old ones keep what was typed."""
    st.session_state[_SEED] = settings
    st.session_state[_FORM] = int(st.session_state.get(_FORM, 0)) + 1


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{shown_value(value)}]" if isinstance(value, tuple) else str(value)
