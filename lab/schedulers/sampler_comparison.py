"""The Samplers view: which sampler, in how many steps, is good enough? Comparisons of a trained run, old and new."""

from __future__ import annotations

import streamlit as st

from core.comparison.comparison_results import Comparison, best_of, cheapest_as_good, finding
from core.errors import LabError, RunNotFound
from lab.frame.confirm import confirm_if_not_mine
from lab.frame.live_fragment import live_part
from lab.frame.problems import problems_shown
from lab.frame.state import page_file, selected_run, who
from lab.schedulers import comparison_service
from lab.schedulers.comparison_form import comparison_form
from lab.schedulers.comparison_matrix import comparison_matrix
from lab.schedulers.comparison_service import Listed
from lab.services import run_actions
from lab.services.generate_link import link_to_generate
from lab.services.runs import RunView, trained_unets
from lab.widgets.run_card import headline, progress
from lab.widgets.url_selectbox import pick, pick_model
from lab.words import escaped, exactly, plain, sentence

CHOSEN = "comparison"
TICK_S = 2.0


def sampler_comparison() -> None:
    """Choose a run, see what was compared on it, start another comparison."""
    st.markdown(
        "Which sampler reaches good images in the fewest steps? Every cell uses the same classes and the "
        "same noise, so only the settings you compare differ."
    )
    views = trained_unets()
    if not views:
        st.markdown("No trained U-Net yet. Train one to compare samplers on it.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
        return
    left, right = st.columns([2, 3])
    with left:
        linked = selected_run()
        view = pick_model(views)
        if view.id != linked:  # the comparison in the link belongs to the other model
            st.query_params.pop(CHOSEN, None)
    listed = comparison_service.of_run(view.run)
    with right:
        chosen = _choose_comparison(listed)
    if chosen is not None:
        with problems_shown():
            _shown(view, chosen)
    box = f"new-comparison-{chosen.id if chosen else ''}"  # closed again once it has started
    with st.expander("New comparison", icon=":material/add:", expanded=chosen is None, key=box):
        started = comparison_form(view.run)
    if started:
        st.query_params[CHOSEN] = started
        st.rerun()


def _choose_comparison(listed: list[Listed]) -> Listed | None:
    """The comparison that the link names, else the newest; the URL remembers it."""
    if not listed:
        return None
    by_id = {each.id: each for each in listed}
    names = {each.id: _name(each) for each in listed}
    wanted = st.query_params.get(CHOSEN, "")
    if wanted and wanted not in by_id:
        st.warning(f"Comparison {escaped(wanted)} is not stored with this model. Showing another.")
    return by_id[pick(f"Comparison ({len(listed)})" if len(listed) > 1 else "Comparison", names, CHOSEN)]


def _name(listed: Listed) -> str:
    if listed.job is None:
        return plain(f"{listed.id} · its job was deleted, its results remain")
    job = listed.job
    return plain(f"{job.title} · {job.run.info.owner} · {exactly(job.run.info.created_at)}")  # the same at each look


def _shown(view: RunView, chosen: Listed) -> None:
    """What can be done with it, how far it is, and what it found; alive while it draws."""
    _actions(view, chosen)
    state = chosen.job.state if chosen.job else ""
    live = chosen.is_active
    live_part(every_s=TICK_S if live else None)(_live)(view, chosen.id, state)


def _live(view: RunView, comparison_id: str, known_state: str) -> None:
    """State and result; draws the whole page again when the state is another one, as the buttons follow it."""
    with problems_shown():
        chosen = next((each for each in comparison_service.of_run(view.run) if each.id == comparison_id), None)
        if chosen is None or (chosen.job.state if chosen.job else "") != known_state:
            st.rerun()
        if chosen.job is not None and chosen.job.state != "finished":
            headline(chosen.job)
            if chosen.job.state != "queued":
                progress(chosen.job)
        try:
            found = comparison_service.read(view.run, comparison_id)
        except RunNotFound:
            if not chosen.is_active:
                st.markdown("It ended before it generated an image.")
            return
        _result(view, found)


def _result(view: RunView, found: Comparison) -> None:
    words = finding(found)
    if words:
        st.markdown(f"##### {escaped(words, 500)}")
    best = cheapest_as_good(found) or best_of(found)
    if best is not None:
        label = f"Generate with {escaped(found.words(best), 80)}"
        page, query = page_file("generate"), link_to_generate(view.id, best.settings)
        st.page_link(page, label=label, icon=":material/brush:", query_params=query)
    for problem in found.problems:
        st.caption(escaped(problem))
    if not found.drawn and found.reference is None:
        first = "The reference comes first and takes longest. Then the" if found.request.with_reference else "The"
        st.caption(f"{first} cells appear one by one.")
    comparison_matrix(found)


def _actions(view: RunView, chosen: Listed) -> None:
    """Stop or resume, download, delete."""
    job, owner = chosen.job, chosen.owner or view.run.info.owner
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        if job is not None and job.is_active and job.state != "stopping":
            if st.button("Cancel", icon=":material/stop:", help="Stops the comparison; finished cells stay"):
                confirm_if_not_mine(owner, "stop", lambda: _stop(chosen), what="a comparison of")
        elif (
            job is not None
            and job.state in ("stopped", "failed", "interrupted")
            and st.button(
                "Resume", type="primary", icon=":material/play_arrow:", help="Finished cells are not repeated"
            )
        ):
            confirm_if_not_mine(owner, "resume", lambda: _resume(chosen), what="a comparison of")
        if chosen.kept:
            _download(view, chosen)
        if not chosen.is_active:
            with st.popover("", icon=":material/more_vert:", help="Delete"):
                st.markdown("This permanently deletes the images and figures of this comparison for everyone.")
                if st.button("Delete permanently", icon=":material/delete:", type="primary", key="delete-comparison"):
                    confirm_if_not_mine(owner, "delete", lambda: _delete(view, chosen), what="a comparison of")


def _download(view: RunView, chosen: Listed) -> None:
    try:
        found = comparison_service.read(view.run, chosen.id)
    except LabError as error:
        st.caption(sentence(error))
        return
    if found.results:
        data = comparison_service.as_csv(found)
        st.download_button("CSV", data, f"{chosen.id}.csv", "text/csv", icon=":material/download:", on_click="ignore")


def _stop(chosen: Listed) -> None:
    run_actions.stop(chosen.id, who())
    st.toast("Stopping; finished cells are stored")
    st.rerun()


def _resume(chosen: Listed) -> None:
    run_actions.resume(chosen.id, who())
    st.toast("Queued: it resumes with the missing cells")
    st.rerun()


def _delete(view: RunView, chosen: Listed) -> None:
    comparison_service.delete(view.run, chosen, who())
    st.query_params.pop(CHOSEN, None)
    st.rerun()
