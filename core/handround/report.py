"""The report of runs: one HTML file that opens from disk and asks nothing of any network. Never imports torch.

It shows curves, films, settings, measures, and the commands that train the runs again. What names this machine or its
people is left out: see `core.handround.private`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from core import reading
from core.config.load import differences, get_value, is_preset, load_preset, plain_value, settings_from
from core.config.schema import Settings, field_rows
from core.errors import UsageError, quoted
from core.evaluation.report import Report, ceiling_beside, list_reports, report_rows
from core.evaluation.scores import headline
from core.handround.curves import Line, chart, legend
from core.handround.private import public_value, without_secrets
from core.handround.repeat import Repeat, repeat_of
from core.handround.sheets import Pictures, Sheet, pictures_of
from core.rules import PREFIX
from core.runs.facts import DataFacts, data_facts
from core.runs.listing import list_checkpoints
from core.runs.metrics import read_metrics
from core.runs.run import FORMAT_KEY, Run, Status, now_iso
from core.runs.store import RunStore
from core.version import VERSION
from core.words import count, duration

MOST_RUNS = 40
MOST_BYTES = 10_000_000
IMAGE_BYTES = 7_000_000  # of all runs together, as text
MOST_CHARTS = 24
MOST_NAME = 60
CURVES = {  # key of metrics.jsonl: title
    "loss": "Training loss",
    "val_loss": "Validation loss",
    "eval_class_accuracy": "Class accuracy of the averaged weights",
    "eval_fd_judge": "FD-judge of the averaged weights, lower is better",
    "reconstruction": "Reconstruction error",
    "val_reconstruction": "Reconstruction error, validation",
    "edge": "Edge error",
    "val_edge": "Edge error, validation",
    "kl": "KL, nats per image",
    "val_kl": "KL, nats per image, validation",
    "grad_norm": "Gradient norm",
    "learning_rate": "Learning rate",
    "images_per_s": "Speed, images per second",
}
NO_CURVES = ("step", "images_seen", "elapsed_s", "timestamp")
_HERE = Path(__file__).parent
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A run as the report shows it. base: the settings that its own are told against."""

    run: Run
    name: str
    status: Status
    settings: Settings
    base: Settings
    base_words: str
    data: DataFacts
    columns: Mapping[str, np.ndarray]
    reports: Sequence[Report]
    pictures: Pictures | None
    repeat: Repeat
    weights: Mapping[str, str]


def report_html(
    store: RunStore,
    runs: Sequence[Run],
    *,
    with_owner: bool = False,
    progress: Progress = lambda stage, share: None,
) -> bytes:
    """The file, at most MOST_BYTES. Raises UsageError for runs that it cannot show."""
    if not 1 <= len(runs) <= MOST_RUNS:
        raise UsageError(f"report: shows 1 to {MOST_RUNS} runs, got {len(runs)}")
    seen: dict[str, Run] = {run.id: run for run in runs}
    names = _names(list(seen.values()))
    shown = []
    for number, run in enumerate(seen.values()):
        progress(f"reading {run.id}", number / len(seen))
        shown.append(_look_at(store, run, names[run.id], IMAGE_BYTES // len(seen)))
    page = _page(shown, with_owner=with_owner).encode()
    if len(page) > MOST_BYTES:
        raise UsageError(f"report: {len(page) / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB", "name fewer runs")
    return page


def _names(runs: Sequence[Run]) -> dict[str, str]:
    titles = {run.id: quoted(without_secrets(run.title), MOST_NAME) for run in runs}
    all_titles = list(titles.values())
    return {run: title if all_titles.count(title) == 1 else f"{title} ({run[-4:]})" for run, title in titles.items()}


def _look_at(store: RunStore, run: Run, name: str, budget: int) -> _Shown:
    if not run.kind.trains:
        raise UsageError(f"report {run.id}: is a {run.kind.noun}", "name the run that it measures")
    settings, preset = run.shown_settings, run.info.preset
    known = is_preset(preset)
    try:
        data = data_facts(run)
    except (OSError, reading.Unreadable):
        data = DataFacts(name=str(run.info.dataset.get("name", "")))
    try:
        columns = read_metrics(run.metrics_path)
    except (OSError, ValueError):
        columns = {}
    return _Shown(
        run=run,
        name=name,
        status=run.status(),
        settings=settings,
        base=settings_from(load_preset(preset)) if known else Settings(),
        base_words=f"the preset {preset}" if known else "the defaults",
        data=data,
        columns=columns,
        reports=list_reports(run) if run.kind.generates else [],
        pictures=pictures_of(run, budget),
        repeat=repeat_of(store, run),
        weights=weights_of(run),
    )


def weights_of(run: Run) -> dict[str, str]:
    """File → sha256 of the weights in the newest checkpoint, as its manifest names them; {} without one."""
    try:
        path = max(list_checkpoints(run), key=lambda item: item.step).path
        files = reading.read_object(path / "manifest.json")["files"]
        return {str(name): str(facts["sha256"]) for name, facts in files.items() if str(name).endswith(".safetensors")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, reading.Unreadable):
        return {}


def _page(shown: Sequence[_Shown], *, with_owner: bool) -> str:
    title = shown[0].name if len(shown) == 1 else f"{len(shown)} runs: {', '.join(each.name for each in shown)}"
    title = title if len(title) <= 120 else f"{title[:119]}…"
    thinned = [f"{each.name}: {each.pictures.thinned}" for each in shown if each.pictures and each.pictures.thinned]
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="note">Report of {escape(now_iso()[:16].replace("T", " "))} UTC, Latent Diffusion Lab '
        f"{escape(VERSION)}. This file is complete: it loads nothing.</p>",
        _overview(shown, with_owner=with_owner),
        _measures(shown),
        _differences(shown),
        _curves(shown),
        _player(
            shown,
            "How the images became what they are",
            "The same seeds at growing training steps, with the averaged weights where the run keeps them.",
            "Training",
            lambda each: each.pictures.learning if each.pictures else (),
        ),
        _player(
            shown,
            "How an image is generated",
            "From noise to an image with the newest previewed weights.",
            "Denoising",
            lambda each: each.pictures.drawing if each.pictures else (),
        ),
        *(f'<p class="note">{escape(words)}</p>' for words in thinned),
        _again(shown),
    ]
    style, script = (_HERE / "report.css").read_text(), (_HERE / "report.js").read_text()
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body>{''.join(body)}<script>{script}</script></body></html>\n"
    )


def _overview(shown: Sequence[_Shown], *, with_owner: bool) -> str:
    rows = [_facts(each, with_owner=with_owner) for each in shown]
    if len(shown) == 1:
        cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows[0])
        return f'<dl class="facts">{cells}</dl>'
    head = [name for name, _ in rows[0]]
    return _table(
        ["Run", *head], [[each.name, *(value for _, value in row)] for each, row in zip(shown, rows, strict=True)]
    )


def _facts(each: _Shown, *, with_owner: bool) -> list[tuple[str, str]]:
    status, info, report = each.status, each.run.info, next(iter(each.reports), None)
    best = "not evaluated"
    if report:
        best = f"{report.class_accuracy:.2%} right, FD-judge {report.fd_judge:.3g}"
    return [
        ("Kind", each.run.kind.title),
        ("State", f"{status.state} at step {count(status.step)} of {count(status.steps_total)}"),
        ("Dataset", each.data.title or each.data.name or "–"),
        ("Preset", info.preset or "none"),
        ("Trained for", f"{duration(status.elapsed_s)} on {without_secrets(status.device) or '–'}"),
        ("Quality", best if each.run.kind.generates else "a VAE alone"),
        *([("Owner", info.owner)] if with_owner else []),
    ]


def _measures(shown: Sequence[_Shown]) -> str:
    parts = []
    for each in shown:
        if not each.reports:
            continue
        report = each.reports[0]
        words = f"{headline(report)} Images: {report.sampling_in_words()}; N = {count(report.num_samples)}."
        rows = [list(row) for row in report_rows(report, ceiling_beside(each.run, report))]
        inside = f"<p>{escape(words)}</p>{_table(['Measure', 'Value', 'Interval, floor and conditions'], rows)}"
        opened = " open" if len(shown) == 1 else ""
        parts.append(f"<details{opened}><summary>{escape(each.name)}</summary>{inside}</details>")
    missing = [each.name for each in shown if not each.reports and each.run.kind.generates]
    if missing:
        parts.append(f'<p class="note">Not evaluated: {escape(", ".join(missing))}.</p>')
    if not any(each.reports for each in shown):
        return f"<section><h2>Measures</h2>{parts[0]}</section>" if parts else ""
    intro = "Distances compare only between reports of the same judge, number of images and labels."
    return f'<section><h2>Measures</h2><p class="note">{intro}</p>{"".join(parts)}</section>'


def _differences(shown: Sequence[_Shown]) -> str:
    if len(shown) == 1:
        (each,) = shown
        rows = [[name, _value(new), _value(old)] for name, old, new in differences(each.base, each.settings)]
        title = f"Settings that differ from {each.base_words}"
        inside = _table(["Setting", "This run", each.base_words[4:]], rows) if rows else "<p>None differ.</p>"
    else:
        title = "Settings that differ between these runs"
        rows = []
        for name, _ in field_rows():
            values = [get_value(each.settings, name) for each in shown]
            if any(value != values[0] for value in values[1:]):
                rows.append([name, *map(_value, values)])
        inside = _table(["Setting", *(each.name for each in shown)], rows) if rows else "<p>None differ.</p>"
    return f"<section><h2>{escape(title)}</h2>{inside}</section>"


def _curves(shown: Sequence[_Shown]) -> str:
    keys = dict.fromkeys([*CURVES, *(key for each in shown for key in each.columns)])
    kinds = dict.fromkeys(each.run.kind.title for each in shown)
    charts = []
    for kind in kinds:  # a VAE's loss and a U-Net's are no two lines of one chart
        for key in (key for key in keys if key not in NO_CURVES):
            lines = [
                Line(name=each.name, x=each.columns["step"], y=each.columns[key], place=place)
                for place, each in enumerate(shown)
                if each.run.kind.title == kind and key in each.columns and "step" in each.columns
            ]
            title = CURVES.get(key, without_secrets(key[:60]).replace("_", " "))
            charts.append(chart(f"{kind}: {title}" if len(kinds) > 1 else title, lines))
    charts = [each for each in charts if each][:MOST_CHARTS]
    if not charts:
        return ""
    names = legend([each.name for each in shown]) if len(shown) > 1 else ""
    return f'<section><h2>Curves</h2>{names}<div class="charts">{"".join(charts)}</div></section>'


def _player(
    shown: Sequence[_Shown], title: str, words: str, axis: str, sheets_of: Callable[[_Shown], Sequence[Sheet]]
) -> str:
    figures = [_figure(sheet, each.name if len(shown) > 1 else "") for each in shown for sheet in sheets_of(each)]
    if not figures:
        return ""
    last = max(len(sheet.words) for each in shown for sheet in sheets_of(each)) - 1
    hidden = ' style="display:none"' if last < 1 else ""
    bar = (
        f'<div class="bar"{hidden}><button class="play" type="button">Play</button>'
        f'<input type="range" min="0" max="{last}" step="1" value="{last}" aria-label="{axis} step"></div>'
    )
    return (
        f'<section class="player"><h2>{escape(title)}</h2><p class="note">{escape(words)}</p>{bar}'
        f'<div class="rows">{"".join(figures)}</div></section>'
    )


def _figure(sheet: Sheet, name: str) -> str:
    last, zoom = len(sheet.words) - 1, sheet.zoom
    width, height = sheet.width * zoom, sheet.height * zoom
    down = -(-len(sheet.words) // sheet.across)
    style = (
        f"width:{width:g}px;height:{height:g}px;background-image:url({sheet.address});"
        f"background-size:{sheet.across * width:g}px {down * height:g}px;"
        f"background-position:{-(last % sheet.across) * width:g}px {-(last // sheet.across) * height:g}px"
    )
    about = escape(json.dumps({"across": sheet.across, "words": sheet.words}), quote=True)
    caption = " · ".join(filter(None, (name, sheet.caption)))
    return (
        f"<figure><figcaption>{escape(caption)}<small>{escape(sheet.words[last])}</small></figcaption>"
        f'<div class="frame" role="img" aria-label="{escape(caption, quote=True)}" data-sheet="{about}" '
        f'style="{style}"></div></figure>'
    )


def _again(shown: Sequence[_Shown]) -> str:
    parts = ["<h2>Train it again</h2>"]
    if any(each.repeat.script for each in shown):
        parts.append(
            "<p>On the same type of machine, with the same versions, number of threads and images, the commands give "
            "equal weights: the sums below. Elsewhere they come near.</p>"
        )
    for each in shown:
        repeat = each.repeat
        script = escape(repeat.script, quote=False)
        code = (
            f'<button class="copy" type="button" hidden>Copy</button><pre tabindex="0">{script}</pre>' if script else ""
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in repeat.notes)
        inside = f"{notes}{code}{_table(['What must be the same', ''], _conditions(each))}"
        opened = " open" if len(shown) == 1 else ""
        parts.append(
            f'<section class="again" data-run="{escape(each.run.id, quote=True)}"><details{opened}>'
            f"<summary>{escape(each.name)}</summary>{inside}</details></section>"
        )
    return f"<section>{''.join(parts)}</section>"


def _conditions(each: _Shown) -> list[list[str]]:
    run, data = each.run, each.data
    versions = dict(run.info.versions)
    rules = {key.removeprefix(PREFIX): versions.pop(key) for key in list(versions) if key.startswith(PREFIX)}
    versions.pop(FORMAT_KEY, None)
    machine = each.settings.machine
    started: dict[str, Any] = next(
        (event for event in reversed(run.events()) if event.get("event") in ("started", "resumed")), {}
    )
    processor = without_secrets(str(started.get("processor") or "")) or "not recorded"
    validation = f"{count(data.validation_count)} for validation, " if data.validation_count else ""
    images = f"{count(data.train_count)} training images, {validation}"
    rows = [
        ["Run", run.id],
        ["Code", run.info.revision or f"version {versions.get('lab', 'unknown')}"],
        ["Packages", ", ".join(f"{name} {version}" for name, version in versions.items())],
        ["Rules", ", ".join(f"{name} {version}" for name, version in rules.items()) or "the first of each"],
        ["Dataset", f"{data.name}: {images}{count(data.heldout_count)} held out"],
        ["Fingerprint of the images", data.fingerprint or "not recorded"],
        [
            "Machine",
            f"{without_secrets(each.status.device) or 'not recorded'}; processor: {processor}; threads: "
            f"{machine.num_threads or 'chosen by the machine'}; processes: {machine.num_processes}; "
            f"precision: {machine.mixed_precision}",
        ],
        ["Seed", str(each.settings.seed)],
    ]
    return rows + [[f"sha256 of {name}", digest] for name, digest in each.weights.items()]


def _value(value: Any) -> str:
    shown = public_value(plain_value(value))
    return "none" if shown is None else str(shown)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'
