"""Generate: what a model can draw, and how it gets there step by step."""

from __future__ import annotations

import io
import json

import numpy as np
import streamlit as st

from core.errors import LabError
from lab.components.pictures import mosaic, png
from lab.components.scrubber import MAX_PICTURES, pack, scrubber
from lab.services.models import Drawing, classes_of, draw, newest_step, sampler_choices
from lab.services.runs import RunView, sentence, trained_unets
from lab.state import page_file, select_run, selected_run
from lab.text import ago, count, escaped


def choose_run(views: list[RunView]) -> RunView:
    """The U-Net run to draw with; the URL remembers it."""
    by_id = {view.id: view for view in views}
    names = {
        view.id: f"{view.title} · step {count(view.status.step)} · {ago(view.run.info.created_at)}" for view in views
    }
    wanted = selected_run() if selected_run() in by_id else views[0].id
    chosen = st.selectbox("Model", list(names), index=list(names).index(wanted), format_func=names.__getitem__)
    if chosen != selected_run():
        select_run(chosen)
    return by_id[chosen]


def controls(view: RunView) -> dict[str, object]:
    """Everything that decides the pictures."""
    defaults = view.run.settings.sampling
    classes = classes_of(view.run)
    left, right = st.columns([3, 2])
    with left:
        picked = st.pills(
            "Classes", range(len(classes)), selection_mode="multi", default=range(min(len(classes), 10)),
            format_func=lambda label: classes[label], key=f"classes-{view.id}",
        )  # fmt: skip
        labels = sorted(picked) or list(range(min(len(classes), 10)))
    with right:
        most = max(1, MAX_PICTURES // len(labels))
        each = st.slider("Pictures a class", 1, max(2, min(16, most)), 1, help=f"At most {MAX_PICTURES} at once")
    cells = st.columns([2, 2, 3, 2, 1], vertical_alignment="bottom")
    steps = int(cells[0].number_input("Steps", 1, 1000, defaults.num_inference_steps, help="Sampler steps"))
    allowed, refused = sampler_choices(view.run, steps)
    index = allowed.index(defaults.sampler) if defaults.sampler in allowed else 0
    sampler = cells[1].selectbox("Sampler", allowed, index=index)
    guidance = cells[2].slider(
        "Guidance", 1.0, 5.0, float(min(defaults.guidance_scale, 5.0)), 0.25,
        help="1 = none. More makes the class clearer and the pictures more alike.",
    )  # fmt: skip
    state = "generate-seed"
    st.session_state.setdefault(state, defaults.seed)
    seed = int(cells[3].number_input("Seed", 0, 2**31 - 1, key=state))
    cells[4].button(":material/casino:", help="Next seed", on_click=lambda: st.session_state.update({state: seed + 1}))
    if refused:
        with st.popover("Why not the other samplers?", type="tertiary"):
            for name, why in refused.items():
                st.markdown(f"**{escaped(name)}** {escaped(why.split(': ', 1)[-1], 300)}")
    return {
        "labels": tuple(label for label in labels for _ in range(each))[:MAX_PICTURES],
        "sampler": sampler,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
    }


def show(drawing: Drawing, request: dict[str, object]) -> None:
    """The scrubber, and what can be taken home."""
    total = len(drawing.timesteps) - 1
    noise = drawing.noise_scale**2 / (drawing.noise_scale**2 + (1 - drawing.noise_scale) ** 2)
    labels = [
        f"step {index} of {total} · t = {timestep:.0f} · {share:.0%} noise"
        for index, (timestep, share) in enumerate(zip(drawing.timesteps, noise, strict=True))
    ]
    per_class = max(1, len(drawing.labels) // len(set(drawing.labels)))
    columns = per_class if per_class > 1 else min(len(drawing.labels), 10)
    columns = min(max(columns, 5), 16) if len(drawing.labels) > 5 else len(drawing.labels)
    order = list(dict.fromkeys(drawing.class_names[label] for label in drawing.labels))
    names = f"Classes, row by row: {', '.join(order)}" + (f", {per_class} of each" if per_class > 1 else "")
    # at most this many frames, so that the sheet stays small with 1000-step samplers; the last is always there
    keep = np.unique(np.linspace(0, total, min(total + 1, 101)).round().astype(int))
    payload = pack(
        [drawing.noisy_images[keep], drawing.predicted_images[keep]],
        [labels[index] for index in keep],
        names=names,
        columns=columns,
        zoom=max(1, round((720 if columns >= 8 else 400) / (columns * (drawing.images.shape[2] + 1)))),
    )
    scrubber(payload, key="scrubber")
    st.caption("Drag the slider, or use the arrow keys, Home, End and the space bar.")
    arrays = io.BytesIO()
    np.savez_compressed(
        arrays, images=drawing.images, labels=np.array(drawing.labels, dtype=np.int64), request=json.dumps(request)
    )
    left, middle, _ = st.columns([1, 1, 3])
    picture = png(mosaic(drawing.images, columns=columns, zoom=4))
    left.download_button("Picture (PNG)", picture, "samples.png", "image/png", icon=":material/download:")
    middle.download_button("Arrays (npz)", arrays.getvalue(), "samples.npz", icon=":material/download:")


def page() -> None:
    """Model, controls, pictures."""
    st.title("Generate")
    views = trained_unets()
    if not views:
        st.markdown("No trained U-Net yet. Train one: about three minutes on two CPU cores with the preset *quick*.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
        return
    view = choose_run(views)
    request = controls(view)
    bar = st.empty()

    def on_progress(done: int, total: int) -> None:
        bar.progress(done / total, text=f"Denoising, {done} of {total}")

    with st.spinner("Drawing", show_time=True):
        drawing = draw(view.id, newest_step(view.run), on_progress=on_progress, **request)  # type: ignore[arg-type]
    bar.empty()
    show(drawing, request)


try:
    page()
except LabError as error:
    st.error(sentence(error), icon=":material/error:")
