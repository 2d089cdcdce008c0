"""The kinds of run, one record each: what a run of it works on, needs and can do, and how it is told about.

Whoever acts on a run asks its record and compares no names. A new kind is a record here and the module that it names as
its trainer. A kind that only a newer version of the lab knows has a record too: it is shown and can do nothing.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from core.config.schema import Settings, TrainSettings
from core.errors import UsageError, quoted


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of run.

    title, noun: as in 'U-Net' and 'is a U-Net run'. worker: 'module.function' that works on such a run, imported in its
    own process (the signature is `core.jobs.worker.Trainer`). section: of the settings of its training, '' when it
    trains nothing. parent: the kind of the run it is made from. unit: what its steps are. work: 'module.function' that
    counts its work; '' when that is the steps of its section. quality: 'module.function' that prepares what measures
    its images while it trains, as `core.evaluation.during` does it. after: 'module.function' that gets the store and
    a run that has finished, and never raises.
    vae: 'own' in its checkpoints, 'copy' of its parent's in vae/, which it takes at its start, or '' for none.
    generates: it makes images, and so can be sampled, evaluated, compared and exported. layers: arrays of a preview
    that make a film. evaluates: what it finds is an evaluation of its parent. listed: among the runs; others live on a
    page of their own. page: where what it found is shown with its parent, '' for its own page.
    """

    name: str
    title: str
    noun: str
    worker: str = ""
    section: str = ""
    parent: str = ""
    unit: str = "step"
    work: str = ""
    vae: Literal["", "own", "copy"] = ""
    quality: str = ""
    after: str = ""
    generates: bool = False
    layers: tuple[str, ...] = ()
    evaluates: bool = False
    listed: bool = True
    page: str = ""

    @property
    def trains(self) -> bool:
        """True when its runs keep checkpoints of a network, and can be branched."""
        return bool(self.section)

    def training_in(self, settings: Settings) -> TrainSettings:
        """The section that drives its training. Raises AttributeError for a kind that trains nothing."""
        section: TrainSettings = getattr(settings, self.section)
        return section


_KINDS = (
    Kind(
        name="vae",
        title="VAE",
        noun="VAE run",
        worker="core.training.train_vae.train",
        section="train_vae",
        vae="own",
        layers=("inputs", "reconstructions"),
    ),
    Kind(
        name="unet",
        title="U-Net",
        noun="U-Net run",
        worker="core.training.train_unet.train",
        section="train_unet",
        parent="vae",
        vae="copy",
        quality="core.evaluation.during.prepared",
        after="core.jobs.evaluation_job.start_at_end",
        generates=True,
        layers=("noisy_images", "predicted_images"),
    ),
    Kind(
        name="comparison",
        title="Comparison",
        noun="comparison",
        worker="core.jobs.comparison_job.work_on",
        parent="unet",
        unit="cell",
        work="core.comparison.comparison_results.evaluations_of",
        listed=False,
    ),
    Kind(
        name="evaluation",
        title="Evaluation",
        noun="quality evaluation",
        worker="core.jobs.evaluation_job.work_on",
        parent="unet",
        unit="evaluation",
        work="core.jobs.evaluation_job.passes_of",
        evaluates=True,
    ),
    Kind(
        name="tuning",
        title="Search",
        noun="search of sampling settings",
        worker="core.jobs.tuning_job.work_on",
        parent="unet",
        unit="search",
        work="core.jobs.tuning_job.passes_of_run",
        page="evaluate",
    ),
)
KINDS = {kind.name: kind for kind in _KINDS}


def kind_named(name: str) -> Kind:
    """The record of that name; of one that is not known here, a record that can do nothing."""
    return KINDS.get(name) or Kind(name=name, title=name, noun=f"run of the kind '{name}'")


def trained_by(what: str) -> tuple[Kind, ...]:
    """The kinds that `train WHAT` makes runs of, parents first; WHAT: a kind that trains, or 'all' for each of them.

    Raises UsageError for another word.
    """
    found = tuple(kind for kind in KINDS.values() if kind.trains and what in (kind.name, "all"))
    if not found:
        raise UsageError(f"train {quoted(what)}: there is no such training")
    return found


def function_at(path: str) -> Any:
    """The function that a record names as 'module.function', imported now."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
