"""Generate: what a model can draw, and how it gets there step by step."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass

import numpy as np
import streamlit as st

from lab.components.pick import pick_model
from lab.components.pictures import mosaic, png
from lab.components.problems import problems_shown
from lab.components.scrubber import MAX_PICTURES, frames_that_fit, pack, scrubber, side_by_side
from lab.services.models import Drawing, classes_of, draw, newest_step, poor_choice, sampler_choices
from lab.services.runs import RunView, trained_unets
from lab.state import page_file
from lab.text import escaped, plain

ENOUGH_FRAMES = 11


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Everything that decides the pictures, but for the model."""

    labels: tuple[int, ...]
    sampler: str
    num_inference_steps: int
    guidance_scale: float
    seed: int


def controls(view: RunView) -> Choice:
    """Classes, number, steps, sampler, guidance and seed; all but the classes are in the URL."""
    defaults = view.run.settings.sampling
    classes = classes_of(view.run)
    left, right = st.columns([3, 2])
    picked = left.pills(
        "Classes", range(len(classes)), selection_mode="multi", default=range(min(len(classes), 10)),
        format_func=lambda label: escaped(classes[label], 40), key=f"classes-{view.id}", persist_state="session",
        wrap=True,
    )  # fmt: skip
    chosen = sorted(picked) or list(range(min(len(classes), 10)))
    most = max(2, min(16, MAX_PICTURES // len(chosen)))
    each = right.slider("Pictures a class", 1, most, 1, help=f"At most {MAX_PICTURES} pictures at once")
    cells = st.columns([2, 2, 3, 2, 1], vertical_alignment="bottom")
    steps = int(
        cells[0].number_input(
            "Steps", 1, 1000, defaults.num_inference_steps, help="Sampler steps", key="steps", bind="query-params"
        )
    )
    allowed, refused = sampler_choices(view.run, steps)
    index = allowed.index(defaults.sampler) if defaults.sampler in allowed else 0
    sampler = cells[1].selectbox("Sampler", allowed, index=index, key="sampler", bind="query-params")
    guidance = cells[2].slider(
        "Guidance", 1.0, 5.0, float(min(max(defaults.guidance_scale, 1.0), 5.0)), 0.25, key="guidance",
        bind="query-params", help="1 = none. More makes the class clearer and the pictures more alike.",
    )  # fmt: skip
    seed = int(cells[3].number_input("Seed", 0, 2**31 - 2, defaults.seed, key="seed", bind="query-params"))
    cells[4].button(":material/casino:", help="Next seed", on_click=lambda: st.session_state.update(seed=seed + 1))
    poor = poor_choice(view.run, sampler, steps)
    if poor:
        st.caption(f":material/info: {escaped(poor, 300)}")
    if refused:
        with st.popover("Why not the other samplers?", type="tertiary"):
            for name, why in refused.items():
                st.markdown(f"**{escaped(name)}** {escaped(why.split(': ', 1)[-1], 300)}")
    labels = tuple(label for _ in range(each) for label in chosen)[:MAX_PICTURES]
    return Choice(
        labels=labels, sampler=sampler, num_inference_steps=steps, guidance_scale=guidance, seed=seed
    )  # fmt: skip


def show(drawing: Drawing, choice: Choice) -> None:
    """The scrubber, and what can be taken home."""
    order, columns, heads, sides = side_by_side(drawing.labels)
    noisy, predicted = drawing.noisy_images[:, order], drawing.predicted_images[:, order]
    total, size = int(drawing.steps[-1]), noisy.shape[3]
    picture = png(mosaic(drawing.images[order], columns=columns, zoom=max(1, min(4, 2048 // (columns * (size + 1))))))
    noise = drawing.noise_scale**2 / (drawing.noise_scale**2 + drawing.signal_scale**2)
    labels = [
        f"step {index} of {total} · t = {timestep:.0f} · {share:.0%} noise"
        for index, timestep, share in zip(drawing.steps, drawing.timesteps, noise, strict=True)
    ]
    frames, every = len(noisy), 1  # many large pictures are sent with fewer frames, then with fewer pixels
    while (most := frames_that_fit(frames, len(order), columns, -(-size // every))) < min(frames, ENOUGH_FRAMES):
        every *= 2
    noisy, predicted, size = noisy[:, :, ::every, ::every], predicted[:, :, ::every, ::every], -(-size // every)
    keep = np.unique(np.linspace(0, frames - 1, most).round().astype(int))
    payload = pack(
        [noisy[keep], predicted[keep]],
        [labels[index] for index in keep],
        columns=columns,
        zoom=max(1, round((720 if columns >= 8 else 340) / (columns * (size + 1)))),
        heads=[plain(drawing.class_names[label], 40) for label in heads],
        sides=[plain(drawing.class_names[label], 40) for label in sides],
    )
    scrubber(payload, key="scrubber")
    st.caption("Drag the slider, or click into it and use the arrow keys, Home, End and the space bar.")
    arrays = io.BytesIO()
    np.savez_compressed(arrays, images=drawing.images, labels=np.array(drawing.labels, dtype=np.int64),
                        request=json.dumps(asdict(choice)))  # fmt: skip
    with st.container(horizontal=True):
        st.download_button("Picture (PNG)", picture, "samples.png", "image/png", icon=":material/download:")
        st.download_button("Arrays (npz)", arrays.getvalue(), "samples.npz", icon=":material/download:")


def page() -> None:
    """Model, controls, pictures."""
    st.title("Generate")
    views = trained_unets()
    if not views:
        st.markdown("No trained U-Net yet. Train one: about four minutes on a CPU core with the preset *quick*.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
        return
    view = pick_model(views)
    choice = controls(view)
    bar = st.empty()

    def on_progress(done: int, total: int) -> None:
        bar.progress(done / total, text=f"Denoising, {done} of {total}")

    with st.spinner("Drawing", show_time=True):
        drawing = draw(view.id, newest_step(view.run), **asdict(choice), on_progress=on_progress)
    bar.empty()
    show(drawing, choice)


with problems_shown():
    page()
