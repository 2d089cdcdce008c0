"""Compare: two VAEs, or two checkpoints of one, on the same pictures; and one VAE over its training."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st

from core.errors import LabError
from core.latent.inspection.overview import LatentOverview
from core.latent.inspection.vae_source import FEW
from core.latent.inspection.verdict import figures, judge
from core.runs.film import INPUTS, RECONSTRUCTIONS
from core.words import count
from lab.frame.task_progress import outcome
from lab.latents import overview_service, vae_service
from lab.latents.latents_chart import over_steps_figure
from lab.latents.pictures_view import SHOWN, error_colors, wide
from lab.latents.vae_picker import choose_from
from lab.latents.vae_service import Chosen
from lab.latents.view_progress import answer
from lab.services.film import film_of
from lab.widgets.chart import show_chart
from lab.widgets.scrubber import pack, scrubber
from lab.widgets.strip import strip_html
from lab.words import escaped, plain

MOST_CHECKPOINTS = 8


def show(chosen: Chosen, _found: LatentOverview) -> None:
    """Numbers side by side, the same pictures through both, then the training."""
    other = choose_from(vae_service.runs_with_a_vae(), "Beside it", ("other", "other-checkpoint"), optional=True)
    if other is not None:
        _side_by_side(chosen, other)
    else:
        st.caption("Choose a second VAE, or another checkpoint of this one, to see both on the same images.")
    if chosen.view.run.kind.vae == "own":
        st.divider()
        _over_training(chosen)


def _side_by_side(chosen: Chosen, other: Chosen) -> None:
    both = (chosen, other)
    found: list[LatentOverview] | None = answer(
        chosen,
        overview_service.few_name(both),
        overview_service.make_few(both),
        "Measuring both on the same images",
    )
    if found is None:
        return
    first, second = found
    if first.subject.fingerprint != second.subject.fingerprint:
        st.warning("They were trained on different datasets: each is judged on its own held-out images.")
    rows = []
    for (name, a, better), (_, b, _) in zip(figures(first), figures(second), strict=True):
        rows.append({"figure": name, "A": f"{a:,.4g}", "B": f"{b:,.4g}", "B − A": difference(a, b), "better": better})
    st.markdown(
        f"**A** {escaped(chosen.title, 80)}: {judge(first).word}. "
        f"**B** {escaped(other.title, 80)}: {judge(second).word}."
    )
    if first.subject.fingerprint == second.subject.fingerprint:
        st.html(wide(_strip(first, second)))
        st.caption(
            "The same held-out images through both; errors from −½ of the range (blue) to +½ (red). Paler errors "
            "are better."
        )
    st.dataframe(rows, hide_index=True, width="stretch")
    st.caption(
        f"{count(len(first.labels))} and {count(len(second.labels))} held-out images, at most {count(FEW)} for a "
        "quick answer. More KL is not worse by itself: it is what the latents say; the U-Net has to learn it."
    )


def difference(a: float, b: float) -> str:
    """b - a in words; what only rounding makes is 0."""
    return "0" if math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) else f"{b - a:+,.3g}"


def _strip(first: LatentOverview, second: LatentOverview) -> str:
    places = first.one_a_class(SHOWN)
    images = np.asarray(first.images[places])
    backs = [np.asarray(each.reconstructions[places]) for each in (first, second)]
    rows = [("original", images), ("A", backs[0]), ("B", backs[1])]
    rows += [(f"error of {name}", error_colors(images, back)) for name, back in zip("AB", backs, strict=True)]
    return strip_html(rows, [plain(first.subject.class_names[int(label)], 12) for label in first.labels[places]])


def _over_training(chosen: Chosen) -> None:
    run = chosen.view.run
    st.markdown("##### Over its training")
    try:
        film = film_of(run.id, 1)
    except LabError as error:
        st.caption(escaped(error.message, 200))
    else:
        side = film.layers[INPUTS].shape[3]
        scrubber(
            pack(
                [film.layers[name][:, 0] for name in (INPUTS, RECONSTRUCTIONS)],
                [f"step {count(step)} of {count(film.steps_total)}" for step in film.steps],
                columns=len(film.labels),
                zoom=max(1, round(320 / (len(film.labels) * (side + 1)))),
                captions=["Images that go in", "What comes back at this step of the training"],
            ),
            key="latents-training",
        )
        st.caption(
            "Drag through the training. A VAE that learns turns gray blobs into strokes within a few hundred steps."
        )
    _checkpoints(chosen)


def _checkpoints(chosen: Chosen) -> None:
    """What the kept checkpoints measure, once somebody asked for it."""
    same = [each for each in vae_service.choices_of(chosen.view) if each.weights == chosen.weights][:MOST_CHECKPOINTS]
    if len(same) < 2:
        st.caption("Only one checkpoint is stored (logging.keep_checkpoints), so there is no curve over checkpoints.")
        return
    missing = [each for each in same if overview_service.kept_overview(each, FEW) is None]
    if missing:
        asked = st.button(f"Measure {len(missing)} of {len(same)} checkpoints", help="A few seconds each")
        if not asked and overview_service.find_few(same[::-1]) is None:
            return
    work = overview_service.begin_few(same[::-1])
    found: list[LatentOverview] = outcome(work, "Measuring checkpoints, also when you leave this page")
    steps = [each.subject.step for each in found]
    theme = st.context.theme.type
    cells = st.columns(3)
    lines = {
        "psnr": ("Reconstruction", "PSNR, dB", {"PSNR": [each.psnr for each in found]}),
        "kl": ("KL divergence", "nats per image", {"KL": [float(each.raw.kl.sum()) for each in found]}),
        "scale": (
            "Scale per channel",
            "scale",
            {
                f"channel {place + 1}": [float(each.measured_scaling[1][place]) for each in found]
                for place in range(found[0].raw.num_channels)
            },
        ),
    }
    for cell, (key, (title, y_title, values)) in zip(cells, lines.items(), strict=True):
        figure = over_steps_figure(steps, values, title=title, y_title=y_title, theme=theme)
        with cell:
            show_chart(figure, key=f"over-steps-{key}")
    st.caption(
        "If the scale still changes between the last checkpoints, the VAE is not done. Train it longer "
        "before you train a U-Net on it."
    )
