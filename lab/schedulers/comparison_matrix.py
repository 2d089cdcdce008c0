"""The result of a comparison: quality against cost, and a matrix of pictures with the figures below each cell."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st

from core.comparison import comparison_results as results
from core.comparison.comparison_results import CellResult, Comparison, best_of, on_front, pareto_front
from core.comparison.grid import PATH_PICTURES
from core.mosaic import mosaic
from core.reading import Stamp, stamp_of
from core.words import count, duration
from lab.schedulers import comparison_service
from lab.schedulers.comparison_chart import Level, Point, Series, quality_cost_figure
from lab.widgets.chart import as_text, show_chart
from lab.widgets.choice import choose
from lab.widgets.pictures import png
from lab.words import plain, significant

QUALITIES = ("FD-judge", "Class accuracy")
COSTS = ("Network evaluations", "Seconds")
ACROSS = 5
SHEET_PX = 165
A_CLASS = {"1 per class": 1, "2 per class": 2, "4 per class": 4}
VERDICTS = {
    "better": "▲ better than the reference",
    "as good": "≈ as good as the reference",
    "worse": "▽ worse than the reference",
    "cannot tell": "? cannot tell",
}
STYLE = """<style>
.lab-matrix { overflow-x: auto; }
.lab-matrix table { border-collapse: separate; border-spacing: 14px 12px; margin-left: -14px; font-size: 0.8rem; }
.lab-matrix th { font-weight: 600; text-align: left; white-space: nowrap; vertical-align: top; }
.lab-matrix td { vertical-align: top; line-height: 1.35; font-variant-numeric: tabular-nums; }
.lab-matrix img { image-rendering: pixelated; display: block; margin-bottom: 4px; }
.lab-matrix b { font-weight: 650; }
.lab-matrix .soft { opacity: 0.75; }
.lab-matrix .why { opacity: 0.75; max-width: 165px; white-space: normal; }
.lab-matrix .good img { outline: 2px solid GOOD; outline-offset: 2px; }
</style>"""


def comparison_matrix(found: Comparison) -> None:
    """Chart, legend of the marks, matrix, and how the figures are to be read."""
    if found.drawn:
        _chart(found)
    elif found.reference is None:
        st.html(_table(found, 1))
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        shown = choose("Images", list(A_CLASS), key="comparison-pictures", label_shown=False, in_url=False)
        st.caption("The same classes and the same noise in every cell.", width="content")
        with st.popover("What do the figures mean?", type="tertiary"):
            _explained(found)
    st.html(_table(found, A_CLASS[shown]))


def _chart(found: Comparison) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        quality = choose("Quality", QUALITIES, key="quality", label_shown=False)
        st.caption("against", width="content")
        cost = choose("Cost", COSTS, key="cost", label_shown=False)
    by_seconds, by_accuracy = cost == COSTS[1], quality == QUALITIES[1]
    names = comparison_service.row_names(found)
    series = [
        Series(
            name=plain(name, 40),
            points=[
                _point(found, result, by_seconds=by_seconds, by_accuracy=by_accuracy)
                for cell in found.cells
                if cell.row == row and (result := found.results.get(cell.index)) is not None and not result.problem
            ],
        )
        for row, name in enumerate(names)
    ]
    points = [(point.cost, point.quality) for each in series for point in each.points]
    front = [points[place] for place in pareto_front([(x, -y if by_accuracy else y) for x, y in points])]
    figure = quality_cost_figure(
        series,
        front=front,
        title=f"{'Upper' if by_accuracy else 'Lower'} left is better: more quality for less",
        cost_title=f"seconds for {count(found.request.num_samples)} images"
        if by_seconds
        else "network evaluations per image",
        quality_title="class accuracy" if by_accuracy else "FD-judge, lower is better",
        reference=_level(found, by_accuracy=by_accuracy),
        theme=st.context.theme.type,
        percent=by_accuracy,
    )
    show_chart(figure, key="quality-cost")


def _point(found: Comparison, result: CellResult, *, by_seconds: bool, by_accuracy: bool) -> Point:
    words = [
        found.words(result),
        f"FD-judge {significant(result.fd_judge)} ({significant(result.fd_low)} to {significant(result.fd_high)})",
        f"{result.class_accuracy:.1%} right ({result.class_accuracy_low:.1%} to {result.class_accuracy_high:.1%})",
        f"{result.evaluations:g} evaluations, {result.seconds:.3g} s",
        _verdict(result),
    ]
    return Point(
        cost=result.seconds if by_seconds else result.evaluations,
        quality=result.class_accuracy if by_accuracy else result.fd_judge,
        words="<br>".join(as_text(word) for word in words if word),
        marked=result.is_as_good,
    )


def _level(found: Comparison, *, by_accuracy: bool) -> Level | None:
    reference = found.reference
    if reference is None:
        return None
    name = f"{found.reference_words}, {reference.evaluations:g} evaluations"
    if by_accuracy:
        return Level(
            quality=reference.class_accuracy,
            low=reference.class_accuracy_low,
            high=reference.class_accuracy_high,
            name=name,
        )
    return Level(quality=reference.fd_judge, low=reference.fd_low, high=reference.fd_high, name=name)


def _table(found: Comparison, a_class: int) -> str:
    """The matrix as HTML; everything in it is escaped, its pictures are data addresses."""
    front, best = on_front(found), best_of(found)
    good = "#4CC27A" if st.context.theme.type == "dark" else "#15803D"
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in comparison_service.column_names(found))
    rows = []
    for row, name in enumerate(comparison_service.row_names(found)):
        cells = [cell for cell in found.cells if cell.row == row]
        problems = {cell.problem for cell in cells}
        if len(problems) == 1 and "" not in problems:  # the whole row, for one reason
            rows.append(f'<tr><th scope="row">{_text(name)}</th>{_refused(problems.pop(), len(cells))}</tr>')
            continue
        body = "".join(
            _cell(found, found.results.get(cell.index), cell.index, cell.problem, front, best, a_class)
            for cell in cells
        )
        rows.append(f'<tr><th scope="row">{_text(name)}</th>{body}</tr>')
    if found.reference is not None:
        words = _text(f"reference: {found.reference_words}")
        sheet = _image(_sheet(found, -1, a_class), words)
        figures = _figures(found.reference, [])
        span = len(found.request.columns.values)
        rows.append(f'<tr><th scope="row">reference</th><td colspan="{span}">{sheet}{figures}</td></tr>')
    table = f'<table><tr><th scope="col"></th>{head}</tr>{"".join(rows)}</table>'
    return STYLE.replace("GOOD", good) + f'<div class="lab-matrix">{table}</div>'


def _cell(
    found: Comparison,
    result: CellResult | None,
    index: int,
    problem: str,
    front: set[int],
    best: CellResult | None,
    a_class: int,
) -> str:
    if result is None and not problem:
        return '<td class="soft">not generated yet</td>'
    if result is None or result.problem:
        return _refused(result.problem if result else problem)
    marks = []
    if best is not None and best.index == index:
        marks.append("★ lowest FD-judge")
    if index in front:
        marks.append("◆ on the Pareto front")
    if result.verdict:
        marks.append(_verdict(result))
    sheet = _image(_sheet(found, index, a_class), _text(found.words(result)))
    kind = ' class="good"' if result.is_as_good else ""
    return f"<td{kind}>{sheet}{_figures(result, marks)}</td>"


def _verdict(result: CellResult) -> str:
    """Against the reference, with how many more images would tell."""
    more = f": about {count(result.more_images)} more images would" if result.more_images else ""
    return VERDICTS.get(result.verdict, "") + more


def _refused(problem: str, span: int = 1) -> str:
    """Why, without the name of the setting; over `span` columns."""
    why = problem.removeprefix("sampling.sampler: ").removeprefix("sampling.num_inference_steps: ")
    wide = "" if span == 1 else ' style="max-width: none"'
    return f'<td colspan="{span}"><div class="why"{wide}>refused: {_text(why, 300)}</div></td>'


def _figures(result: CellResult, marks: Sequence[str]) -> str:
    """FD and accuracy, cost, likeness to the reference's path, marks; a line each."""
    lines = [
        f"<b>FD {significant(result.fd_judge)}</b> · {result.class_accuracy:.1%} right",
        f'<span class="soft">{result.evaluations:g} evaluations · {_seconds(result.seconds)}</span>',
        f'<span class="soft">recall {result.recall:.2f}</span>',
    ]
    if result.agreement is not None and result.psnr_db is not None:
        lines.append(f'<span class="soft">same class {result.agreement:.0%}, {result.psnr_db:.0f} dB</span>')
    lines += [_text(mark) for mark in marks if mark]
    return "<br>".join(lines)


def _explained(found: Comparison) -> None:
    facts, count_on_path = found.facts, min(found.request.num_samples, PATH_PICTURES)
    floor = ""
    if facts is not None:
        floor = f" {count(facts.fd_floor_count)} real held-out images reach {significant(facts.fd_floor)}: the floor."
    st.markdown(
        f"""**FD** is the distance between generated and real images as the judge sees them; lower is better.{floor}

**right**: share of images in which the judge sees the class that was asked for.

**evaluations**: passes of one image through the U-Net, counted; guidance makes two of one, and so does Heun.

**recall**: share of the real variety that is reached. Higher guidance lowers it and raises accuracy.

**same class, dB**: likeness of the first {count_on_path} images
to those of the same noise on the slow deterministic path. Stochastic samplers have none.

**≈ as good**: the 95 % intervals of both differences from the reference lie inside the margins: a tenth of its FD
and a quarter of its error rate. **Better**, **worse**: one interval excludes 0, corrected for the number of cells.
**Cannot tell**: neither, from {count(found.request.num_samples)} pairs of images.

**◆ Pareto front**: no other cell has fewer evaluations and a lower FD."""
    )
    with st.expander("Formula and sources"):
        st.latex(r"\mathrm{FD} = |\mu_r - \mu_g|^2 + \mathrm{Tr}\,(\Sigma_r + \Sigma_g - 2(\Sigma_r\Sigma_g)^{1/2})")
        st.caption(
            "On 128 features of the judge, which is not FID: arXiv 1706.08500, eq. 6. Interval: from the influence of "
            "each image, in pairs. Accuracy: Bonett and Price 2012, doi 10.3102/1076998611411915. Recall: arXiv "
            "1904.06991, eq. 2."
        )


def _sheet(comparison: Comparison, index: int, a_class: int) -> str:
    """The pictures of a cell (-1: of the reference) as a data address, `a_class` of each class; '' without any."""
    name = results.cell_name(index) if index >= 0 else results.REFERENCE
    return _drawn_sheet(comparison.folder, index, stamp_of(comparison.folder / f"{name}.npz"), a_class, comparison)


@st.cache_data(max_entries=1000, show_spinner=False)
def _drawn_sheet(folder: Path, index: int, stamp: Stamp, a_class: int, _comparison: Comparison) -> str:
    arrays = results.read_arrays(_comparison, index)
    if arrays is None or not _are_pictures(arrays.get("pictures")):
        return ""
    pictures = arrays["pictures"]
    labels = arrays.get("labels", np.empty(0))[: len(pictures)]
    shown = pictures[_of_each_class(labels if labels.shape == (len(pictures),) else np.arange(len(pictures)), a_class)]
    zoom = max(1, round(SHEET_PX / (ACROSS * (shown.shape[2] + 1))))
    return "data:image/png;base64," + base64.b64encode(png(mosaic(shown, columns=ACROSS, zoom=zoom))).decode()


def _of_each_class(labels: np.ndarray, most: int) -> np.ndarray:
    """Places of the first `most` images of each class, the first of every class before the seconds; 40 at most."""
    turns = np.array([int((labels[:place] == label).sum()) for place, label in enumerate(labels)], dtype=np.int64)
    order = np.lexsort((labels, turns))
    return order[turns[order] < most][:40]


def _are_pictures(array: np.ndarray | None) -> bool:
    good = array is not None and array.ndim == 4 and array.dtype == np.uint8 and bool(array.size)
    return good and array is not None and array.shape[3] in (1, 3)


def _image(address: str, words: str) -> str:
    return f'<img src="{address}" alt="{words}">' if address else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def _text(text: str, limit: int = 120) -> str:
    return html.escape(plain(text, limit), quote=True)
