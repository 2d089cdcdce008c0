"""What tests of runs that measure a trained run share: the tiny run, its folders in the environment, and a stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from core.config.load import load_config
from core.jobs.worker_stop import StopRequests
from core.machine import attempts
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.endings import nobody_serves
from tests.models import TINY, Lab, brief_judges


class Stops(StopRequests):
    """Asks to stop after a number of looks."""

    def __init__(self, run: Run, looks: int = 10**9) -> None:
        super().__init__(run)
        self.left = looks

    def is_asked(self) -> bool:
        self.left -= 1
        if self.left < 0:
            attempts.ask_to_stop(self.run.folder, self.attempt, level=1, by="bo")
            self.look()
        return super().is_asked()


@contextlib.contextmanager
def measurable_lab(folder: Path, options: Mapping[str, object], *, steps: int, judge_steps: int) -> Iterator[Lab]:
    """A tiny U-Net run that takes 12 timesteps, finished; tests add measuring runs to it and change nothing else."""
    lab = Lab(folder)
    tiny = {**TINY, "diffusion.num_train_timesteps": 12, "train_unet.steps": steps, "train_vae.steps": steps}
    lab.train_both(load_config(overrides={**tiny, "evaluation.judge_epochs": 1, **options}))
    for run in lab.store.list():
        run.write_status(replace(run.status(), state=RunState.FINISHED))
    with brief_judges(min_steps=judge_steps):
        yield lab


@contextlib.contextmanager
def unserved(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    """Its runs folder, with its data and cache named in the environment; nobody serves the queue."""
    monkeypatch.setenv("LAB_CACHE", str(lab.folders["cache_dir"]))
    monkeypatch.setenv("LAB_DATA", str(lab.folders["data_dir"]))
    monkeypatch.setenv("LAB_RUNS", str(lab.store.root))
    with nobody_serves(lab.store):
        yield lab.store
