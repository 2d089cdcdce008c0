"""Loss against t: the mean with its uncertainty, what guesses without a network get, and the schedule beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lab.widgets.chart import as_text, frame, note
from lab.widgets.palette import Ink, categories, palette

BAND = 2.0  # standard errors each way
FAR, CUT = 2.5, 1.6  # times the average guess: an error above FAR leaves a chart that is cut at CUT
DEPTH = 1e-4
FLAT = 0.02
DASHES = ("dot", "dash")
HEIGHT = 560  # pixels
SHARE_OF_LOSS = 0.72


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What a rule without a network gets: y (P,)."""

    name: str
    y: np.ndarray


@dataclass(frozen=True, kw_only=True)
class LossCurve:
    """One run's errors: x, mean, standard error and share of signal (P,); guesses to compare with."""

    name: str
    x: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    alpha_bar: np.ndarray
    schedule: str
    guesses: Sequence[Guess] = ()


def loss_figure(
    curves: Sequence[LossCurve],
    *,
    title: str,
    x_title: str,
    log_y: bool = False,
    x_range: tuple[float, float] | None = None,
    theme: str | None = None,
) -> go.Figure:
    """Means with a band of two standard errors, guesses faint and dotted, and under them the share of signal.

    Both charts share the x-axis. Guesses that two curves have in common are drawn once.
    """
    inks, faint = categories(theme), palette(theme).event
    curves = [curve for curve in curves if len(curve.x)]
    figure = go.Figure()
    drawn: list[tuple[Guess, np.ndarray]] = []
    for place, curve in enumerate(curves):
        ink, name = inks[place % len(inks)], as_text(curve.name)
        x, mean, error = curve.x, curve.mean, BAND * curve.error
        low = np.maximum(mean - error, mean * 1e-2) if log_y else mean - error
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([mean + error, low[::-1]]),
            fill="toself",
            mode="lines",
            line={"width": 0, "color": ink},
            fillcolor=ink,
            opacity=0.2,
            hoverinfo="skip",
            name="band",
        )
        for guess in curve.guesses:
            if not any(_same(guess, other) for other, _ in drawn):
                drawn.append((guess, x))
                figure.add_scatter(
                    x=x,
                    y=guess.y,
                    mode="lines",
                    name=as_text(guess.name),
                    line={"color": faint.line, "width": 1.5, "dash": DASHES[min(place, 1)]},
                    hovertemplate=f"%{{y:.4g}}<extra>{as_text(guess.name)}</extra>",
                )
        figure.add_scatter(
            x=x,
            y=mean,
            mode="lines+markers",
            name=name,
            line={"color": ink, "width": 2},
            marker={"size": 5},
            customdata=error,
            hovertemplate=f"%{{y:.4g}} ± %{{customdata:.2g}}<extra>{name}</extra>",
        )
        figure.add_scatter(
            x=x,
            y=curve.alpha_bar,
            yaxis="y2",
            mode="lines+markers",
            name=as_text(curve.schedule),
            line={"color": ink, "width": 2},
            marker={"size": 4},
            hovertemplate=f"%{{y:.3g}}<extra>ᾱ, {as_text(curve.schedule)}</extra>",
        )
    names = [_name_of_guess(guess, x, drawn, faint, log_y=log_y) for guess, x in drawn]
    names += _names_of_curves(curves, inks, log_y=log_y)
    figure.update_layout(
        frame(title, height=HEIGHT),
        showlegend=False,
        hovermode="x unified",
        hoversubplots="axis",
        xaxis={
            "title": {"text": f"{as_text(x_title)}, clean on the left, noise on the right"},
            "anchor": "y2",
            "range": x_range and list(x_range),
            "unifiedhovertitle": {"text": f"{as_text(x_title)} %{{x:.4~g}}"},
        },
        yaxis=_loss_axis(curves, log_y=log_y),
        yaxis2={"title": {"text": "signal ᾱ"}, "domain": [0, 0.95 - SHARE_OF_LOSS], "range": [-0.04, 1.04]},
        annotations=[each for each in names if each],
    )
    return figure


def _loss_axis(curves: Sequence[LossCurve], *, log_y: bool) -> dict[str, Any]:
    """A linear axis starts at zero, and ends above the guesses where an error is far above them."""
    axis: dict[str, Any] = {"title": {"text": "mean squared error"}, "domain": [1 - SHARE_OF_LOSS, 1]}
    if log_y:
        return axis | {"type": "log", "exponentformat": "power", "dtick": 1, "range": _decades(curves)}
    top = _end_of_axis(curves)
    return axis | ({"range": [0, top]} if top else {"rangemode": "tozero"})


def _end_of_axis(curves: Sequence[LossCurve]) -> float | None:
    """Where a linear axis is cut, or None where everything has room."""
    guessed = [float(guess.y.max()) for curve in curves for guess in curve.guesses if _is_flat(guess)]
    if not guessed:
        return None
    highest = max(float((curve.mean + BAND * curve.error).max()) for curve in curves)
    return max(guessed) * CUT if highest > FAR * max(guessed) else None


def _decades(curves: Sequence[LossCurve]) -> list[float] | None:
    """Down to DEPTH below the highest guess: a schedule's last timesteps can be a billion times below the rest."""
    guessed = [guess.y.max() for curve in curves for guess in curve.guesses]
    values = np.array([value for curve in curves for value in curve.mean if value > 0])
    if not len(values):
        return None
    deepest = max(guessed, default=values.max()) * DEPTH
    high, low = max([values.max(), *guessed]), max(values.min(), min(deepest, values.max()))
    return [float(np.log10(low)) - 0.15, float(np.log10(high)) + 0.3]


def leaves_the_chart(curves: Sequence[LossCurve], *, log_y: bool) -> list[str]:
    """Names of the curves whose error is above the end of the axis somewhere."""
    top = None if log_y else _end_of_axis(curves)
    return [curve.name for curve in curves if top is not None and float(curve.mean.max()) > top]


def _is_flat(guess: Guess) -> bool:
    return float(np.ptp(guess.y)) <= FLAT * float(guess.y.max())


def _same(guess: Guess, other: Guess) -> bool:
    return guess.name == other.name and guess.y.shape == other.y.shape and np.allclose(guess.y, other.y, rtol=1e-6)


def _name_of_guess(
    guess: Guess, x: np.ndarray, drawn: Sequence[tuple[Guess, np.ndarray]], ink: Ink, *, log_y: bool
) -> dict[str, Any]:
    """Above its line, where no other guess that bends lies higher; the flat one's at its beginning."""
    places = [int(share * (len(x) - 1)) for share in (0.65, 0.3)]
    others = [other for other, at in drawn if other is not guess and not _is_flat(other) and np.array_equal(at, x)]
    higher = [sum(other.y[place] > guess.y[place] for other in others) for place in places]
    at = 0 if _is_flat(guess) else places[int(np.argmin(higher))]
    return _note(guess.name, x, guess.y, at, ink.text, above=True, log_y=log_y)


def _names_of_curves(curves: Sequence[LossCurve], inks: Sequence[str], *, log_y: bool) -> list[dict[str, Any]]:
    """Each curve's name beside it: the lowest one's below, the other's above."""
    at = [int((0.7 if place == 0 else 0.5) * (len(curve.x) - 1)) for place, curve in enumerate(curves)]
    middles = [float(curve.mean[int(0.6 * (len(curve.x) - 1))]) for curve in curves]
    lowest = min(range(len(curves)), key=middles.__getitem__, default=0)
    return [
        _note(curve.name, curve.x, curve.mean, at[place], inks[place % len(inks)], above=place != lowest, log_y=log_y)
        for place, curve in enumerate(curves)
    ]


def _note(text: str, x: np.ndarray, y: np.ndarray, at: int, color: str, *, above: bool, log_y: bool) -> dict[str, Any]:
    """A name beside a point of its line, on the side where the line does not run through it."""
    if log_y and y[at] <= 0:
        return {}
    rises = y[min(at + 1, len(y) - 1)] > y[max(at - 1, 0)] * (1 + 1e-9)
    beside: dict[str, Any] = {
        "xref": "x",
        "yref": "y",
        "xanchor": "right" if rises == above else "left",
        "yanchor": "bottom" if above else "top",
        "yshift": 4 if above else -4,
    }
    return note(text, float(x[at]), float(np.log10(y[at])) if log_y else float(y[at]), color, **beside)
