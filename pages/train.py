"""Train: what to start, with which settings, and what it will cost."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st
from pydantic.fields import FieldInfo

from core.compute.questions import CHECK_READY
from core.config.load import differences, get_value
from core.config.schema import Settings, field_rows
from core.errors import LabError
from core.runs.kinds import trained_by
from core.weighing import Weighed
from core.words import ago, count, duration, size
from lab.frame.problems import problems_shown
from lab.frame.start_button import press_token, start_label
from lab.frame.state import go_to, who
from lab.services.computing import warm
from lab.services.runs import RunView, list_views
from lab.train.training_service import (
    PRESET_WORDS,
    Cost,
    measure,
    presets,
    settings_for,
    start,
    weigh,
    with_vae_of,
)
from lab.widgets.config_form import changed_settings, setting_widget, shown_value
from lab.words import escaped, plain, sentence

CHOICES: dict[str, tuple[str, str]] = {
    "VAE, then U-Net": ("all", "Everything from nothing to digits, one after the other."),
    "VAE only": ("vae", "Learns the latents. Look at them before you spend time on a U-Net."),
    "U-Net only": ("unet", "Learns to denoise the latents of a VAE that is finished; data and VAE settings are its."),
}
STARTED = "train-started"
FITS = {"fits": "fits", "waits": "waits for room", "never": "never fits"}
FREQUENT = {"data.name": "data set", "train_vae.steps": "VAE steps", "train_unet.steps": "U-Net steps"}
SECTIONS: dict[str, frozenset[str]] = {
    "all": frozenset(),
    "vae": frozenset({"train_unet", "unet", "diffusion", "sampling"}),
    "unet": frozenset({"data", "vae", "train_vae"}),
}


def choose_vae() -> RunView | None:
    """The finished VAE run that the U-Net shall use, or None when there is none."""
    vaes = {view.id: view for view in list_views() if view.run.kind.vae == "own" and view.state == "finished"}
    if not vaes:
        st.info("No finished VAE yet. Choose *VAE, then U-Net* to train both.", icon=":material/info:")
        return None
    names = {
        run_id: plain(f"{view.title} · {view.data_name} · {ago(view.run.info.created_at)}")
        for run_id, view in vaes.items()
    }
    return vaes[st.selectbox("VAE", list(names), format_func=names.__getitem__, key="vae", bind="query-params")]


def choose_preset() -> str:
    """One card a preset; returns the chosen one."""
    chosen = st.session_state.setdefault("preset", presets()[0])
    for column, preset in zip(st.columns(len(presets())), presets(), strict=True):
        title, words = PRESET_WORDS.get(preset, (preset.capitalize(), ""))
        with column.container(border=True, height="stretch", vertical_alignment="distribute"):
            st.markdown(f"##### {escaped(title)}\n:gray[{words}]")
            if preset == chosen:
                st.markdown(":blue-badge[:material/check: Chosen]")
            elif st.button("Choose", key=f"preset-{preset}"):
                st.session_state["preset"] = preset
                st.rerun()
    return str(chosen)


def frequent_settings(kind: str, base: Settings, preset: str) -> tuple[dict[str, object], str]:
    """(what differs from the preset among the settings most people change, the run's name)."""
    rows: list[tuple[str, FieldInfo]] = [
        (name, info) for name, info in field_rows() if name in FREQUENT and name.split(".")[0] not in SECTIONS[kind]
    ]
    changes = {}
    *cells, last = st.columns(len(rows) + 1)
    for cell, (name, info) in zip(cells, rows, strict=True):
        default = get_value(base, name)
        with cell:
            value = setting_widget(name, info, default, key=f"{preset}/frequent/{name}", label=FREQUENT[name])
        if value != default:
            changes[name] = value
    run_name = last.text_input("run name", placeholder="optional", max_chars=80, key="name", persist_state="session")
    return changes, run_name


def cost(settings: Settings, kind: str, weights: list[Weighed]) -> Callable[[], None] | None:
    """Steps, pictures, parameters and memory at once; returns how to measure time, or None when that was done."""
    costs = st.session_state.setdefault("costs", {})
    key = (hash(settings), kind)
    parts = [part.name for part in trained_by(kind)]
    rows = costs.get(key) or [Cost.planned(settings, part) for part in parts]
    known = rows[0].seconds is not None
    frame = pd.DataFrame(
        {
            "network": [row.network for row in rows],
            "steps": [count(row.steps) for row in rows],
            "pictures seen": [count(row.pictures) for row in rows],
            "parameters": [f"{each.need.parameters / 1e6:,.2f} M" for each in weights],
            "memory": [f"{size(each.need.gpu or each.need.host)}, {FITS[each.state]}" for each in weights],
            **({"pictures a second": [count(row.images_per_s) for row in rows]} if known else {}),
            **({"time here": [duration(row.seconds) for row in rows]} if known else {}),
        }
    )
    st.table(frame, border="horizontal", hide_index=True)
    if known:
        total = sum(row.seconds or 0 for row in rows)
        st.caption(
            f"About {duration(total)} of training on {rows[0].device}; preparing, previews and checks come on top."
        )
        return None

    def measure_now() -> None:
        with st.spinner("Running a few real steps", show_time=True):
            costs[key] = [measure(settings, part) for part in parts]
        st.rerun()

    return measure_now


def weighed_cost(settings: Settings, kind: str) -> tuple[Callable[[], None] | None, str]:
    """(how to measure the time, why this machine can never train these networks); one of them is empty."""
    weights = weigh(settings, kind)
    measure_now = cost(settings, kind, weights)
    try:
        for each in weights:
            each.refuse()
    except LabError as error:
        return None, sentence(error)
    return measure_now, ""


def show_differences(base: Settings, settings: Settings, preset: str) -> None:
    """What was changed, as a table of before and after."""
    rows = differences(base, settings)
    if rows:
        st.subheader(f"Different from {preset}")
        frame = pd.DataFrame(
            {
                "setting": [name for name, _, _ in rows],
                preset: [plain(shown_value(old)) for _, old, _ in rows],
                "here": [plain(shown_value(new)) for _, _, new in rows],
            }
        )
        st.dataframe(frame, hide_index=True)


def page() -> None:
    """The whole form; the cost and the start button stand above the fold of all settings."""
    started = st.session_state.pop(STARTED, "")
    if started:
        go_to("runs", started)
    warm(CHECK_READY)
    st.title("Train")
    choice = st.segmented_control(
        "What",
        list(CHOICES),
        default=next(iter(CHOICES)),
        required=True,
        key="what",
        bind="query-params",
        label_visibility="collapsed",
    )
    kind, words = CHOICES[str(choice)]
    st.caption(words)
    needs_vae = bool(trained_by(kind)[0].parent)
    vae = choose_vae() if needs_vae else None
    if needs_vae and vae is None:
        return
    preset = choose_preset()
    base = settings_for(preset, {})
    changes, run_name = frequent_settings(kind, base, preset)
    summary = st.container()
    changes |= changed_settings(base, key=preset, hidden=SECTIONS[kind], skip=FREQUENT)
    problem, settings = "", base
    try:
        settings = settings_for(preset, changes)
        settings = with_vae_of(settings, vae.run) if vae else settings
    except LabError as error:
        problem = sentence(error)
    with summary:
        measure_now = None
        if not problem:
            measure_now, problem = weighed_cost(settings, kind)
        if problem:
            st.error(problem, icon=":material/error:")
        with st.container(horizontal=True):
            label, turn = start_label(settings, trained_by(kind)[0].name)
            icon = ":material/schedule:" if turn else ":material/play_arrow:"
            pressed = st.button(label, type="primary", disabled=bool(problem), icon=icon, key="start")
            words = "Runs a few real steps here, about five seconds"
            wanted = measure_now and st.button("Measure time", icon=":material/timer:", help=words)
        if turn:
            st.caption(turn)
        token = press_token(pressed)
        with problems_shown():
            if wanted and measure_now:
                measure_now()
            if pressed:
                with st.spinner("Checking the data set and starting", show_time=True):
                    vae_run = vae.id if vae else ""
                    ids = start(kind, settings, preset=preset, name=run_name, owner=who(), vae_run=vae_run, token=token)
                # in a run of its own: a start takes seconds, and what this page's live parts asked for meanwhile would
                # be answered on the next page
                st.session_state[STARTED] = ids[0]
                st.rerun()
    if not problem:
        show_differences(base, settings, preset)


with problems_shown():
    page()
