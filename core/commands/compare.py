"""`compare RUN --rows sampler=all --columns num_inference_steps=5,10,20`: samplers side by side, as a job."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import settings_of_run, store_of
from core.commands.request_options import request_of
from core.commands.tables import table
from core.commands.train import add_launch_options, end_of, finish_launch
from core.comparison.comparison_results import (
    CELLS,
    CellResult,
    Comparison,
    best_of,
    finding,
    on_front,
    read_comparison,
)
from core.comparison.grid import Cost, cost_of, parse_axis, value_in_words
from core.errors import LabError, quoted
from core.jobs.comparison_job import choices_of, plan_comparison, start_comparison
from core.jobs.engines.choose import observed_status
from core.runs.store import RunStore
from core.words import duration

MARKS = (
    "* lowest FD-judge",
    "+ no other cell is both cheaper and better",
    "= as good as the reference, or better",
)


def add_parser(commands: Any) -> None:
    """Its options; what no axis changes comes from the run's own `sampling` settings."""
    parser = add_command(
        commands,
        "compare",
        "Compare samplers, step counts or any two sampling settings on the same noise.",
        (
            "compare RUN --rows sampler=unipc,euler --columns num_inference_steps=5,10 --samples 200 --no-reference",
            "compare RUN --columns guidance_scale=1.0,2.0,3.0 --detach",
        ),
    )
    parser.add_argument("run", metavar="RUN", help="a U-Net run: id, unique beginning or end of it, or name")
    parser.add_argument(
        "--rows",
        default="sampler=all",
        metavar="SETTING=VALUES",
        help="settings of the rows: sampler=all, seed=0-3, ...",
    )
    parser.add_argument(
        "--columns",
        default="num_inference_steps=5,10,20,50",
        metavar="SETTING=VALUES",
        help="settings of the columns: num_inference_steps=5-50(5), guidance_scale=1.0-3.0(0.5), weights=all, ...",
    )
    parser.add_argument("--samples", type=int, metavar="N", help="images per cell (default: evaluation.num_samples)")
    parser.add_argument("--no-reference", action="store_true", help="leave out the slow 1000-step reference")
    add_launch_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Queue the comparison, watch it, and print its table."""
    store = store_of(arguments)
    unet_run = store.get(arguments.run)
    settings = settings_of_run(arguments, unet_run, ("sampling", "evaluation", "machine"))
    known = choices_of(unet_run)
    request = plan_comparison(
        unet_run,
        parse_axis(arguments.rows, known),
        parse_axis(arguments.columns, known),
        settings=settings,
        num_samples=arguments.samples,
        with_reference=not arguments.no_reference,
    )
    print(cost_in_words(cost_of(request, settings.diffusion)), file=sys.stderr)
    job = start_comparison(
        store,
        unet_run,
        request,
        settings=settings,
        name=arguments.name,
        priority=arguments.priority,
        asked=request_of(arguments),
    )
    code = finish_launch(arguments, RunStore(job.folder.parent), [job], detach=arguments.detach)
    try:
        comparison = None if arguments.detach else read_comparison(unet_run, job.id)
    except LabError:
        comparison = None
    if comparison is None:
        answer(arguments, end_of(job, observed_status(job)))
        return code
    for problem in comparison.problems:
        print(f"warning: {quoted(problem, 300)}", file=sys.stderr)
    answer(arguments, as_json(comparison), lambda: in_full(comparison))
    return code


def cost_in_words(cost: Cost) -> str:
    """'20 cells, 4 of them refused; 7,120,000 network evaluations'."""
    refused = f", {cost.refused} of them refused" if cost.refused else ""
    references = f", {cost.reference_evaluations:,} of them for the reference" if cost.reference_evaluations else ""
    return f"{cost.cells} cells{refused}; {cost.evaluations:,} network evaluations{references}"


def in_full(comparison: Comparison) -> str:
    """The grid as a table of four figures a cell, what they mean, and the finding."""
    request = comparison.request
    columns = [value_in_words(request.columns.setting, value) for value in request.columns.values]
    front, best = on_front(comparison), best_of(comparison)
    lines = []
    for row, value in enumerate(request.rows.values):
        cells = [cell for cell in comparison.cells if cell.row == row]
        found = [comparison.results.get(cell.index) for cell in cells]
        marks = [_marks(result, best, front) for result in found]
        name = value_in_words(request.rows.setting, value)
        lines.append([name, "FD-judge", *(_figure(each, "fd") + mark for each, mark in zip(found, marks, strict=True))])
        for title, key in (("accuracy", "accuracy"), ("evaluations", "evaluations"), ("seconds", "seconds")):
            lines.append(["", title, *(_figure(each, key) for each in found)])
    parts = [table(["", "", *columns], lines)]
    reference, facts = comparison.reference, comparison.facts
    if reference is not None:
        parts.append(
            f"reference: {comparison.reference_words}, FD-judge {reference.fd_judge:.4g}, "
            f"accuracy {reference.class_accuracy:.2%}, {reference.evaluations:g} evaluations, "
            f"{duration(reference.seconds)}"
        )
    if facts is not None:
        parts.append(
            f"{request.num_samples:,} images per cell; FD-judge of {facts.fd_floor_count:,} held-out real images: "
            f"{facts.fd_floor:.4g}; judge {facts.judge_hash[:12]}"
        )
    refused = {result.problem for result in comparison.results.values() if result.problem}
    parts += [f"refused: {problem}" for problem in sorted(refused)]
    parts.append("; ".join(MARKS if reference is not None else MARKS[:2]))
    parts.append(finding(comparison))
    return "\n".join(part for part in parts if part)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """`compare --json`: the request, the facts, the reference, and every cell with its marks."""
    front = on_front(comparison)
    cells = [
        {"row": cell.row, "column": cell.column, **CELLS.as_json(result), "on_pareto_front": cell.index in front}
        for cell in comparison.cells
        if (result := comparison.results.get(cell.index)) is not None
    ]
    return {
        "id": comparison.id,
        "request": asdict(comparison.request),
        "facts": None if comparison.facts is None else asdict(comparison.facts),
        "reference": None if comparison.reference is None else CELLS.as_json(comparison.reference),
        "cells": cells,
        "finding": finding(comparison),
    }


def _figure(result: CellResult | None, key: str) -> str:
    if result is None:
        return "-"
    if result.problem:
        return "refused" if key == "fd" else ""
    if key == "fd":
        return f"{result.fd_judge:.4g}"
    if key == "accuracy":
        return f"{result.class_accuracy:.2%}"
    return f"{result.evaluations:g}" if key == "evaluations" else f"{result.seconds:.3g}"


def _marks(result: CellResult | None, best: CellResult | None, front: set[int]) -> str:
    if result is None or result.problem:
        return ""
    marks = ("*" if best is not None and result.index == best.index else "") + ("+" if result.index in front else "")
    marks += "=" if result.is_as_good else ""
    return f" {marks}" if marks else ""
