"""The tab Export of a U-Net run's page: make a folder that others can load, take it home, send it to a hub."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.model_folders import hub
from core.model_folders.exports import list_exports, packed, remove_export, size_of
from core.model_folders.hub import Pushed
from core.model_folders.model_facts import ModelFolderInfo
from core.words import ago, count, size
from lab.frame.confirm import confirm_for_good, confirm_if_not_mine, may_act_on
from lab.frame.live_fragment import live_until
from lab.frame.problems import problems_shown
from lab.frame.state import who
from lab.frame.task_progress import bar, result_once
from lab.runs import run_export_service
from lab.services import background, runs
from lab.services.background import own_key
from lab.services.runs import RunView
from lab.words import escaped, exactly

WEIGHTS = {"ema": "averaged (EMA)", "raw": "as they were last"}
MAX_LICENCE = 60
EXPORTING, PUSHING = "Exporting", "Pushing"
BARS_TICK_S = 0.5


def run_export(view: RunView) -> None:
    """The form, the exports so far, and how the one that runs is getting on."""
    steps = [item.step for item in reversed(runs.checkpoints(view.run))]
    found = list_exports(view.run)
    st.markdown(
        "A folder that diffusers loads without this lab: safetensors weights, a model card with the measured "
        "figures, and example images."
    )
    if not steps:
        st.caption("Available after the first checkpoint.")
        return
    place = st.empty()
    for info in found:
        _line(view, info)
    if may_act_on(view.run.info.owner):
        with st.expander("New export", icon=":material/output:", expanded=not found):
            _form(view, steps, {info.name for info in found})
    with place.container():
        _show(view)


def _form(view: RunView, steps: list[int], taken: set[str]) -> None:
    left, middle, right = st.columns(3)
    key = f"export-{view.id}"
    step = left.selectbox(
        "Checkpoint",
        steps,
        format_func=lambda step: f"step {count(step)}",
        key=f"{key}/step",
        help="The card shows the figures of an evaluation of this very checkpoint, where there is one.",
    )
    weights = middle.selectbox(
        "Weights",
        list(WEIGHTS),
        format_func=WEIGHTS.__getitem__,
        key=f"{key}/weights",
        help="Averaged weights generate better images, except very early in training. Only they are evaluated.",
    )
    sampler = right.selectbox(
        "Scheduler",
        ["", *run_export_service.schedulers_for(view.run.settings)],
        format_func=lambda name: name or "the run's sampler",
        key=f"{key}/sampler",
        help="The scheduler in the folder. The list holds those that diffusers' pipeline starts with the right noise.",
    )
    proposed = run_export_service.suggested_name(view.title, step, weights, taken)
    name = left.text_input("Folder name", proposed, max_chars=60, key=f"{key}/name/{proposed}")
    licence = middle.text_input("License of the weights", "mit", max_chars=MAX_LICENCE, key=f"{key}/licence")
    with_judge = right.checkbox(
        "Include the judge",
        key=f"{key}/judge",
        help="Adds about 1 MB. Class probabilities then work without the dataset. A missing judge is trained first.",
    )
    if st.button("Export", icon=":material/output:", type="primary", key=f"{key}/go"):
        with problems_shown():
            run_export_service.begin_export(
                view.run,
                (name or "").strip(),
                by=who(),
                step=step,
                weights="raw" if weights == "raw" else "ema",
                licence=(licence or "").strip() or "not stated",
                sampler=sampler,
                with_judge=with_judge,
            )
            st.rerun()


def _line(view: RunView, info: ModelFolderInfo) -> None:
    """One export: what it is, and what can be done with it."""
    key, owner = f"export-{view.id}-{info.name}", view.run.info.owner
    figures = info.facts.report or {}
    accuracy = figures.get("class_accuracy")
    words = f", {100 * accuracy:.1f} % of the right class" if isinstance(accuracy, float) else ", not evaluated"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(
            f"**{escaped(info.name, 60)}** · step {count(info.facts.step)}{escaped(words)} · "
            f"{size(size_of(info))} · {escaped(ago(info.facts.created_at))}",
            help=f"{exactly(info.facts.created_at)} In the run's folder: exports/{info.name}",
            width="stretch",
        )
        st.download_button(
            "Download",
            partial(packed, info),
            f"{info.name}.zip",
            "application/zip",
            icon=":material/download:",
            on_click="ignore",
            key=f"{key}/zip",
            help="A zip that 'Imported models' on Generate accepts",
        )
        if not may_act_on(owner):
            return
        with st.popover("Push", icon=":material/cloud_upload:", help="To a model hub"):
            _push(view, info, key)
        if st.button("", icon=":material/delete:", type="tertiary", key=f"{key}/remove", help="Remove this export"):
            confirm_for_good(
                owner, "remove", lambda: remove_export(view.run, info.name, by=who()), what="an export", name=info.name
            )


def _push(view: RunView, info: ModelFolderInfo, key: str) -> None:
    """Name and button where the hub's credentials are, what to do where they are not."""
    if not hub.has_credentials():
        st.markdown(
            f"This machine has no credentials for **{escaped(hub.host())}**. To push, log in on it with `hf auth "
            "login`, or set `HF_TOKEN` for the lab's server."
        )
        return
    st.markdown(f"Into a new repository on **{escaped(hub.host())}**, with this machine's credentials.")
    repo_id = st.text_input("Repository", placeholder="namespace/name", max_chars=hub.MAX_REPO_ID, key=f"{key}/repo")
    private = st.checkbox("Private", value=True, key=f"{key}/private", help="If off, everyone can see it.")
    if st.button("Push", type="primary", icon=":material/cloud_upload:", key=f"{key}/push"):
        with problems_shown():
            hub.check_repo_id(repo_id or "", "Repository")
            confirm_if_not_mine(
                view.run.info.owner,
                "push",
                lambda: _begin_push(view, info, repo_id or "", private),
                what="a model of",
            )


def _begin_push(view: RunView, info: ModelFolderInfo, repo_id: str, private: bool) -> None:
    run_export_service.begin_push(view.run, info, repo_id, private=private, by=who())
    st.rerun()


def _show(view: RunView) -> None:
    """A bar while this person makes or sends something; then what came of it."""
    export, push = (
        own_key(what(view.id), who()) for what in (run_export_service.export_of, run_export_service.push_of)
    )
    going = {key: words for key, words in ((export, EXPORTING), (push, PUSHING)) if _is_under_way(key)}
    if going:
        live_until(lambda: not all(map(_is_under_way, going)), lambda: _bars(going), every_s=BARS_TICK_S)
    made = None if export in going else result_once(export, EXPORTING)
    if made is not None:
        st.toast(f"{escaped(made.name)} is exported", icon=":material/check:")
        st.rerun()
    pushed: Pushed | None = None if push in going else result_once(push, PUSHING)
    if pushed is not None:
        seen = "private" if pushed.is_private else "everyone can see it"
        st.success(f"Pushed to [{escaped(pushed.url, 200)}]({pushed.url}) ({seen}).", icon=":material/check:")


def _is_under_way(key: str) -> bool:
    work = background.find(key)
    return work is not None and not work.is_done


def _bars(going: dict[str, str]) -> None:
    """How far these works are, without waiting for them: dialogs and the page's live parts go on."""
    for key, words in going.items():
        if work := background.find(key):
            bar(work, words, can_stop=words != PUSHING)  # a push cannot be cancelled
