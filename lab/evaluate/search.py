"""Better guidance for a run: the search that finds it, and what it found."""

from __future__ import annotations

import html

import streamlit as st

from core.comparison.tuning import IMAGES, Tuning, in_words, list_tunings, passes_of, rows_of, sizes_of
from core.errors import LabError
from core.jobs import tuning_job
from core.words import ago, count, duration
from lab.frame.live_fragment import live_until
from lab.frame.state import page_file, who
from lab.services import evaluations, run_actions, runs
from lab.services.generate_link import link_to_generate
from lab.services.runs import RunView, children, open_store
from lab.widgets.run_card import progress
from lab.words import escaped, sentence

TICK_S = 3.0


def show_search(view: RunView) -> None:
    """What the newest search found, the one that works now, or the button that starts it."""
    st.subheader("Better guidance")
    found, problems = list_tunings(view.run)
    for problem in problems:
        st.caption(escaped(problem, 300))
    if found:
        _found(view, found[0])
    searches = [each for each in children(view.id) if each.run.info.kind == tuning_job.KIND]
    active = next((each for each in searches if each.is_active), None)
    if active is not None:
        live_until(
            lambda: not runs.view_of(active.id).is_active, lambda: progress(runs.view_of(active.id)), every_s=TICK_S
        )
        return
    if not found:
        st.caption(
            "Searches the guidance scale and the noise levels at which it acts: a lower FD-judge at no lost recall. "
            f"{_what_it_takes(view)}"
        )
    if st.button("Search again" if found else "Search", icon=":material/tune:", key="search-start"):
        try:
            token = f"search-{view.id}-{len(searches)}"
            tuning_job.start_tuning(open_store(), view.run, owner=who(), token=token)
        except LabError as error:
            st.error(sentence(error), icon=":material/error:")
            return
        run_actions.look_again()
        st.rerun()


def _what_it_takes(view: RunView) -> str:
    speed = evaluations.seconds_per_pass(view.run)
    if speed is None:
        return "It waits in the queue as a training does."
    seconds = passes_of(view.run.settings.sampling, sizes_of(IMAGES)) * speed
    return f"Takes about {duration(seconds)}, estimated from the speed of the training."


def _found(view: RunView, found: Tuning) -> None:
    st.markdown(f"**{escaped(in_words(found), 400)}**")
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(own)}</td><td>{html.escape(new)}</td></tr>'
        for name, own, new in rows_of(found)
    )
    head = '<thead><tr><th scope="col"></th><th scope="col">This run</th><th scope="col">Found</th></tr></thead>'
    st.html(f'<table class="lab-measures">{head}<tbody>{rows}</tbody></table>')
    tried = len({each.settings for each in found.tried})
    st.caption(
        f"{tried} settings tried on one seed, stated on {count(found.found.count)} images of another. "
        f"Step {count(found.step)}, judge {found.judge_hash[:12]}, floor {found.fd_floor:.3g}, {ago(found.created_at)}."
    )
    if found.is_new:
        query = link_to_generate(view.id, found.found.settings)
        st.page_link(page_file("generate"), label="Generate with these", icon=":material/brush:", query_params=query)
