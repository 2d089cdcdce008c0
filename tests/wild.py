"""A lab in which one file holds what no file should: a value, a key or a whole document, drawn by Hypothesis.

`made` builds a lab with every file that the lab reads; LOOKS are the ways in which somebody looks at it. A look at
everything never fails because of one file; a look at one thing fails in one sentence.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from core.comparison import comparison_results as comparisons
from core.comparison.grid import cost_of
from core.data.imports import FACTS, imported_names, read_imported
from core.errors import LabError
from core.evaluation import ceiling_results, timestep_loss_results
from core.evaluation.ceiling_results import CEILINGS, Ceiling, ProbeScore
from core.evaluation.report import list_reports, report_for_card, report_rows, unreadable_results
from core.home import code_root
from core.jobs import disk, stop_report, telemetry
from core.jobs.engines.choose import observed_status
from core.jobs.exit_reason import ending_of, grace_s
from core.jobs.job_row import job_for
from core.jobs.queue import Queue
from core.jobs.queue_view import queue_view, supervisor_state
from core.jobs.recovery import take_in_unqueued
from core.jobs.serving import FACTS_NAME
from core.machine import attempts
from core.model_folders import sources
from core.model_folders.exports import list_exports
from core.model_folders.model_facts import DEMO, list_model_folders
from core.runs import facts, listing, notes, trash
from core.runs.film import read_film
from core.runs.metrics import MetricColumns, sample_values
from core.runs.run import Run
from core.runs.store import RunStore
from core.sampling import gallery
from core.words import ago, count, duration, size
from lab.words import exactly

OLD_RUNS = Path(__file__).resolve().parent / "fixtures" / "runs-57d6eac" / "runs"
DRAWING = "20260101-000000-abcdef"


def made(root: Path) -> None:
    """Every kind of run, each with all its files, one of them deleted; what people imported, kept and exported."""
    shutil.copytree(OLD_RUNS, root / "runs", ignore=shutil.ignore_patterns("optimizer.safetensors"))
    store = RunStore(root / "runs")
    unet = next(run for run in store.list() if (run.folder / "evaluations").is_dir())
    for run in store.list():
        attempts.write_stop(run.folder, attempts.current_attempt(run.folder), attempts.StopRequest(level=1, by="ana"))
    probe = ProbeScore(num_train=9, num_test=9, num_inputs=4, correct=3, accuracy=0.3, low=0.1, high=0.5)
    values: dict[str, Any] = {"int": 3, "float": 0.5, "str": "x", "ProbeScore": probe, "float | None": 0.5}
    values["LabelChoice | None"] = "proportions"
    subject = ceiling_results.subject_of(unet)
    found = Ceiling(**{name: values[str(kind)] for name, kind in Ceiling.__annotations__.items()})
    found = replace(found, vae_hash=subject.vae_hash, num_pictures=40)
    CEILINGS.write(unet.folder / ceiling_results.FOLDER / "step-00000003-x.json", found)
    shutil.copytree(code_root() / DEMO, unet.exports_dir / "digits")
    shutil.copytree(code_root() / DEMO, root / "models" / "theirs")
    write(root / "models" / "theirs" / "import.json", {"imported_by": "ana", "imported_at": "2026-01-01T00:00:00"})
    deleted = store.create("vae", unet.settings, name="gone")
    store.delete(deleted.id, is_active=lambda run: False)
    texts = ("title", "licence", "source", "imported_by", "imported_at")
    imported = {"format": 1, "class_names": ["a"], "channels": 1, "left_out": 0}
    parts = {"train": {"count": 1}, "heldout": {"count": 1}}
    write(root / "imports" / "flowers" / FACTS, {**dict.fromkeys(texts, "x"), **imported, "parts": parts})
    texts = ("title", "owner", "created_at", "source_title", "device")
    write(root / "gallery" / DRAWING / gallery.FACTS, {**dict.fromkeys(texts, "x"), "format": 1})
    (root / "gallery" / DRAWING / gallery.PICTURE).write_bytes(b"\x89PNG")
    queue = Queue(store.root)
    queue.put(job_for(unet))
    write(queue.folder / FACTS_NAME, {"process": {"boot_id": "x", "pid": 1, "start_ticks": 1}, "queue_format": 1})
    line = {"time": 1.7e9, "cpu": 0.1, "memory": 1, "memory_total": 2, "disk_used": 1, "disk_free": 1, "running": 0}
    lines = [{**line, "time": 1.7e9 + 3600 * hour} for hour in range(12)]
    (queue.folder / telemetry.FILE).write_text("".join(json.dumps(each) + "\n" for each in lines))


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


DEEP = [[[]]] * 2
for _ in range(200):
    DEEP = [DEEP]
WILD = (
    *(None, True, False, 0, -1, 1, 2**53, 2**63, 10**400, -(10**400), 0.5, -0.0, 1e16, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), "", " ", "x", "NaN", "1e999", "\ud800", "a\udc00b", "\x00", "\x1b[31m", "=1+1"),
    *("../../etc/passwd", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9" * 5000),
    *([], {}, [None], [0], ["x", 1], [[1, 2], [3]], {"x": None}, {"": {}}, [1e308, -1e308], ["\ud800"], DEEP),
)
values = st.sampled_from(WILD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places_in(value: object, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document, the document itself first; of a list the first and the last."""
    yield place
    inner = value.items() if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else ()
    for key, child in [*inner][:1] + [*inner][-1:] if isinstance(value, list) else inner:
        yield from places_in(child, (*place, key))


def with_value(document: Any, place: tuple[Any, ...], value: object) -> Any:
    """A copy with another value there."""
    if not place:
        return value
    changed = copy.deepcopy(document)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    return changed


def without(document: Any, place: tuple[Any, ...]) -> Any:
    """A copy that lacks what stands there."""
    changed = copy.deepcopy(document)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    if place:
        del parent[place[-1]]
    return changed


@st.composite
def spoiled(draw: st.DrawFn, content: bytes) -> bytes:
    """What a file of JSON, or of lines of it, could hold instead of this."""
    how = draw(st.sampled_from(["value"] * 12 + ["missing"] * 3 + ["bytes", "cut"]))
    if how == "bytes":
        return draw(st.binary(max_size=64))
    if how == "cut":
        return content[: draw(st.integers(0, len(content)))]
    lines = content.splitlines()
    is_lines = len(lines) > 1 and lines[0].startswith(b"{") and lines[0].endswith(b"}")
    at = draw(st.sampled_from([0, len(lines) - 1])) if is_lines else 0
    document = json.loads(lines[at] if is_lines else content)
    place = draw(st.sampled_from(list(places_in(document))))
    changed = without(document, place) if how == "missing" else with_value(document, place, draw(values))
    text = json.dumps(changed).encode()
    return b"\n".join([*lines[:at], text, *lines[at + 1 :], b""]) if is_lines else text


def strict(value: object) -> None:
    """It can be written as JSON and shown: no NaN, no half character."""
    json.dumps(value, allow_nan=False, ensure_ascii=False, default=str).encode()


def worded(*numbers: float | None) -> None:
    for number in numbers:
        strict([duration(number), count(number), size(number or 0)])


def _list(root: Path) -> None:
    store = RunStore(root / "runs")
    strict([(run.title, listing.run_row(run, observed_status(run))) for run in store.list()])
    strict(store.broken())
    for run in store.list():
        status = run.status()
        worded(status.images_per_s, status.eta_s, status.elapsed_s, status.step, status.steps_total)
        strict([ago(status.heartbeat_at), ago(run.info.created_at), exactly(status.heartbeat_at)])
        strict([vars(notes.read_notes(run)), run.events(), [each.step for each in listing.list_checkpoints(run)]])


def _queue(root: Path) -> None:
    store = RunStore(root / "runs")
    strict([vars(each) for each in queue_view(store)])
    strict(vars(supervisor_state(store)))
    take_in_unqueued(store, Queue(store.root), {})


def _disk(root: Path) -> None:
    store = RunStore(root / "runs")
    for choice in ("old checkpoints", "failed runs", "unused caches", "trash"):
        disk.plan_cleanup(store, root / "cache", choice=choice, older_than_days=0)
    strict([vars(each) for each in disk.run_sizes(store)])
    for each in trash.list_trash(store, keep_days=7):
        strict([vars(each), ago(each.at), size(each.size_bytes)])


def _machine(root: Path) -> None:
    history = telemetry.read_history(root / "runs", 1e9)
    strict([vars(telemetry.disk_forecast(history)), {name: len(column) for name, column in history.items()}])


def _kept(root: Path) -> None:
    strict([vars(each) for each in gallery.entries(root / "gallery")[0]])
    for info in list_model_folders(root / "models"):
        strict([info.title, info.owner, ago(info.imported_at), info.facts.model_dump(mode="json")])
    for name in imported_names(root / "imports"):
        one(partial(lambda name: vars(read_imported(name, root / "imports")), name))


def _sources(root: Path) -> None:
    for run in RunStore(root / "runs").list():
        for name in ("class_names", "fingerprint", "channels"):
            one(partial(getattr, sources.RunSource(run), name))


LOOKS: Mapping[str, Callable[[Path], None]] = {
    "the list": _list,
    "the queue": _queue,
    "the disk": _disk,
    "the machine": _machine,
    "what was kept": _kept,
    "what can generate": _sources,
}


def one(look: Callable[[], object]) -> None:
    """A look at one thing: a record, or one sentence that can be shown."""
    try:
        strict(look())
    except LabError as error:
        strict(str(error))
        assert "\n" not in str(error) and len(str(error)) < 1_500, str(error)[:2_000]


def _status_of(run: Run) -> object:
    status = observed_status(run)
    return [vars(status), vars(ending_of(run)), grace_s(run), listing.last_checkpoint_in_words(run)]


def _results_of(run: Run) -> object:
    ceilings, reports = ceiling_results.list_ceilings(run), list_reports(run)
    rows = [report_rows(report, *ceilings[:1]) for report in reports]
    words = [[ceiling_results.ceiling_rows(each), ceiling_results.in_words(each)] for each in ceilings]
    return [rows, words, unreadable_results(run), str(ceiling_results.ceiling_for(run)), str(report_for_card(run, 40))]


def _losses_of(run: Run) -> object:
    found = [
        loss
        for path in (run.folder / timestep_loss_results.FOLDER).glob("*.json")
        if (loss := timestep_loss_results.read_kept(run, int(path.stem[:8]), path.stem[9:])) is not None
    ]
    return [[timestep_loss_results.in_words(each), str(each.linear_guess("original"))] for each in found]


def _comparisons_of(run: Run) -> object:
    said: list[object] = []
    for name in comparisons.list_comparisons(run):
        found = comparisons.read_comparison(run, name)
        cost = cost_of(found.request, found.diffusion)
        said += [comparisons.finding(found), list(comparisons.on_front(found)), vars(cost), found.problems]
        said += [found.words(each) for each in found.drawn] + [comparisons.seconds_per_evaluation(found)]
    return said


def _curves_of(run: Run) -> object:
    columns = MetricColumns(run.metrics_path).read()
    return [sorted(columns), sample_values(run.metrics_path, "loss"), listing.last_metrics(run)]


LOOKS_AT_ONE: Mapping[str, Callable[[Run], object]] = {
    "show": lambda run: listing.run_details(run, run.status()),
    "status": _status_of,
    "stages of a stop": lambda run: [vars(each) for each in stop_report.stop_stages(run)],
    "results": _results_of,
    "losses": _losses_of,
    "comparisons": _comparisons_of,
    "request": lambda run: vars(comparisons.read_request(run.folder)) if run.kind.name == "comparison" else None,
    "curves": _curves_of,
    "film": lambda run: read_film(run).steps,
    "job": lambda run: vars(job_for(run)),
    "settings": lambda run: [run.settings.model_dump(mode="json"), run.settings_flaw],
    "data": lambda run: vars(facts.data_facts(run)) if run.data_path.exists() else None,
    "codec": lambda run: vars(facts.codec_facts(run)) if (run.vae_dir / "codec.json").exists() else None,
    "ceiling's subject": lambda run: vars(ceiling_results.subject_of(run)),
    "exports": lambda run: [info.title for info in list_exports(run)],
}


def look_at(root: Path, path: Path) -> None:
    """Look at the lab from every side, as those do who do not know that this file is spoiled."""
    for look in LOOKS.values():
        look(root)
    part = path.relative_to(root).parts
    if part[0] == "runs" and not part[1].startswith("."):
        run = Run(root / "runs" / part[1])  # one for all looks: reading its settings takes longest
        for look_at_one in LOOKS_AT_ONE.values():
            one(partial(look_at_one, run))


def files_of(root: Path) -> dict[str, Path]:
    """One file of each kind: what it is called, and by which kind of run or in which folder."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*.json*")):
        parts = path.relative_to(root).parts
        kind = next((word for word in ("unet", "vae", "comparison") if len(parts) > 1 and f"-{word}-" in parts[1]), "")
        name = " ".join(part for part in (kind, *parts[2:-1], path.name) if part)
        if path.suffix in (".json", ".jsonl") and path.stat().st_size and "unet_ema" not in name:
            found[name if kind else "/".join(parts)] = path
    return {name: path for name, path in found.items() if not _is_of_a_network(path)}


def _is_of_a_network(path: Path) -> bool:
    """Read by what opens the weights, which takes PyTorch: see the tests of import and checkpoints."""
    return path.name in ("config.json", "model_index.json", "scheduler_config.json", "judge.json", "state.json")


def put(path: Path, content: bytes) -> None:
    """Replace a file as another program would, so that no cache believes what it knew."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    os.replace(temporary, path)
