"""Run folders on disk in every state a screen must show, made without training."""

from __future__ import annotations

import functools
import io
import itertools
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from core.config.load import load_config
from core.config.schema import Settings
from core.machine.processes import own_identity
from core.runs.kinds import KINDS
from core.runs.metrics import MetricsWriter
from core.runs.run import Run, RunState, now_iso
from core.runs.store import RunStore

HOSTILE_NAMES = (
    "![pixel](http://198.51.100.7/pixel.png)",
    "<img src=http://198.51.100.7/html.png onerror=alert(1)>",
    "[link](javascript:alert(1)) **bold** # title",
    r"$\href{http://198.51.100.7/latex}{x}$ $$E=mc^2$$",
    ":violet[colour] :material/skull: :streamlit: :smile:",
    "`hostile` | table | ~~gone~~ <b>html</b> -> &lt; www.example.org a@example.org",
    "../../etc/passwd",
    "名前 ‮ reversed 𝒳" + "长" * 60,
)


def tiny_settings(**changes: object) -> Settings:
    return _tiny_settings(json.dumps(changes))


@functools.cache
def _tiny_settings(changes: str) -> Settings:
    overrides = {"data.name": "digits", "data.image_size": 16, **json.loads(changes)}
    return load_config(overrides=overrides)


def make_run(
    store: RunStore,
    kind: str = "unet",
    *,
    state: RunState = RunState.FINISHED,
    step: int = 100,
    steps_total: int = 100,
    logged: int = 20,
    reason: str = "",
    name: str = "",
    owner: str = "ana",
    parents: tuple[str, ...] = (),
    nonfinite: bool = False,
    settings: Settings | None = None,
) -> Run:
    """A run that says it is at `step` of `steps_total`; an active state is backed by this very process."""
    run = _new_run(store, kind, settings or tiny_settings(), name=name, owner=owner, parents=parents)
    run.write_status(
        replace(
            run.status(),
            state=state,
            step=step,
            steps_total=steps_total,
            images_per_s=1234.5 if state is RunState.RUNNING else None,
            eta_s=95.0 if state is RunState.RUNNING else None,
            elapsed_s=42.0,
            stage="training" if state is RunState.RUNNING else "",
            reason=reason,
            device="CPU, 1 threads",
            process=own_identity() if state.is_active else None,
        )
    )
    write_metrics(run, step=step, logged=logged, nonfinite=nonfinite)
    for preview in {0, step // 2, step} if logged else ():
        write_preview(run, preview)
    facts = {"name": "digits", "class_names": [str(digit) for digit in range(10)], "channels": 1, "image_size": 16}
    run.data_path.write_text(json.dumps(facts))
    run.log_path.write_text("preparing digits\nstep 100 loss 0.31\n")
    run.add_event("started", step=0)
    return run


_NUMBERS = itertools.count()  # many in a second: four random digits were the same once in a hundred tests


def _new_run(store: RunStore, kind: str, settings: Settings, **facts: object) -> Run:
    """What the store would make. `facts` go past the check of names: the folder may come from anywhere."""
    run = Run(store.root / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{kind}-{next(_NUMBERS):04x}")
    run.folder.mkdir(parents=True)
    for name, content in _fresh_files(kind, settings.model_dump_json()).items():
        if name == "run.json":
            values = {**json.loads(content), "id": run.id, "created_at": now_iso(), **facts}
            content = json.dumps(values).encode()
        (run.folder / name).write_bytes(content)
    return run


@functools.cache
def _fresh_files(kind: str, settings: str) -> dict[str, bytes]:
    """Files of a run that the store has just made."""
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder))
        steps_total = None if KINDS[kind].trains else 1
        run = store.create(
            kind, Settings.model_validate_json(settings), owner="ana", preset="quick", steps_total=steps_total
        )
        return {path.name: path.read_bytes() for path in run.folder.iterdir()}


def write_metrics(run: Run, *, step: int, logged: int, nonfinite: bool = False) -> None:
    writer = MetricsWriter(run.metrics_path)
    for index in range(1, logged + 1):
        at = max(1, step * index // logged)
        record: dict[str, object] = {
            "step": at,
            "images_seen": at * 64,
            "elapsed_s": 0.4 * at,
            "loss": 1.0 / index + 0.1,
            "learning_rate": 1e-3 * (1 - index / (logged + 1)),
            "grad_norm": 0.5,
            "images_per_s": 1200.0,
        }
        if nonfinite and index == logged // 2:
            record["loss"] = float("nan")
        if index % 5 == 0:
            record["val_loss"] = 1.1 / index + 0.1
        writer.append(record)


def write_preview(run: Run, step: int) -> None:
    run.previews_dir.mkdir(exist_ok=True)
    (run.previews_dir / f"step-{step:08d}.npz").write_bytes(_preview(run.info.kind, step))


@functools.cache
def _preview(kind: str, step: int) -> bytes:
    pictures = np.random.default_rng(step).integers(0, 256, (10, 16, 16, 1), dtype=np.uint8)
    arrays = (
        {"inputs": pictures, "reconstructions": pictures}
        if kind == "vae"
        else {
            "images": pictures,
            "labels": np.arange(10),
            "timesteps": np.array([999.0, 0.0]),
            "noisy_images": np.stack([pictures, pictures]),
            "predicted_images": np.stack([pictures, pictures]),
        }
    )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, step=np.int64(step), **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def write_checkpoint(run: Run, step: int) -> None:
    """A checkpoint as listings see it; no model can be loaded from it."""
    folder = run.checkpoints_dir / f"step-{step:08d}"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    (folder / "manifest.json").write_text(json.dumps({"files": {"state.json": {"size": 2, "sha256": "0"}}}))


def age(run: Run, **ago: float) -> Run:
    """The same run, created longer ago."""
    values = json.loads((run.folder / "run.json").read_text())
    values["created_at"] = (datetime.now(UTC) - timedelta(**ago)).isoformat(timespec="milliseconds")
    (run.folder / "run.json").write_text(json.dumps(values))
    return Run(run.folder)


def finished(store: RunStore) -> list[Run]:
    vae = make_run(store, "vae", name="First light (VAE)")
    return [vae, make_run(store, "unet", name="First light", parents=(vae.id,))]


def running(store: RunStore) -> list[Run]:
    vae = make_run(store, "vae", name="First light (VAE)")
    live = make_run(store, "unet", state=RunState.RUNNING, step=40, parents=(vae.id,), name="Live")
    waiting = make_run(store, "unet", state=RunState.QUEUED, step=0, logged=0, name="Next")
    return [vae, live, waiting]


def ended_badly(store: RunStore) -> list[Run]:
    failed = make_run(
        store, state=RunState.FAILED, step=60, nonfinite=True, reason="the loss was NaN in 5 steps in a row"
    )
    gone = make_run(store, "vae", state=RunState.INTERRUPTED, step=30, reason="its process (pid 7) is gone")
    stopped = make_run(store, state=RunState.STOPPED, step=10, logged=0, reason="stopped by ana at step 10")
    return [failed, gone, stopped]


def broken(store: RunStore) -> list[Run]:
    """A good run between folders that are damaged in each file a screen reads."""
    good = make_run(store, "unet", name="Good")
    (store.root / "20260101-000000-vae-dead").mkdir()
    (store.root / "not a run").mkdir()
    (store.root / "not a run" / "run.json").write_text("{torn")
    damaged = []
    for file, text in {
        "config.yaml": "data: [not, a, section",
        "status.json": "{",
        "metrics.jsonl": '{"step": 1, "loss": 2.0}\n[1]\n{"step": "x"}\n{"torn": ',
        "events.jsonl": '{"at": 5}\nnull\n{"torn',
        "data.json": "[]",
    }.items():
        run = make_run(store, "unet", name=f"Damaged {file}")
        (run.folder / file).write_text(text)
        damaged.append(Run(run.folder))
    pictures = make_run(store, "vae", name="Damaged previews")
    for path in pictures.previews_dir.iterdir():
        path.write_bytes(b"PK\x03\x04 torn")
    empty_times = make_run(store, "vae", name="Odd times")
    values = json.loads((empty_times.folder / "run.json").read_text())
    (empty_times.folder / "run.json").write_text(json.dumps({**values, "created_at": "yesterday"}))
    return [good, *damaged, Run(pictures.folder), Run(empty_times.folder)]


def hostile(store: RunStore) -> list[Run]:
    runs = []
    for name in HOSTILE_NAMES:
        run = make_run(store, "unet", name=name, owner=name, state=RunState.FAILED, reason=f"stopped by {name}")
        run.add_event(name, by=name, reason=name)
        run.log_path.write_text(name)
        facts = {"name": name, "class_names": list(HOSTILE_NAMES), "channels": 1, "image_size": 16}
        run.data_path.write_text(json.dumps(facts))
        write_checkpoint(run, 100)
        runs.append(run)
    return runs


LABS = {
    "empty": lambda store: [],
    "finished": finished,
    "running": running,
    "ended badly": ended_badly,
    "broken": broken,
    "hostile": hostile,
}


def everything(store: RunStore) -> list[Run]:
    """All of these runs in one lab."""
    return [run for make in LABS.values() for run in make(store)]
