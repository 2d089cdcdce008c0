"""Tiny models, trained once per session whatever the number of workers, and a judge in a second instead of half a
minute, for tests whose subject is not how well they learn."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.config.load import load_config
from core.config.schema import Settings
from core.errors import NonFiniteError
from core.runs.run import Run
from core.runs.store import RunStore

TINY = {
    "data.name": "digits",
    "data.image_size": 16,
    "vae.block_out_channels": [8, 8],
    "unet.block_out_channels": [8, 16],
    "train_vae.steps": 24,
    "train_vae.batch_size": 16,
    "train_vae.gradient_accumulation_steps": 2,
    "train_unet.steps": 30,
    "train_unet.batch_size": 16,
    "train_unet.gradient_accumulation_steps": 2,
    "logging.log_every_steps": 5,
    "logging.save_every_steps": 8,
    "logging.validate_every_steps": 20,
    "logging.validation_images": 32,
    "logging.num_previews": 3,
    "logging.preview_images": 4,
    "logging.preview_inference_steps": 2,
    "machine.device": "cpu",
    "machine.num_threads": 1,
}


class Lab:
    """Runs, data and cache in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = RunStore(root / "runs")
        self.folders = {"data_dir": root / "data", "cache_dir": root / "cache", "store_root": root / "runs"}

    def create(self, kind: str, settings: Settings, parent: Run | None = None, **others: Any) -> Run:
        return self.store.create(kind, settings, parents=(parent.id,) if parent else (), **others)  # type: ignore[arg-type]

    def train(self, run: Run, should_stop: Callable[[], bool] = lambda: False, on_step: object = None) -> object:
        import torch

        from core.training import train_unet, train_vae

        torch.set_num_threads(1)
        module = train_vae if run.info.kind == "vae" else train_unet
        return module.train(run, should_stop=should_stop, on_step=on_step, **self.folders)  # type: ignore[arg-type]

    def train_both(self, settings: Settings) -> Run:
        """A VAE, "encoder", and on it a U-Net, "drawer", which is returned."""
        vae = self.create("vae", settings, name="encoder")
        self.train(vae)
        unet = self.create("unet", settings, vae, name="drawer")
        self.train(unet)
        return unet

    def the(self, kind: str) -> Run:
        """Its one run of that kind."""
        (found,) = [run for run in self.store.list() if run.info.kind == kind]
        return found


def tiny_settings(**changes: object) -> Settings:
    return load_config(overrides={**TINY, **changes})


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder as the first who asked made it; other workers wait for that one."""
    with folder.with_name(f"{folder.name}.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if lock.read() != "made":
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            make(folder)
            lock.write("made")
    return folder


def trained_lab(session_folder: Path) -> Path:
    """The folder of a Lab in which both tiny networks are trained. Shared by all workers: copy it before use."""
    return made_once(session_folder / "trained-lab", lambda folder: Lab(folder).train_both(tiny_settings()))


@contextlib.contextmanager
def brief_judges(min_steps: int, kept: Path | None = None) -> Iterator[list[int]]:
    """Judges that are missing are really trained, with that many steps at least, in this process; with `kept`, a
    folder, once for all who name the same. Yields the seed of each that was asked for."""
    import torch

    from core.evaluation.judge import Judge, train_judge
    from core.evaluation.judge_facts import JudgeRecipe

    done: list[int] = []

    def briefly(image_set: Any, recipe: JudgeRecipe, **others: Any) -> Judge:
        done.append(recipe.seed)
        short = replace(recipe, min_steps=min_steps)
        if kept is None:
            return train_judge(image_set, short, **others)
        name = f"judge-{image_set.fingerprint[:16]}-{recipe.seed}-{recipe.epochs}-{min_steps}"
        make = lambda folder: torch.save(train_judge(image_set, short, **others), folder / "judge.pt")  # noqa: E731
        return torch.load(made_once(kept / name, make) / "judge.pt", weights_only=False)

    with trained_by(briefly):
        yield done


@contextlib.contextmanager
def trained_by(train: Callable[..., Any]) -> Iterator[None]:
    """Judges that are missing are made by `train(image_set, recipe, device=, progress=)`, in this process."""
    import core.evaluation.judge as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train_judge", train)
        yield


def endless_judges() -> contextlib.AbstractContextManager[None]:
    """A judge's training goes on until nobody listens."""

    def train(*_: Any, progress: Callable[[str, float], None], **__: Any) -> None:
        while True:
            progress("Training the judge, step 1 of 9", 0.1)
            time.sleep(0.01)

    return trained_by(train)


def failing_judges() -> contextlib.AbstractContextManager[None]:
    """A judge's training diverges."""

    def train(*_: Any, **__: Any) -> None:
        raise NonFiniteError("the judge's weights became NaN")

    return trained_by(train)
