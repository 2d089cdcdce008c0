"""Choosing by id, kept in the URL: what a colleague's link names is what they see, whatever it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from core.sampling.model_facts import PREFIX
from lab.services.model_sources import ModelSource
from lab.services.models import newest_step
from lab.services.runs import RunView
from lab.text import ago, count, escaped, plain

RUN = "run"


def pick(label: str, names: Mapping[str, str], param: str, help: str | None = None) -> str:
    """One key of `names` (key → what people read), chosen in a box and named by `param` of the URL; else the first.

    Streamlit's own bind="query-params" would put the words into the URL instead of the key.
    """
    options, state = list(names), f"pick-{param}"
    wanted = st.query_params.get(param, "")
    if _another_link(param, wanted) or st.session_state.get(state) not in names:
        st.session_state[state] = wanted if wanted in names else options[0]
    chosen = str(
        st.selectbox(label, options, format_func=lambda name: names.get(name, name), key=state, help=help)
    )  # fmt: skip
    _tell(param, chosen)
    return chosen


def pick_many(label: str, names: Mapping[str, str], param: str, default: Sequence[str]) -> list[str]:
    """Any keys of `names`, as pills, in the URL with commas between."""
    state = f"pick-{param}"
    wanted = st.query_params.get(param, "")
    if _another_link(param, wanted) or state not in st.session_state:
        asked = [name for name in dict.fromkeys(wanted.split(",")) if name in names]
        st.session_state[state] = asked or list(default)
    st.session_state[state] = [name for name in st.session_state[state] if name in names]
    chosen = st.pills(
        label, list(names), selection_mode="multi", key=state, format_func=lambda name: escaped(names[name], 60)
    )
    _tell(param, ",".join(chosen))
    return list(chosen)


def pick_model(views: Sequence[RunView], label: str = "Model") -> RunView:
    """A trained U-Net run to draw with, newest first. `views` must not be empty."""
    by_id = {view.id: view for view in views}
    names = {
        view.id: plain(f"{view.title} · step {count(newest_step(view.run))} · {ago(view.run.info.created_at)}")
        for view in views
    }
    return by_id[_pick_or_warn(label, names, "it is not a U-Net run with a checkpoint")]


def pick_source(sources: Sequence[ModelSource], label: str = "Model") -> ModelSource:
    """A run or a model folder to draw with. `sources` must not be empty."""
    by_key = {source.key: source for source in sources}
    made = {"run": "{}", "demo": "comes with the lab", "model": "imported as {}"}
    names = {
        key: plain(f"{source.title} · step {count(source.steps[0])} · {made[source.kind].format(_made(source))}")
        for key, source in by_key.items()
    }
    return by_key[_pick_or_warn(label, names, "it is no U-Net run with a checkpoint and no model")]


def _pick_or_warn(label: str, names: Mapping[str, str], why_not: str) -> str:
    """`pick` of the link's run; one that is not in `names` is told until another choice is made, however often the
    page is drawn meanwhile."""
    wanted, kept = st.query_params.get(RUN, ""), f"pick-{RUN}-refused"
    told = st.container()
    chosen = pick(label, names, RUN)
    if wanted not in names:
        st.session_state[kept] = (wanted, chosen)
    refused, instead = st.session_state.get(kept, ("", ""))
    if refused and instead == chosen:
        told.warning(f"{escaped(refused)} cannot draw: {why_not}. Showing another.")
    else:
        st.session_state.pop(kept, None)
    return chosen


def _made(source: ModelSource) -> str:
    return source.key.removeprefix(PREFIX) if source.kind == "model" else ago(source.created_at)


def _another_link(param: str, wanted: str) -> bool:
    """True when the URL was changed by somebody else than this box: a link was opened, or the browser went back."""
    return wanted != st.session_state.get(f"pick-{param}-told")


def _tell(param: str, chosen: str) -> None:
    """Put the choice into the URL; nothing chosen is not mentioned there."""
    if chosen != st.query_params.get(param, ""):
        if chosen:
            st.query_params[param] = chosen
        else:
            st.query_params.pop(param, None)
    st.session_state[f"pick-{param}-told"] = chosen
