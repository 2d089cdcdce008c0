"""Train: what to start, with which settings, and what it will cost."""

from __future__ import annotations

import streamlit as st
from pydantic.fields import FieldInfo

from core.config.load import differences, get_value
from core.config.schema import Settings, field_rows
from core.errors import LabError
from lab.components.config_form import changed_settings, setting_widget
from lab.services.runs import RunView, list_views, sentence
from lab.services.training import (
    PRESET_WORDS,
    TrainKind,
    measure,
    presets,
    settings_for,
    start,
    steps_and_pictures,
    with_vae_of,
)
from lab.state import go_to
from lab.text import ago, count, duration, escaped

CHOICES: dict[str, tuple[TrainKind, str]] = {
    "VAE, then U-Net": ("all", "Everything from nothing to digits, one after the other."),
    "VAE only": ("vae", "Learns the latents. Look at them before you spend time on a U-Net."),
    "U-Net only": ("unet", "Learns to denoise the latents of a VAE that is finished."),
}
FREQUENT = {"data.name": "data set", "train_vae.steps": "VAE steps", "train_unet.steps": "U-Net steps"}


def finished_vaes() -> list[RunView]:
    """VAE runs a U-Net can use."""
    return [view for view in list_views() if view.run.info.kind == "vae" and view.state == "finished"]


def choose_preset() -> str:
    """One card a preset; returns the chosen one."""
    chosen = st.session_state.setdefault("preset", presets()[0])
    for column, preset in zip(st.columns(len(presets())), presets(), strict=True):
        title, words = PRESET_WORDS.get(preset, (preset.capitalize(), ""))
        with column.container(border=True, height="stretch"):
            st.markdown(f"##### {escaped(title)}")
            st.caption(words)
            if preset == chosen:
                st.markdown(":blue-badge[:material/check: chosen]")
            elif st.button("Choose", key=f"preset-{preset}"):
                st.session_state["preset"] = preset
                st.rerun()
    return str(chosen)


def cost(settings: Settings, kind: TrainKind) -> None:
    """Steps and pictures at once; parameters and time from a few real steps on demand."""
    st.subheader("What it will cost")
    parts = steps_and_pictures(settings, kind)
    key = f"cost/{hash(settings)}/{kind}"
    if st.button("Measure on this machine", icon=":material/timer:", help="Runs a few real steps, about five seconds"):
        try:
            with st.spinner("Running a few real steps"):
                st.session_state[key] = [measure(settings, "vae" if name == "VAE" else "unet") for name, _, _ in parts]
        except LabError as error:
            st.error(sentence(error))
    found = st.session_state.get(key)
    for index, (name, steps, pictures) in enumerate(parts):
        cells = st.columns(4)
        cells[0].metric(f"{name} steps", count(steps))
        cells[1].metric("pictures seen", count(pictures))
        if found:
            parameters, speed, seconds, device = found[index]
            cells[2].metric("parameters", f"{parameters / 1e6:.2f} M")
            cells[3].metric("time here", duration(seconds), help=f"{count(speed)} pictures/s on {device}")
    if found:
        total = sum(item[2] for item in found)
        st.caption(f"Together about {duration(total)} of training, and up to a minute for data, previews and checks.")


def page() -> None:
    """The whole form."""
    st.title("Train")
    choice = st.segmented_control("What", list(CHOICES), default=next(iter(CHOICES)), required=True, key="what")
    kind, words = CHOICES[str(choice)]
    st.caption(words)
    vae_run = None
    if kind == "unet":
        vaes = finished_vaes()
        if not vaes:
            st.info("No finished VAE yet. Choose *VAE, then U-Net* to train both.", icon=":material/info:")
            return
        names = {
            view.id: f"{view.title} · {view.run.settings.data.name} · {ago(view.run.info.created_at)}" for view in vaes
        }
        vae_run = st.selectbox("VAE", list(names), format_func=names.__getitem__)

    preset = choose_preset()
    base = settings_for(preset, {})
    st.subheader("Settings")
    changes = {}
    *cells, last = st.columns(len(frequent(kind)) + 1)
    for cell, (name, info) in zip(cells, frequent(kind), strict=True):
        with cell:
            value = setting_widget(
                name, info, get_value(base, name), key=f"{preset}/frequent/{name}", label=FREQUENT[name]
            )
            if value != get_value(base, name):
                changes[name] = value
    run_name = last.text_input("run name", placeholder="optional", max_chars=80)
    shown_sections = {
        "vae": kind != "unet",
        "data": kind != "unet",
        "train_vae": kind != "unet",
        "train_unet": kind != "vae",
    }
    problem = ""
    settings = base
    try:
        changes = {**changed_settings(base, key=preset, only=shown_sections, skip=FREQUENT), **changes}
        settings = settings_for(preset, changes)
        if vae_run:
            settings = with_vae_of(settings, next(view.run for view in finished_vaes() if view.id == vae_run))
    except LabError as error:
        problem = sentence(error)
    if problem:
        st.error(problem, icon=":material/error:")
    else:
        rows = differences(base, settings)
        if rows:
            st.markdown(f"**Different from *{preset}*:** " + ", ".join(f"`{n}` {escaped(str(v))}" for n, _, v in rows))
        cost(settings, kind)
    st.write("")
    if st.button("Start", type="primary", disabled=bool(problem), icon=":material/play_arrow:"):
        try:
            with st.spinner("Checking the data set and starting"):
                ids = start(kind, settings, preset=preset, name=run_name, vae_run=vae_run or "")
        except LabError as error:
            st.error(sentence(error), icon=":material/error:")
        else:
            go_to("runs", ids[0])


def frequent(kind: TrainKind) -> list[tuple[str, FieldInfo]]:
    """The settings that most people change, for this kind of training."""
    unwanted = {"vae": ("train_unet.steps",), "unet": ("data.name", "train_vae.steps"), "all": ()}[kind]
    return [(name, info) for name, info in field_rows() if name in FREQUENT and name not in unwanted]


try:
    page()
except LabError as error:
    st.error(sentence(error))
