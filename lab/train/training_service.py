"""Settings, costs and launches for the Train screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from core.compute.questions import CHECK_READY, MEASURE_COST
from core.config.load import load_config, preset_names, read_site
from core.config.schema import Settings
from core.evaluation.report import list_reports
from core.jobs import service
from core.jobs.engines import choose
from core.runs.kinds import KINDS, trained_by
from core.runs.run import Run
from core.weighing import Weighed, weigh_run
from lab.services.computing import ask
from lab.services.runs import list_views, open_store
from lab.services.typed_paths import check_files, check_typed

PRESET_WORDS = {
    "quick": ("Quick", "Good digits in about four minutes on one CPU core."),
    "minute": ("Minute", "Digits as good as those of Quick in a third of its time. Takes every CPU core."),
    "color": ("Color", "Small color images in about eight minutes on two CPU cores."),
    "standard": ("Standard", "Larger networks and many more steps, for a GPU. Hours on two CPU cores."),
    "reference": (
        "Reference",
        "The hyperparameters of ldm-hf, for comparison. For a GPU; a day on two CPU cores.",
    ),
}
VALUE_BYTES = 4  # float32
COPIES = 4  # of each parameter in a checkpoint: the weights, their average, and two moments of AdamW


def presets() -> list[str]:
    """Names of the presets, the default first."""
    return preset_names()


def settings_for(preset: str, changes: Mapping[str, Any]) -> Settings:
    """A preset with changed settings (dotted name → value). Raises a LabError in one sentence."""
    check_typed(changes)
    return load_config(preset=preset, overrides=changes)


def with_vae_of(settings: Settings, vae_run: Run) -> Settings:
    """The settings a U-Net run gets: data and VAE are its VAE run's."""
    return service.inherit(settings, vae_run)


def start(
    kind: str,
    settings: Settings,
    *,
    preset: str,
    name: str,
    owner: str,
    vae_run: str = "",
    request: Mapping[str, Any] | None = None,
    token: str = "",
) -> list[str]:
    """Create the run or runs, queue them, and return the ids. Raises LabError; nothing is created then.

    token: of one press of the button; the same token again gives the same runs.
    """
    if not vae_run:
        check_files(settings.data)
    runs = service.start_training(
        kind,
        settings,
        store=open_store(),
        vae_run=vae_run or None,
        name=name,
        owner=owner,
        preset=preset,
        request=request,
        token=token,
        check=lambda settings, data_dir, cache_dir, rules: ask(CHECK_READY, settings, data_dir, cache_dir, rules),
    )
    return [run.id for run in runs]


def request_fields() -> tuple[str, ...]:
    """What of a request only some installations take, and this one does."""
    return choose.request_fields(open_store())


def interrupts_usually() -> bool:
    """Whether runs of this server may be interrupted where their request does not say."""
    return read_site()[0].preemptible


def weigh(settings: Settings, kind: str) -> list[Weighed]:
    """Parameters and memory of each network of `train KIND`, and whether this machine has room for its training."""
    return [weigh_run(settings, part) for part in trained_by(kind)]


def disk_bytes(settings: Settings, weights: list[Weighed]) -> int:
    """About how much disk the checkpoints of these runs fill, predicted from their parameters."""
    return sum(each.need.parameters for each in weights) * VALUE_BYTES * COPIES * settings.logging.keep_checkpoints


def measured_before(settings: Settings, kind: str) -> tuple[float, float | None] | None:
    """(seconds, class accuracy or None) of the newest finished runs here with these networks and this training.

    None unless there is one for each part of `train KIND`. The accuracy is that of the newest evaluation.
    """
    seconds, accuracy = 0.0, None
    for part in trained_by(kind):
        wanted = _trained_alike(settings, part.name)
        views = (view for view in list_views() if view.run.info.kind == part.name and view.state == "finished")
        found = next((view for view in views if _trained_alike(view.run.settings, part.name) == wanted), None)
        if found is None:
            return None
        seconds += found.status.elapsed_s
        reports = list_reports(found.run)
        accuracy = reports[0].class_accuracy if reports else None
    return seconds, accuracy


def _trained_alike(settings: Settings, part: str) -> tuple[object, ...]:
    """What decides how long a training takes and how good it gets, but for the machine."""
    own = (settings.vae, settings.train_vae) if part == "vae" else (settings.vae, settings.unet, settings.train_unet)
    return (settings.data.name, settings.data.image_size, settings.data.train_limit, *own)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What training one network takes; the last three are empty until they were measured."""

    network: str
    steps: int
    pictures: int
    images_per_s: float | None = None
    seconds: float | None = None
    device: str = ""

    @classmethod
    def planned(cls, settings: Settings, part: str) -> Cost:
        """What the settings alone say about 'vae' or 'unet'."""
        train = KINDS[part].training_in(settings)
        return cls(network=KINDS[part].title, steps=train.steps, pictures=train.steps * train.batch_size)


@st.cache_data(max_entries=64, show_spinner=False)
def measure(settings: Settings, part: str) -> Cost:
    """The cost of training 'vae' or 'unet' from a few real steps here, now; kept for the same settings."""
    found = ask(MEASURE_COST, settings, part)
    return replace(
        Cost.planned(settings, part),
        images_per_s=found.images_per_s,
        seconds=found.estimated_s,
        device=found.device.upper() if found.device == "cpu" else found.device,
    )
