"""The score card: each measure as a small range between real images and the VAE alone, and what is wrong in words."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from core.evaluation.report import Report, SecondJudge
from core.evaluation.scores import Finding, Score
from core.words import count, duration
from lab.words import escaped

PADDING = 0.08  # of a range, left and right of what is drawn in it
HEADS = ("Measure", "This model, 95 % interval", "worse … better", "VAE alone", "Real images")


def conditions(report: Report) -> str:
    """'1,000 images of step 1,400 · unipc, 10 steps, guidance 1.5, seed 0 · judge …, right on …'."""
    return " · ".join(
        [
            f"{count(report.num_samples)} images of step {count(report.step)}, {report.labels_in_words()}",
            report.sampling_in_words(),
            f"judge {report.judge_hash[:12]}, right on {report.judge_accuracy:.2%} of "
            f"{count(report.judge_heldout_count)} held-out images",
            *([_second(report.second_judge)] if report.second_judge else []),
            f"{report.data_set} {report.fingerprint[:12]}",
            f"{duration(report.elapsed_s)} on {report.device}",
        ]
    )


def _second(found: SecondJudge) -> str:
    return (
        f"{found.class_accuracy:.2%} ({found.low:.2%} to {found.high:.2%}) right for a second judge, "
        f"{found.judge_hash[:12]}, right on {found.judge_accuracy:.2%}"
    )


def score_card(scores: Sequence[Score]) -> None:
    """A table, a row per measure; every row has a scale of its own, better to the right."""
    heads = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in HEADS)
    rows = "".join(_row(score) for score in scores)
    st.html(f'<table class="lab-scores"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>')
    st.caption(
        "Dot and bar: this model. Violet line: held-out images through the VAE alone. Diamond: held-out real images.",
        help="Every row has its own scale, which ends at the best there can be. An interval is missing where none is "
        "known. N stands under each value.",
    )


def findings_column(found: Sequence[Finding]) -> None:
    """What is wrong, in words; what is not, too."""
    st.markdown("##### What is wrong" if any(each.is_fault for each in found) else "##### Nothing was found wrong")
    for each in found:
        icon = ":orange[:material/warning:]" if each.is_fault else ":green[:material/check_circle:]"
        st.markdown(f"{icon} **{escaped(each.title, 200)}**  \n{escaped(each.words, 400)}")


def _row(score: Score) -> str:
    measure = score.measure
    below = '<span class="below">⚠ worse than real</span>' if score.is_below_real else ""
    interval = f"{_value(score, score.low)} to {_value(score, score.high)}" if score.low is not None else "no interval"
    real = _value(score, score.real)
    if score.spread:
        real += f"<small>± {score.spread:.2g}</small>"
    return (
        f'<tr><th scope="row">{html.escape(measure.title)} {below}<small>{html.escape(measure.words)}</small></th>'
        f"<td><b>{_value(score, score.value)}</b><small>{interval}, N {count(score.count)}</small></td>"
        f"<td>{_range(score)}</td><td>{_value(score, score.vae)}</td><td>{real}</td></tr>"
    )


def _value(score: Score, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if score.measure.is_share else f"{value:.3g}"


def _range(score: Score) -> str:
    """Marks on a line, by their share of it from the left."""
    ideal = 0.0 if score.measure.less_is_better else 1.0
    known = [each for each in (score.value, score.low, score.high, score.real, score.vae, ideal) if each is not None]
    low, high = min(known), max(known)
    width = (high - low) or max(abs(high), 1e-9)
    low, high = low - PADDING * width, high + PADDING * width

    def place(value: float) -> float:
        share = (value - low) / (high - low)
        return 100 * (1 - share if score.measure.less_is_better else share)

    marks = ""
    if score.low is not None and score.high is not None:
        left, right = sorted((place(score.low), place(score.high)))
        marks += f'<i class="span" style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'
    for kind, value in (("vae", score.vae), ("real", score.real), ("own", score.value)):
        if value is not None:
            marks += f'<i class="{kind}" style="left:{place(value):.1f}%"></i>'
    return f'<span class="range" aria-hidden="true">{marks}</span>'
