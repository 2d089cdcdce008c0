"""Schedules side by side: a real picture dissolving under each, then every quantity as a curve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import streamlit as st

from core.compute.questions import SCHEDULE_TABLE
from core.diffusion.quantities import LEAK, QUANTITIES
from core.errors import LabError
from core.words import count
from lab.schedulers import schedule_service
from lab.schedulers.dissolving import dissolving
from lab.schedulers.dissolving_service import pictures_for
from lab.schedulers.schedule_chart import MOST_NAMED, Line, schedule_figure, visited_figure
from lab.schedulers.schedule_service import Spec
from lab.services.computing import warm
from lab.services.runs import RunView
from lab.widgets.chart import show_chart
from lab.widgets.choice import choose
from lab.widgets.url_selectbox import RUN, pick_many, pick_or_tell
from lab.words import escaped, plain

NAMED = ("cosine", "linear", "scaled_linear", "sigmoid", "flow")
FIRST_SHOWN = ("cosine", "linear")
MOST = 6
OWN = "own"
AXES = {"t": "timestep t", "log_snr": "log-SNR", "sigma": "σ"}


def schedule_view() -> None:
    """Pictures first, then the curves, what samplers visit, and what the latents' scale does."""
    warm(SCHEDULE_TABLE)
    views = schedule_service.readable_unets()
    specs = _choose(views)
    if not specs:
        st.caption("Choose at least one schedule.")
        return
    run_id = _choose_run(views)
    with st.spinner("Loading PyTorch and the images"):
        pictures = pictures_for(run_id)
        tables = {spec.label: schedule_service.table(spec) for spec in specs}
    _verdict(specs, tables)
    dissolving(specs, run_id, pictures)
    _why_cosine()
    st.divider()
    _curves(specs, tables)
    _visited(specs)
    if run_id:
        _channels(specs, run_id)


def _choose(views: Sequence[RunView]) -> list[Spec]:
    """The schedules to look at, at most six; one's own is described beside."""
    runs = {view.id: view for view in views[:MOST]}
    titles = Counter(view.title for view in runs.values())
    names = {name: name for name in NAMED} | {"sigmoid": "sigmoid of β"}
    for key, view in runs.items():  # runs of one name are told apart by the end of their id
        names[key] = f"of run {plain(view.title, 40)}" + (f" ({key[-4:]})" if titles[view.title] > 1 else "")
    names[OWN] = "one's own"
    picked = pick_many("Schedules", names, "schedules", FIRST_SHOWN)
    specs: list[Spec] = []
    for key in picked:
        if key == OWN:
            own = _own()
            specs += [own] if own else []
        elif key in runs:
            specs.append(schedule_service.renamed(schedule_service.spec_of_run(runs[key]), plain(names[key])))
        else:
            specs.append(Spec(label=key, schedule=key))
    if len(specs) > MOST:
        st.warning(f"The first {MOST} are shown; more lines cannot be told apart.")
    return specs[:MOST]


def _own() -> Spec | None:
    """One's own schedule, or None with the reason on the screen."""
    cells = st.columns([2, 2, 2, 2, 3], vertical_alignment="bottom")
    name = cells[0].selectbox("Form", NAMED, index=1, key="own-form", bind="query-params")
    # a float, as Streamlit's whole numbers raise where a link says infinity
    steps = int(
        cells[1].number_input("T", 10.0, 10_000.0, 1000.0, 1.0, format="%.0f", key="own-t", bind="query-params")
    )
    fixed = name in ("cosine", "flow")
    why = f"{name} is given by a formula without β" if fixed else None
    start = float(
        cells[2].number_input(
            "First β", 1e-6, 0.999, 1e-4, format="%.5f", key="own-b0", bind="query-params", disabled=fixed, help=why
        )
    )
    end = float(
        cells[3].number_input(
            "Last β", 1e-6, 0.999, 0.02, format="%.5f", key="own-b1", bind="query-params", disabled=fixed, help=why
        )
    )
    zero = cells[4].toggle(
        "Zero terminal SNR",
        key="own-zero",
        bind="query-params",
        help="Rescale the schedule so that the last timestep is pure noise (arXiv 2305.08891, algorithm 1)",
    )
    spec = Spec(
        label="one's own",
        schedule=name,
        num_train_timesteps=steps,
        beta_start=start,
        beta_end=end,
        rescale_betas_zero_snr=zero,
    )
    if spec.problem:
        st.error(escaped(spec.problem, 300))
        return None
    return spec


def _choose_run(views: Sequence[RunView]) -> str:
    """Whose dataset and latents are shown: '' without a trained U-Net."""
    if not views:
        st.caption("No trained U-Net yet, so only pixels are shown; with one, its latents are shown decoded as well.")
        return ""
    names = {view.id: plain(view.title) for view in views}
    refusal = "Run {} has no latents: it is not a U-Net run with a checkpoint. Showing another."
    return pick_or_tell("Images and latents of", names, RUN, refusal)


def _verdict(specs: Sequence[Spec], tables: dict[str, dict[str, np.ndarray]]) -> None:
    """What is left of the picture half-way, in numbers, and a badge where the end leaks."""
    halves = []
    for spec in specs:
        middle = spec.num_train_timesteps // 2
        halves.append(f"**{escaped(spec.label, 60)}** {tables[spec.label]['alpha_bar'][middle]:.0%}")
    st.markdown(f"Half-way through (t = T/2) this much of the variance is still the image: {', '.join(halves)}.")
    with st.container(horizontal=True):
        for spec in specs:
            left = float(tables[spec.label]["signal_scale"][-1])
            leaks = left > LEAK
            st.badge(
                f"{escaped(spec.label, 40)}: {left:.2%} left at T" + (", leaks" if leaks else ""),
                icon=":material/water_drop:" if leaks else ":material/check:",
                color="orange" if leaks else "green",
                help="√ᾱ at the last timestep. Sampling starts from noise alone; what training still saw of the "
                "image there, mostly its brightness, sampling cannot know (arXiv 2305.08891).",
            )


def _curves(specs: Sequence[Spec], tables: dict[str, dict[str, np.ndarray]]) -> None:
    """One quantity of all schedules over t, log-SNR or σ; formula and source one click away."""
    cells = st.columns([3, 3, 1.4, 1.2], vertical_alignment="bottom")
    key = cells[0].selectbox(
        "Quantity",
        list(QUANTITIES),
        key="quantity",
        bind="query-params",
        format_func=lambda name: f"{QUANTITIES[name].title} {QUANTITIES[name].symbol}",
    )
    quantity = QUANTITIES[key]
    default_axis = "log_snr" if key == "log_snr_density" else "t"
    axis = choose("Over", AXES, default=default_axis, key=f"axis-{key}", cell=cells[1], in_url=False)
    log_y = cells[2].toggle("Log scale", value=quantity.log_axis, key=f"log-{key}")
    with cells[3].popover("Formula", type="tertiary"):
        st.latex(quantity.formula)
        st.caption(f"Source: {quantity.source}")
    lines = []
    for spec in specs:
        columns = tables[spec.label]
        x = np.arange(spec.num_train_timesteps, dtype=float) if axis == "t" else columns[str(axis)]
        lines.append(Line(name=spec.label, x=x, y=columns[key]))
    theme = st.context.theme.type
    show_chart(
        schedule_figure(
            lines,
            title=quantity.title,
            x_title=AXES[axis],
            y_title=quantity.symbol,
            log_x=axis == "sigma",
            log_y=log_y,
            theme=theme,
        ),
        key="schedule-curves",
        sketched=len(lines) <= MOST_NAMED,
    )
    st.caption(quantity.meaning)
    missing = [spec.label for spec in specs if not np.isfinite(tables[spec.label][key]).any()]
    if missing:
        st.caption(f"Not defined for {escaped(', '.join(missing), 120)}.")


def _visited(specs: Sequence[Spec]) -> None:
    """The timesteps that samplers visit on one of the schedules."""
    with st.expander(
        "Which timesteps does a sampler visit?", key="rug-open", on_change="rerun", bind="query-params"
    ) as box:
        if not box.open:
            return
        cells = st.columns([2, 1, 4], vertical_alignment="bottom")
        labels = [spec.label for spec in specs]
        label = cells[0].selectbox("On", labels, format_func=lambda text: plain(text, 60), key="rug-schedule")
        spec = specs[labels.index(label)]
        steps = int(cells[1].number_input("Steps", 1, min(1000, spec.num_train_timesteps), 10, key="rug-steps"))
        allowed, refused = schedule_service.samplers_for(spec, steps)
        picked = cells[2].multiselect("Samplers", allowed, default=allowed[:4], key=f"rug-{spec.schedule}-{steps}")
        if picked:
            visits = schedule_service.visited_by(spec, tuple(picked), steps)
            figure = visited_figure(visits, num_train_timesteps=spec.num_train_timesteps, theme=st.context.theme.type)
            show_chart(figure, key="rug")
            st.caption(
                "Sampling goes from right to left; the network is asked once at every tick (twice with guidance)."
            )
        for name, why in refused.items():
            st.caption(f"**{escaped(name)}** refused: {escaped(why.split(': ', 1)[-1], 300)}")


def _channels(specs: Sequence[Spec], run_id: str) -> None:
    """SNR a channel, before and after the latents are scaled."""
    with st.expander("What does scaling the latents do?", key="scaling", on_change="rerun", bind="query-params") as box:
        if not box.open:
            return
        try:
            raw, scaled = schedule_service.channel_snr(specs[0], run_id)
        except LabError as error:
            st.warning(escaped(str(error), 300))
            return
        x = np.arange(len(scaled), dtype=float)
        lines = [Line(name=f"channel {place}", x=x, y=row, faint=True) for place, row in enumerate(raw[: MOST - 1])]
        lines.append(Line(name="scaled to unit variance", x=x, y=scaled))
        show_chart(
            schedule_figure(
                lines,
                title=f"Signal-to-noise ratio of each latent channel, {plain(specs[0].label, 40)}",
                x_title=AXES["t"],
                y_title="SNR",
                log_y=True,
                theme=st.context.theme.type,
                height=300,
            ),
            key="channels",
        )
        ratio = float(np.nanmedian(raw[:, len(scaled) // 2] / scaled[len(scaled) // 2]))
        st.caption(
            f"Unscaled, the channels of this VAE would carry {ratio:.3g} times the signal that the schedule "
            "assumes (median)."
        )


def _why_cosine() -> None:
    with st.expander("Why is cosine chosen over linear?"):
        linear, cosine = (
            schedule_service.table(Spec(label=name, schedule=name))["alpha_bar"] for name in ("linear", "cosine")
        )
        lost = [int(np.argmax(values < 0.05)) for values in (linear, cosine)]
        st.markdown(
            f"A schedule divides {count(len(linear))} timesteps over the way from image to noise. **Linear** has "
            f"less than 5 % of the image left from t = {count(lost[0])} on. The remaining "
            f"{1 - lost[0] / len(linear):.0%} of the steps work on near-noise, in training and in sampling. "
            f"**Cosine** crosses the same line at t = {count(lost[1])} and loses the image evenly, so every step "
            "teaches something. It also ends closer to pure noise, from which sampling starts (arXiv 2102.09672, "
            "section 3.2 and figure 5). **Flow matching** loses it as evenly and ends in pure noise exactly; "
            "choose *flow* above to see it beside them."
        )
