"""Loss by timestep: where on the schedule a network works hard, alone or against another run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import LabError
from core.evaluation.timestep_loss_results import LOG_SNR_LIMIT, ErrorOf, TimestepLoss, in_words
from core.words import ago, count
from lab.frame.state import page_file
from lab.schedulers.timestep_loss_chart import Guess, LossCurve, leaves_the_chart, loss_figure
from lab.schedulers.timestep_loss_service import Checkpoint, checkpoints_of, loss_of
from lab.services.runs import RunView, trained_unets
from lab.widgets.chart import show_chart
from lab.widgets.choice import choose
from lab.widgets.url_selectbox import pick_checkpoint
from lab.words import escaped, plain, sentence

ERRORS: Mapping[ErrorOf, str] = {"original": "Clean latents", "epsilon": "Noise", "target": "What it predicts"}
AXES = {"t": "timestep t", "log_snr": "log-SNR"}
LOG_SNR_SHOWN = 12.0
PREDICTIONS = {"epsilon": "the noise ε", "sample": "the clean latents", "v_prediction": "v", "flow": "the velocity"}
READING: Mapping[ErrorOf, str] = {
    "original": "The gap below the dotted line is what the network has learned. Timesteps where it touches the line "
    "need more training or weight.",
    "epsilon": "Every line falls, because noise is easier to see where there is much of it. Where it touches the "
    "dotted line, the network has learned nothing.",
    "target": "The error that training minimizes, before any weight. Its average over t is, on "
    "other images, the validation loss of runs with uniform timesteps and no min-SNR weight.",
}
OUTSIDE: Mapping[ErrorOf, str] = {
    "original": "with hardly any signal left, a small error of the noise is a huge one of the clean latents",
    "epsilon": "with hardly any noise, a small error of the clean latents is a huge one of the noise",
    "target": "its error is far above that of any guess",
}


def timestep_loss() -> None:
    """One run or two; the error, the axis, and the schedule beneath."""
    st.markdown(
        "At which noise level does the network work hard? Held-out images, each with the same noise at every t, and "
        "the same for every run on a dataset."
    )
    views = trained_unets()
    if not views:
        st.markdown("No trained U-Net yet, and the loss is that of one.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
        return
    left, right = st.columns(2)
    with left:
        chosen = [_choose(views, "Model", ("run", "checkpoint"))]
    with right:
        chosen.append(_choose(views, "Against", ("against", "against-checkpoint"), optional=True))
    error_of, axis, log_y = _controls()
    found = []
    for view, checkpoint in (pair for pair in chosen if pair is not None):
        bar = st.empty()
        try:
            found.append((view, loss_of(view.run, checkpoint, _shower(bar))))
        except LabError as error:
            st.error(sentence(error), icon=":material/error:")
        finally:
            bar.empty()
    if found:
        _shown(found, error_of, axis, log_y=log_y)


def _choose(
    views: list[RunView], label: str, params: tuple[str, str], *, optional: bool = False
) -> tuple[RunView, Checkpoint] | None:
    """A run and one of its checkpoints; the link names both."""
    by_id = {view.id: view for view in views}
    names = {view.id: plain(f"{view.title} · {ago(view.run.info.created_at)}") for view in views}
    found = pick_checkpoint(
        label,
        {"": "nothing", **names} if optional else names,
        params,
        lambda run_id: checkpoints_of(by_id[run_id].run),
        _checkpoint_in_words,
        refusal="Run {} has no loss: it is not a U-Net run with a checkpoint.",
        help="Averaged weights (EMA) generate the images; raw weights are the last ones of training.",
    )
    return (by_id[found[0]], found[1]) if found else None


def _checkpoint_in_words(checkpoint: Checkpoint) -> str:
    return f"step {count(checkpoint.step)}" + ("" if checkpoint.weights == "ema" else ", raw")


def _controls() -> tuple[ErrorOf, str, bool]:
    cells = st.columns([4, 3, 1.4, 1.4], vertical_alignment="bottom")
    help = "Errors of the clean latents and of the noise compare between ways of training."
    error_of = choose("Error of", ERRORS, key="loss-of", cell=cells[0], help=help)
    help = "At the same log-SNR two schedules are equally noisy; t alone does not say."
    axis = choose("Over", AXES, key="loss-over", cell=cells[1], help=help)
    log_y = cells[2].toggle("Log scale", key="loss-log", bind="query-params")
    with cells[3].popover("Formula", type="tertiary"):
        _formulas()
    return error_of, axis, log_y


def _shown(found: list[tuple[RunView, TimestepLoss]], error_of: ErrorOf, axis: str, *, log_y: bool) -> None:
    """What it says, the chart, and how to read it."""
    names = [_name(view, loss) for view, loss in found]
    losses = [loss for _, loss in found]
    words = in_words(losses[0], losses[1] if len(losses) > 1 else None, names)
    st.markdown(f"##### {escaped(words, 400)}")
    curves = [_curve(name, loss, losses, error_of, axis) for name, loss in zip(names, losses, strict=True)]
    of = ERRORS[error_of].lower()
    if error_of == "target":
        of = " and ".join(dict.fromkeys(PREDICTIONS.get(loss.prediction_type, "its target") for loss in losses))
    show_chart(
        loss_figure(
            curves,
            title=f"Held-out error of {of}, lower is better",
            x_title=AXES[axis],
            log_y=log_y,
            x_range=_log_snr_range(losses) if axis == "log_snr" else None,
            theme=st.context.theme.type,
        ),
        key="loss",
    )
    st.caption(READING[error_of])
    outside = leaves_the_chart(curves, log_y=log_y)
    if outside:
        st.caption(f"{escaped(' and '.join(outside), 160)} leaves the chart: {OUTSIDE[error_of]}. Log scale shows it.")
    if len(losses) > 1 and error_of == "target" and losses[0].prediction_type != losses[1].prediction_type:
        st.caption("They predict different things, so compare the error of the clean latents or of the noise instead.")
    st.caption(
        f"Mean of {count(losses[0].num_pictures)} held-out images, band ± 2 standard errors; posterior samples of "
        "the run's own VAE, true labels, no guidance."
    )


def _curve(name: str, loss: TimestepLoss, losses: list[TimestepLoss], error_of: ErrorOf, axis: str) -> LossCurve:
    """Guesses are named once: over log-SNR they are the same for every schedule, over t they are the schedule's own."""
    x = np.array(loss.t if axis == "t" else loss.log_snr, dtype=float)
    shown = np.ones(len(x), dtype=bool) if axis == "t" else np.abs(x) < LOG_SNR_LIMIT
    several = len({each.schedule for each in losses}) > 1 or len({each.latents for each in losses}) > 1
    linear = "best linear guess" + (f", {plain(loss.schedule)}" if several and axis == "t" else "")
    guess, average = loss.linear_guess(error_of)[shown], loss.average_guess(error_of)[shown]
    guesses = [Guess(name=linear, y=guess)]
    if not np.allclose(guess, average, rtol=0.02):  # of v they are the same
        guesses.append(Guess(name="guessing the average", y=average))
    if loss is not losses[0] and axis == "log_snr" and loss.latents == losses[0].latents:
        guesses = []
    return LossCurve(
        name=name,
        x=x[shown],
        mean=loss.mean(error_of)[shown],
        error=loss.standard_error(error_of)[shown],
        alpha_bar=np.array(loss.alpha_bar)[shown],
        schedule=plain(loss.schedule),
        guesses=guesses,
    )


def _log_snr_range(losses: list[TimestepLoss]) -> tuple[float, float]:
    """Noise to the right, as over t; the far ends, where a schedule has a single timestep, are left outside."""
    known = [value for loss in losses for value in loss.log_snr if abs(value) < LOG_SNR_SHOWN]
    return (max(known, default=LOG_SNR_SHOWN) + 0.5, min(known, default=-LOG_SNR_SHOWN) - 0.5)


def _name(view: RunView, loss: TimestepLoss) -> str:
    raw = "" if loss.weights == "ema" else ", raw"
    return plain(f"{plain(view.title, 40)} (step {count(loss.step)}{raw})", 70)


def _shower(bar: DeltaGenerator) -> Callable[[str, float], None]:
    def show(text: str, share: float) -> None:
        bar.progress(min(1.0, max(0.0, share)), text=text[:1].upper() + text[1:])

    return show


def _formulas() -> None:
    st.latex(r"x_t = a_t\,x_0 + b_t\,\varepsilon \qquad \lambda_t = \log\frac{a_t^2}{b_t^2}")
    st.latex(r"\|\hat x_0 - x_0\|^2 = \frac{b_t^2}{a_t^2}\,\|\hat\varepsilon - \varepsilon\|^2")
    st.caption(
        "One answer fixes both errors, because the noisy latent is known (arXiv 2202.00512, section 4 and appendix D)."
    )
    st.latex(r"\text{best linear guess: } \frac{s\,b_t^2}{a_t^2 s + b_t^2}")
    st.caption("The Wiener filter, s the variance of a latent channel; with no signal left it is s, the average guess.")
