"""What the lab takes from diffusers, and the one place that imports it, without what nothing here needs.

diffusers' U-Net and VAE import every transformer of the library, PyTorch's compiler and the distributions of SciPy:
half of the time in which a process of ours starts. While they are imported here, packages of models stay unread until
somebody asks for a name in them. The compiler and scipy.stats have stand-ins, which become the real ones when they are
used. Classes and numbers are the same. PyTorch's optimizers would load the compiler too, only to keep it away.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

import torch
from torch.optim import Optimizer

PUT_OFF = ("diffusers.models.transformers", "diffusers.models.unets", "diffusers.models.autoencoders")


def _unchanged(function: Any = None, *_: Any, **__: Any) -> Any:
    return function if function is not None else _unchanged


@contextlib.contextmanager
def _stand_in(name: str, **attributes: Any) -> Iterator[None]:
    """Another module under that name until the end of the block, unless the real one is there; asks it for the rest."""
    module = ModuleType(name)
    vars(module).update(attributes)
    is_ours = sys.modules.setdefault(name, module) is module

    def ask(attribute: str) -> Any:
        if attribute.startswith("__"):  # what imports ask of a module
            raise AttributeError(attribute)
        if sys.modules.get(name) is module:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    vars(module)["__getattr__"] = ask
    try:
        yield
    finally:
        if is_ours and sys.modules.get(name) is module:
            del sys.modules[name]


def _put_off(name: str) -> None:
    """A package whose modules can be imported, and whose own file runs when a name of it is asked for."""
    spec = find_spec(name)
    if name in sys.modules or spec is None or spec.loader is None:
        return
    package, loader = module_from_spec(spec), spec.loader

    def ask(attribute: str) -> Any:
        del vars(package)["__getattr__"]
        loader.exec_module(package)
        return getattr(package, attribute)

    vars(package)["__getattr__"] = ask
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, package)


with _stand_in("torch._dynamo", allow_in_graph=_unchanged, disable=_unchanged), _stand_in("scipy.stats"):
    for package in PUT_OFF:
        _put_off(package)
    import diffusers
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DModel, UniPCMultistepScheduler

# What keeps PyTorch's compiler away from an optimizer imports the compiler first
for method in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
    if function := getattr(vars(Optimizer)[method], "__wrapped__", None):
        vars(function).setdefault("__dynamo_disable", function)


class AdamW(torch.optim.AdamW):
    """PyTorch's own; its step without what is around it for the compiler and for second derivatives."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


__all__ = ["AdamW", "AutoencoderKL", "DDPMScheduler", "UNet2DModel", "UniPCMultistepScheduler", "diffusers"]
