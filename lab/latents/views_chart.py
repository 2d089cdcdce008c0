"""Charts of what a decoder survives, of spectra, equivariance, sensitivity and linear probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lab.widgets.chart import LEGEND_ABOVE, as_text, frame, guide, note
from lab.widgets.palette import categories, palette

SEQUENTIAL_LIGHT = ((0.0, "#F5F6F8"), (0.5, "#7FA6F5"), (1.0, "#12307E"))
SEQUENTIAL_DARK = ((0.0, "#181E27"), (0.5, "#2F5FC4"), (1.0, "#C9DCFF"))


def survival_figure(
    t: Sequence[int],
    psnr: Sequence[float],
    accuracy: Sequence[float],
    log_snr: Sequence[float],
    *,
    alone: int | None,
    lost: int | None,
    chance: float,
    theme: str | None = None,
) -> go.Figure:
    """Judged accuracy above, PSNR below, over t; the clean value is drawn at t = -1.

    alone: the last t that the decoder masters by itself, shaded; lost: the first t at which the class is gone.
    """
    inks, faint = categories(theme), palette(theme).event
    figure = go.Figure()
    top = [0.52, 1.0] if accuracy else [0.0, 0.0]
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for begin, end, words in ((t[0], alone, "the decoder alone"), (lost, t[-1], "the class is lost")):
        if begin is not None and end is not None and end > begin:
            place = {"x0": begin, "x1": end, "y0": 0, "y1": 1, "yref": "paper"}
            shapes.append({"type": "rect", **place, "fillcolor": faint.line, "opacity": 0.14, "line": {"width": 0}})
            notes.append(note(words, (begin + end) / 2, 1.0, faint.text, yref="paper", yanchor="bottom"))
    if accuracy:
        figure.add_scatter(
            x=list(t),
            y=list(accuracy),
            yaxis="y2",
            mode="lines+markers",
            marker={"size": 5},
            name="accuracy",
            line={"color": inks[0], "width": 2},
            customdata=list(log_snr),
            hovertemplate="%{y:.1%} right, log-SNR %{customdata:.1f}<extra></extra>",
        )
        figure.add_scatter(
            x=[t[0], t[-1]],
            y=[chance, chance],
            yaxis="y2",
            mode="lines",
            hoverinfo="skip",
            name="guessing",
            line={"color": faint.line, "width": 1.5, "dash": "dot"},
        )
        notes.append(note("guessing", t[0], chance, faint.text, yref="y2", xanchor="left", yanchor="bottom"))
    figure.add_scatter(
        x=list(t),
        y=list(psnr),
        mode="lines+markers",
        marker={"size": 5},
        name="PSNR",
        customdata=list(log_snr),
        line={"color": inks[1], "width": 2},
        hovertemplate="%{y:.1f} dB, log-SNR %{customdata:.1f}<extra></extra>",
    )
    figure.update_layout(
        frame("Noisy latents decoded as they are: what is left of the image", height=460, top=60),
        showlegend=False,
        hovermode="x unified",
        hoversubplots="axis",
        shapes=shapes,
        annotations=notes,
        xaxis={
            "title": {"text": "timestep t, clean on the left, noise on the right"},
            "anchor": "y",
            "unifiedhovertitle": {"text": "t = %{x:,}"},
        },
        yaxis={
            "title": {"text": "PSNR, dB"},
            "domain": [0.0, 0.44 if accuracy else 1.0],
            "range": [max(0.0, min(psnr) - 2.0), max(psnr) + 2.0],
        },
    )
    if accuracy:
        figure.update_layout(
            yaxis2={"title": {"text": "judged right"}, "domain": top, "range": [-0.04, 1.06], "tickformat": ".0%"}
        )
    return figure


def spectrum_figure(lines: Sequence[tuple[str, np.ndarray, np.ndarray]], *, theme: str | None = None) -> go.Figure:
    """(name, frequency, power a coefficient) each, over the highest frequency of its own grid; power on a log axis."""
    inks = categories(theme)
    figure = go.Figure()
    for place, (name, frequency, power) in enumerate(lines):
        known = np.isfinite(power) & (power > 0)
        figure.add_scatter(
            x=frequency[known],
            y=power[known],
            mode="lines+markers",
            marker={"size": 5},
            name=as_text(name),
            line={"color": inks[place % len(inks)], "width": 2},
            hovertemplate=f"%{{y:.3g}}<extra>{as_text(name)}</extra>",
        )
    figure.update_layout(
        frame("Power by spatial frequency", height=340, top=44),
        hovermode="x unified",
        legend=LEGEND_ABOVE,
        xaxis={"title": {"text": "frequency, 1 = finest along an axis"}, "range": [0, 1.42]},
        yaxis={"title": {"text": "mean power per coefficient"}, "type": "log", "exponentformat": "power", "dtick": 1},
    )
    return figure


def equivariance_figure(
    names: Sequence[str],
    errors: Sequence[float],
    spreads: Sequence[float],
    unrelated: float,
    *,
    theme: str | None = None,
) -> go.Figure:
    """A bar a transform with two standard errors, and what latents of unrelated pictures give."""
    faint = palette(theme).event
    figure = go.Figure()
    figure.add_bar(
        y=[as_text(name) for name in names],
        x=list(errors),
        orientation="h",
        marker={"color": categories(theme)[0]},
        error_x={"type": "data", "array": [2 * each for each in spreads], "thickness": 1, "color": faint.text},
        hovertemplate="%{x:.3f}<extra>%{y}</extra>",
        width=0.6,
    )
    guide(figure, unrelated, "unrelated images", faint)
    figure.update_layout(
        frame("Error of encode(T x) against T encode(x), lower is better", height=340, top=56),
        xaxis={"title": {"text": "error / norm of the latents"}, "range": [0, max(1.5, unrelated * 1.1)]},
        yaxis={"autorange": "reversed"},
    )
    return figure


def sensitivity_figure(maps: np.ndarray, names: Sequence[str], *, theme: str | None = None) -> go.Figure:
    """maps (k, h, w) side by side on one sequential scale from 0."""
    scale = SEQUENTIAL_DARK if theme == "dark" else SEQUENTIAL_LIGHT
    figure = go.Figure()
    limit = float(np.nanmax(maps)) if np.isfinite(maps).any() else 1.0
    count = len(maps)
    layout: dict[str, Any] = {}
    notes = []
    gap = 0.03
    width = (1.0 - gap * (count - 1)) / count
    for place, (values, name) in enumerate(zip(maps, names, strict=True)):
        suffix = "" if place == 0 else str(place + 1)
        left = place * (width + gap)
        figure.add_heatmap(
            z=values,
            zmin=0,
            zmax=max(limit, 1e-9),
            colorscale=[list(stop) for stop in scale],
            xaxis=f"x{suffix}",
            yaxis=f"y{suffix}",
            showscale=place == count - 1,
            colorbar={"thickness": 10, "title": {"text": "grey"}},
            hovertemplate=f"row %{{y}}, column %{{x}}: %{{z:.1f}}<extra>{as_text(name)}</extra>",
            xgap=1,
            ygap=1,
        )
        hidden = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": ""}
        layout[f"xaxis{suffix}"] = {"domain": [left, left + width], "anchor": f"y{suffix}", **hidden}
        layout[f"yaxis{suffix}"] = {
            "scaleanchor": f"x{suffix}",
            "autorange": "reversed",
            "constrain": "domain",
            "anchor": f"x{suffix}",
            **hidden,
        }
        notes.append(note(name, left + width / 2, 1.0, xref="paper", yref="paper", yanchor="bottom"))
    figure.update_layout(
        frame("How far one deviation of a latent moves the image", height=280, top=60),
        annotations=notes,
        **layout,
    )
    return figure


def probe_figure(
    scores: Mapping[str, tuple[float, float, float]], chance: float, *, theme: str | None = None
) -> go.Figure:
    """name → (accuracy, low, high): a bar each with its interval, and guessing dotted."""
    inks, faint = categories(theme), palette(theme).event
    names = list(scores)
    values = np.array([scores[name] for name in names])
    figure = go.Figure()
    figure.add_bar(
        y=[as_text(name) for name in names],
        x=values[:, 0],
        orientation="h",
        width=0.6,
        marker={"color": [inks[0], inks[0], faint.line][: len(names)]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": values[:, 2] - values[:, 0],
            "arrayminus": values[:, 0] - values[:, 1],
            "thickness": 1.5,
            "color": faint.text,
        },
        text=[f"{value:.1%}" for value in values[:, 0]],
        textposition="inside",
        insidetextanchor="start",
        hovertemplate="%{x:.2%}<extra>%{y}</extra>",
    )
    guide(figure, chance, "guessing", faint)
    figure.update_layout(
        frame("What a linear classifier gets right", height=240, top=56),
        xaxis={"range": [0, 1.02], "tickformat": ".0%"},
        yaxis={"autorange": "reversed"},
    )
    return figure
