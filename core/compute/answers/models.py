"""Loaded models of this process: whoever asks next finds them, and nobody releases one that is in use."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import torch

from core.bounded_cache import BoundedCache
from core.config.schema import MachineSettings
from core.config.site import SiteSettings
from core.device import set_threads
from core.model_folders.sources import Weights, source_named
from core.runs.store import RunStore
from core.sampling.load import LoadedModel

MAX_IDLE_MODELS = 4


def free_gpu() -> None:
    """Give memory of released models back to the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


loaded: BoundedCache[tuple[object, ...], LoadedModel] = BoundedCache(max_count=MAX_IDLE_MODELS, on_release=free_gpu)


@contextlib.contextmanager
def borrowed(
    name: str,
    step: int | None,
    site: SiteSettings,
    machine: MachineSettings,
    weights: Weights = "ema",
    device: str = "",
) -> Iterator[LoadedModel]:
    """The denoiser of a source's checkpoint on `device`, '' for what its run says, else `machine`.

    Any number of threads may draw with one, as drawing changes nothing in it. Raises a LabError.
    """
    source = source_named(name, RunStore(site.runs), site.models)
    machine = source.run.settings.machine if source.run else machine
    set_threads(machine.num_threads)  # a few images gain little from a second, and lose much where a core is taken
    target = device or machine.device
    key = (str(source.folder), step, weights, target, source.stamp)
    with loaded.lease(key, lambda: source.load(device=target, weights=weights, step=step)) as model:
        yield model
