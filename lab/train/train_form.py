"""The form of Train: what to start, with which settings, and what it will cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import streamlit as st
from pydantic.fields import FieldInfo

from core.compute.questions import CHECK_READY
from core.config.load import differences, get_value
from core.config.schema import Settings, field_rows
from core.errors import LabError
from core.jobs.evaluation_job import LEVELS
from core.machine.torch_gpus import usable_gpus
from core.runs.kinds import trained_by
from core.weighing import Weighed
from core.words import ago, count, duration, size
from lab.frame.problems import problems_shown
from lab.frame.start_button import press_token, start_label
from lab.frame.state import go_to, who
from lab.services.computing import warm
from lab.services.evaluations import share_of_training
from lab.services.machine import own_disk_use
from lab.services.runs import RunView, list_views
from lab.train import training_service
from lab.train.dataset_cards import choose_dataset
from lab.train.form_memory import forget_run, remember, remembered, run_to_repeat
from lab.train.request_form import request_form
from lab.train.training_service import (
    PRESET_WORDS,
    Cost,
    disk_bytes,
    measured_before,
    presets,
    settings_for,
    start,
    weigh,
    with_vae_of,
)
from lab.widgets.cards import Card, cards, chosen_card
from lab.widgets.config_form import changed_settings, setting_widget, shown_value
from lab.words import escaped, plain, sentence

CHOICES: dict[str, tuple[str, str]] = {
    "VAE, then U-Net": ("all", "Trains a VAE and then a U-Net on its latents: everything you need to generate images."),
    "VAE only": ("vae", "Trains the VAE. Look at its latents before you spend time on a U-Net."),
    "U-Net only": ("unet", "Trains a U-Net on a finished VAE. Uses that VAE's dataset and settings."),
}
STARTED = "train-started"
FITS = {"fits": "fits", "waits": "waits until memory is free", "never": "does not fit"}
FREQUENT = {
    "train_vae.steps": "VAE steps",
    "train_unet.steps": "U-Net steps",
    "train_vae.batch_size": "VAE batch size",
    "train_unet.batch_size": "U-Net batch size",
    "seed": "Seed",
}
DATASET = "data.name"
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
    repeated = st.session_state.pop("repeat-vae", "")
    if repeated in names:
        st.session_state["vae"] = repeated
    return vaes[
        str(
            st.selectbox(
                "VAE",
                list(names),
                format_func=names.__getitem__,
                key="vae",
                bind="query-params",
                persist_state="session",
            )
        )
    ]


def choose_preset(kind: str, dataset: str, *, returned: bool) -> str:
    """The chosen preset, one card each: what it is for, its size, and what it took and gave on this server."""
    chosen = chosen_card("preset", presets(), presets()[0], returned=returned)
    options = []
    for preset in presets():
        title, words = PRESET_WORDS.get(preset, (preset.capitalize(), ""))
        settings = settings_for(preset, {DATASET: dataset})
        parameters = sum(each.need.parameters for each in weigh(settings, kind))
        size_words = f"{parameters / 1e6:,.1f} M parameters"
        found = measured_before(settings, kind)
        if found is not None:
            seconds, accuracy = found
            quality = f"{accuracy:.0%} class accuracy, " if accuracy is not None else ""
            size_words = f"{size_words} · last time here: {quality}{duration(seconds)}"
        options.append(Card(key=preset, title=title, lines=(words, size_words)))
    cards("Preset", options, chosen, "preset")
    return chosen


def frequent_settings(
    kind: str, base: Settings, key: str, initial: Mapping[str, object]
) -> tuple[dict[str, object], str]:
    """(what differs from the preset among the settings most people change, the run's name)."""
    rows: list[tuple[str, FieldInfo]] = [
        (name, info) for name, info in field_rows() if name in FREQUENT and name.split(".")[0] not in SECTIONS[kind]
    ]
    rows.sort(key=lambda row: list(FREQUENT).index(row[0]))
    changes = {}
    *cells, last = st.columns(len(rows) + 1)
    for cell, (name, info) in zip(cells, rows, strict=True):
        default = get_value(base, name)
        begin = initial.get(name, default)
        with cell:
            value = setting_widget(
                name, info, default, key=f"{key}/frequent/{name}", label=FREQUENT[name], initial=begin
            )
        if value != default:
            changes[name] = value
    run_name = last.text_input("Run name", placeholder="optional", max_chars=80, key="name", persist_state="session")
    return changes, run_name


def all_gpus() -> dict[str, object]:
    """The setting that lets every GPU of this server compute its part of each batch, where there are several and
    somebody wants it."""
    gpus, _ = usable_gpus()
    if len(gpus) < 2:
        return {}
    words = "Each GPU computes its part of every batch: the same training in less time. Other runs wait meanwhile."
    chosen = st.toggle(f"All {len(gpus)} GPUs", key="all-gpus", persist_state="session", help=words)
    return {"machine.num_processes": len(gpus)} if chosen else {}


def cost(settings: Settings, kind: str, weights: list[Weighed]) -> Callable[[], None] | None:
    """Steps, images, parameters and memory at once; returns how to measure time, or None when that was done."""
    costs = st.session_state.setdefault("costs", {})
    key = (hash(settings), kind)
    parts = [part.name for part in trained_by(kind)]
    rows = costs.get(key) or [Cost.planned(settings, part) for part in parts]
    known = rows[0].seconds is not None
    columns = {
        "network": [row.network for row in rows],
        "steps": [count(row.steps) for row in rows],
        "images seen": [count(row.pictures) for row in rows],
        "parameters": [f"{each.need.parameters / 1e6:,.2f} M" for each in weights],
        "memory": [f"{size(each.need.gpu or each.need.host)}, {FITS[each.state]}" for each in weights],
        **({"images/s": [count(row.images_per_s) for row in rows]} if known else {}),
        **({"time here": [duration(row.seconds) for row in rows]} if known else {}),
    }
    lines = [list(columns), ["---"] * len(columns), *zip(*columns.values(), strict=True)]
    with st.container(key="train-cost"):
        st.markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))  # st.table loads 0.6 MB of script
    if known:
        total = sum(row.seconds or 0 for row in rows)
        st.session_state["cost-words"] = f"About {duration(total)} on {rows[0].device}"
        return None

    def measure_now() -> None:
        with st.spinner("Running a few real steps", show_time=True):
            costs[key] = [training_service.measure(settings, part) for part in parts]
        st.rerun()

    return measure_now


def weighed_cost(settings: Settings, kind: str) -> tuple[Callable[[], None] | None, str, str]:
    """(how to measure the time or None, why this machine can never train these networks or '', the cost in words)."""
    weights = weigh(settings, kind)
    measure_now = cost(settings, kind, weights)
    before = measured_before(settings, kind)
    if measure_now is None:
        time_words = str(st.session_state.get("cost-words", ""))
    elif before is not None:
        time_words = f"{duration(before[0])} the last time here"
    else:
        time_words = "Time not measured yet"
    largest = max((each.need for each in weights), key=lambda need: need.gpu or need.host)
    memory, past = largest.gpu or largest.host, f" ({largest.past})" if largest.past else ""
    words = f"{time_words} · {size(memory)} of memory{past} · about {size(disk_bytes(settings, weights))} of disk"
    if any(part.quality for part in trained_by(kind)):
        words += quality_words(settings)
    try:
        for each in weights:
            each.refuse()
    except LabError as error:
        return None, sentence(error), words
    return measure_now, "", words


def quality_words(settings: Settings) -> str:
    """What evaluations during and after the training cost, ' · …' or ''."""
    asked, words = settings.evaluation, ""
    if asked.during:
        share = 100 * share_of_training(settings)
        words += (
            f" · quality every {count(asked.during)} steps: about {share:.2g} % more time, and a judge the first time"
        )
    if asked.at_end != "none":
        images, seeds = LEVELS.get(asked.at_end, (asked.num_samples, 1))
        words += f" · then an evaluation of {count(images)} images" + (
            f" for each of {seeds} seeds" if seeds > 1 else ""
        )
    return words


def show_differences(base: Settings, settings: Settings, called: str) -> None:
    """What was changed, as a table of before and after."""
    rows = differences(base, settings)
    if rows:
        st.subheader(f"Different from {escaped(called)}")
        frame = pd.DataFrame(
            {
                "setting": [name for name, _, _ in rows],
                plain(called, 60): [plain(shown_value(old)) for _, old, _ in rows],
                "this form": [plain(shown_value(new)) for _, _, new in rows],
            }
        )
        st.dataframe(frame, hide_index=True)


def train_page() -> None:
    """The whole form: dataset, preset, settings, and beside the start button what it will cost."""
    started = st.session_state.pop(STARTED, "")
    if started:
        go_to("runs", started)
    warm(CHECK_READY)
    st.title("Train")
    returned = "start" not in st.session_state
    liked = run_to_repeat(returned=returned)
    choice = st.segmented_control(
        "What",
        list(CHOICES),
        default=None if "what" in st.session_state else next(iter(CHOICES)),
        required=True,
        key="what",
        bind="query-params",
        persist_state="session",
        label_visibility="collapsed",
    )
    kind, words = CHOICES[str(choice)]
    st.caption(words)
    if liked is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"The form holds the settings of **{escaped(liked.info.name or liked.id)}**.")
            st.button("Use the preset instead", on_click=forget_run, key="forget-run")
    needs_vae = bool(trained_by(kind)[0].parent)
    vae = choose_vae() if needs_vae else None
    if needs_vae and vae is None:
        return
    usual = settings_for(presets()[0], {}).data.name
    dataset = vae.run.settings.data.name if vae else choose_dataset(usual, returned=returned)
    preset = choose_preset(kind, dataset, returned=returned)
    base = settings_for(preset, {})
    initial, form = remembered(returned=returned)
    changes, run_name = frequent_settings(kind, base, f"{form}{preset}", initial)
    skip = {*FREQUENT, DATASET}
    changes |= changed_settings(base, key=f"{form}{preset}", hidden=SECTIONS[kind], skip=skip, initial=initial)
    remember(changes)
    changes |= all_gpus()
    if dataset != base.data.name and not vae:
        changes = {DATASET: dataset, **changes}
    problem, settings, cost_words, measure_now = "", base, "", None
    try:
        settings = settings_for(preset, changes)
        settings = with_vae_of(settings, vae.run) if vae else settings
    except LabError as error:
        problem = sentence(error)
    asked: dict[str, Any] = {}
    asked_words = ""
    try:
        asked, asked_words = request_form()
    except LabError as error:
        problem = problem or sentence(error)
    if not problem:
        measure_now, problem, cost_words = weighed_cost(settings, kind)
    if problem:
        st.error(problem, icon=":material/error:")
    with st.container(horizontal=True, vertical_alignment="center"):
        label, turn = start_label(settings, trained_by(kind)[0].name)
        icon = ":material/schedule:" if turn else ":material/play_arrow:"
        pressed = st.button(label, type="primary", disabled=bool(problem), icon=icon, key="start")
        words = "Runs a few real steps on this server. Takes about five seconds."
        wanted = measure_now and st.button("Measure time", icon=":material/timer:", help=words)
        st.markdown(cost_words, width="content")
    for words in filter(None, (turn, asked_words)):
        st.caption(escaped(words, 400) if words is asked_words else words)
    use = own_disk_use(who())
    if use is not None and use.is_near:
        st.warning(f"{escaped(use.in_words)}. Remove {use.what_to_remove} on Machine.", icon=":material/hard_drive:")
    token = press_token(pressed)
    with problems_shown():
        if wanted and measure_now:
            measure_now()
        if pressed:
            with st.spinner("Checking the dataset and starting", show_time=True):
                vae_run = vae.id if vae else ""
                ids = start(
                    kind,
                    settings,
                    preset=preset,
                    name=run_name,
                    owner=who(),
                    vae_run=vae_run,
                    request=asked,
                    token=token,
                )
            # in a run of its own: a start takes seconds, and what this page's live parts asked for meanwhile would
            # be answered on the next page
            st.session_state[STARTED] = ids[0]
            st.rerun()
    if not problem:
        before, called = (liked.settings, liked.info.name or liked.id) if liked else (base, preset)
        show_differences(before, settings, called)
