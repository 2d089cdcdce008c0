"""How far a stop has come: each stage is ticked only once it was seen."""

from __future__ import annotations

import streamlit as st

from core.values import age_s
from core.words import ago
from lab.services import run_actions
from lab.services.runs import RunView
from lab.words import escaped, exactly

LEAVING_S = 120.0


def is_leaving(view: RunView) -> bool:
    """True for a while after a stop was asked for, until every stage of it was seen."""
    stages = run_actions.stop_stages(view.run)
    if all(stage.done for stage in stages):
        return False
    since_s = age_s(stages[0].at)
    return since_s is not None and since_s < LEAVING_S


def stop_progress(view: RunView) -> None:
    """The stages from the request to the freed machine, in a line; nothing while nobody asked for a stop."""
    stages = run_actions.stop_stages(view.run)
    if not stages:
        return
    waiting = next((place for place, stage in enumerate(stages) if not stage.done), len(stages))
    parts = []
    for place, stage in enumerate(stages):
        when = f" :gray[:small[{escaped(ago(stage.at))}]]" if stage.done and ago(stage.at) else ""
        if stage.done:
            parts.append(f":green[:material/check:] {escaped(stage.words, 120)}{when}")
        elif place == waiting and (view.is_active or is_leaving(view)):
            parts.append(f":orange[:material/hourglass_bottom:] {escaped(stage.words, 120)}")
        else:
            parts.append(f":gray[:material/circle: {escaped(stage.words, 120)}]")
    asked = escaped(exactly(stages[0].at))
    st.markdown(" &nbsp; ".join(parts), help=f"Asked {asked}" if asked else None)
