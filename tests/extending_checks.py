"""Run in a copy of the product to which docs/extending.md was applied: shows that each added thing works.

Prints a JSON object: heading of the recipe → the traceback of its check, '' when it works.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.runs.run import Run

ROOT = Path(__file__).resolve().parent


def sampler() -> None:
    """Every place that offers samplers offers it, and with a perfect network it ends closer than Euler."""
    from core.config.compatibility import offered_samplers
    from core.config.schema import DiffusionSettings
    from core.diffusion.gaussian_mixture_test import solver_error
    from core.diffusion.schedule import build_schedule

    settings = DiffusionSettings(schedule="cosine", prediction_type="v_prediction")
    offered, _refused = offered_samplers(
        schedule=settings.schedule, prediction_type=settings.prediction_type, num_inference_steps=20
    )
    assert "dpmpp_3m" in offered
    schedule = build_schedule(settings)
    added, euler = (solver_error(name, schedule, 20).pathwise for name in ("dpmpp_3m", "euler"))
    assert added is not None and euler is not None and added < euler, (added, euler)


def dataset() -> None:
    """It is in the catalog, and becomes arrays of the size asked for, with its classes and a held-out part."""
    from core.config.load import load_config
    from core.data.arrays import prepare
    from core.data.catalog import present_names

    with tempfile.TemporaryDirectory() as folder:
        settings = load_config(overrides={"data.name": "stripes", "data.image_size": 16})
        assert "stripes" in present_names(Path(folder))
        found = prepare(settings.data, data_dir=Path(folder) / "data", cache_dir=Path(folder) / "cache", seed=0)
        assert found.class_names == ("horizontal", "vertical")
        assert found.train.images.shape[1:] == (16, 16, 1) and len(found.heldout.labels) > 0


def metric() -> None:
    """An evaluation has it, and a report shows it."""
    import numpy as np
    import torch

    from core.evaluation.measures import MEASURES, Seen
    from core.evaluation.report import Report, report_rows

    source = torch.Generator().manual_seed(0)
    features, train, heldout = (torch.randn(40, 4, generator=source) for _ in range(3))
    labels = np.arange(40) % 2
    seen = Seen(
        features=features,
        train=train,
        heldout=heldout,
        labels=labels,
        train_labels=labels,
        heldout_labels=labels,
        guesses=np.zeros(40, dtype=np.int64),
        classes=("even", "odd"),
        neighbours=3,
        seed=0,
    )
    found = {name: value for each in MEASURES for name, value in each(seen).items()}
    assert found["class_balance"] == 0.5
    facts: dict[str, Any] = {each.name: 0 for each in fields(Report) if each.name not in found}
    rows = report_rows(Report(**{**facts, "judge_hash": "", "fingerprint": ""}, **found))
    assert [value for name, value, _ in rows if name == "class balance"] == ["0.500"]


def a_view_of_a_page() -> None:
    """A link opens it, and shows what it measures."""
    app = opened("schedulers", view="Steepness")
    assert [each.value for each in app.metric] == ["1000"]


def page() -> None:
    """The navigation has it, and it shows how many runs there are."""
    app = opened("hello")
    assert [each.value for each in app.title] == ["Hello"] and [each.value for each in app.metric] == ["0"]


def a_kind_of_run() -> None:
    """It is queued, worked on and listed like any other."""
    from core.config.load import load_config
    from core.jobs.service import start_runs
    from core.runs.store import RunStore

    settings = load_config(overrides={"machine.device": "cpu"})
    store = RunStore(Path(os.environ["LAB_RUNS"]))
    [run] = start_runs(store, lambda made: made.append(store.create("count", settings, steps_total=3)))
    wait_for(lambda: not run.status().state.is_active)
    assert run.status().state == "finished" and run.status().step == 3, run.status()


def an_engine() -> None:
    """A training goes through the service to the engine, and one that is asked to stop saves and stops."""
    from core.config.load import load_config
    from core.jobs.service import start_training, stop_run
    from core.runs.store import RunStore

    tiny = {
        "data.name": "digits",
        "data.image_size": 16,
        "data.train_limit": 64,
        "vae.block_out_channels": [8, 8],
        "train_vae.batch_size": 8,
        "logging.num_previews": 0,
        "machine.device": "cpu",
    }

    store = RunStore(Path(os.environ["LAB_RUNS"]))

    def started(steps: int) -> Run:
        return start_training("vae", load_config(overrides={**tiny, "train_vae.steps": steps}), store=store)[0]

    run = started(2)
    wait_for(lambda: not run.status().state.is_active)
    assert run.status().state == "finished", run.status()
    run = started(1_000_000)
    wait_for(lambda: run.status().state == "running")
    assert stop_run(store, run.id, by="ana").state == "stopped", run.status()
    assert not (store.root / ".queue" / "supervisor.lock").exists(), "a supervisor would end what this engine runs"


def wait_for(is_true: Callable[[], bool]) -> None:
    """Until it is so, ten minutes at most."""
    deadline = time.monotonic() + 600
    while not is_true():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)


def opened(name: str, **query: str) -> Any:
    """A page as a browser would get it."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "lab" / "Home.py"), default_timeout=600)
    app.user = {}
    app.switch_page(f"../pages/{name}.py")
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception, app.exception
    return app


CHECKS = {
    "A sampler": sampler,
    "A dataset": dataset,
    "A metric": metric,
    "A view of a page": a_view_of_a_page,
    "A page": page,
    "A kind of run": a_kind_of_run,
    "An engine": an_engine,
}


def main() -> None:
    """Run all checks in a lab of their own."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for each in ("runs", "cache", "data", "imports", "models", "gallery"):
            os.environ[f"LAB_{each.upper()}"] = str(Path(folder) / each)
        for heading, check in CHECKS.items():
            try:
                check()
                results[heading] = ""
            except BaseException:
                results[heading] = traceback.format_exc()
    sys.stdout.write("\n" + json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # a check that failed may have left a training in a thread; taking modules from it would abort
