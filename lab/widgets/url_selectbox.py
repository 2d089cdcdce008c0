"""Choosing by id, kept in the URL: what a colleague's link names is what they see, whatever it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import streamlit as st

from core.model_folders.model_facts import PREFIX
from core.model_folders.sources import ModelSource
from core.runs.listing import newest_step
from core.words import ago, count
from lab.services.runs import RunView
from lab.words import escaped, plain

RUN = "run"
Checkpoint = TypeVar("Checkpoint")


def pick(label: str, names: Mapping[str, str], param: str, help: str | None = None) -> str:
    """One key of `names` (key → what people read), chosen in a box and named by `param` of the URL; else the first.

    Streamlit's own bind="query-params" would put the words into the URL instead of the key.
    """
    options, state = list(names), f"pick-{param}"
    wanted = st.query_params.get(param, "")
    if _another_link(param, wanted) or st.session_state.get(state) not in names:
        st.session_state[state] = wanted if wanted in names else options[0]
    chosen = str(st.selectbox(label, options, format_func=lambda name: names.get(name, name), key=state, help=help))
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
    return by_id[
        pick_or_tell(label, names, RUN, "{} cannot generate: it is not a U-Net run with a checkpoint. Showing another.")
    ]


def pick_source(sources: Sequence[ModelSource], label: str = "Model") -> ModelSource:
    """A run or a model folder to draw with. `sources` must not be empty."""
    by_key = {source.id: source for source in sources}
    made = {"run": "{}", "demo": "comes with the lab", "model": "imported as {}"}
    names = {
        key: plain(f"{source.title}{_at(source.steps[0])} · {made[source.origin].format(_made(source))}")
        for key, source in by_key.items()
    }
    refusal = "{} cannot generate: it is neither a U-Net run with a checkpoint nor a model. Showing another."
    return by_key[pick_or_tell(label, names, RUN, refusal)]


def pick_checkpoint(
    label: str,
    runs: Mapping[str, str],
    params: tuple[str, str],
    checkpoints_of: Callable[[str], Mapping[str, Checkpoint]],
    in_words: Callable[[Checkpoint], str],
    *,
    refusal: str,
    help: str,
) -> tuple[str, Checkpoint] | None:
    """A run and one of its checkpoints beside it, both in the URL as `params`.

    checkpoints_of(run id): key in the URL → checkpoint, the default first; in_words: what people read. refusal: as in
    `pick_or_tell`. None where the run is '' (nothing chosen), or has lost its checkpoints since the list was made.
    """
    run_param, param = params
    wanted = st.query_params.get(run_param, "")
    cells = st.columns([3, 2])
    with cells[0]:
        run_id = pick_or_tell(label, runs, run_param, refusal)
    if wanted in runs and run_id != wanted:  # just chosen: what the link says is of the other run
        st.query_params.pop(param, None)
        st.session_state.pop(_refused(param), None)
    found = checkpoints_of(run_id) if run_id else {}
    if not found:
        st.query_params.pop(param, None)
        if run_id:
            st.warning("Its checkpoints are gone.")
        return None
    names = {key: in_words(checkpoint) for key, checkpoint in found.items()}
    with cells[1]:
        key = pick_or_tell("Checkpoint", names, param, "Checkpoint {} is not stored. Showing another.", help)
    return run_id, found[key]


def pick_or_tell(label: str, names: Mapping[str, str], param: str, refusal: str, help: str | None = None) -> str:
    """`pick`; what the link names and `names` lack is told until another choice is made, however often the page is
    drawn meanwhile. refusal: the sentence, {} stands for what was asked."""
    wanted, kept = st.query_params.get(param, ""), _refused(param)
    told = st.container()
    chosen = pick(label, names, param, help)
    if wanted not in names:
        st.session_state[kept] = (wanted, chosen)
    refused, instead = st.session_state.get(kept, ("", ""))
    if refused and instead == chosen:
        told.warning(refusal.format(escaped(refused, 60)))
    else:
        st.session_state.pop(kept, None)
    return chosen


def _refused(param: str) -> str:
    return f"pick-{param}-refused"


def _at(step: int) -> str:
    """Of how long a plain folder was trained nobody knows: it says step 0."""
    return f" · step {count(step)}" if step else ""


def _made(source: ModelSource) -> str:
    return source.id.removeprefix(PREFIX) if source.origin == "model" else ago(source.created_at)


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
