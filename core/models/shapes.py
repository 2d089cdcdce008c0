"""Networks without storage: shapes, names and refusals are real, nothing is allocated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _NoRandomStart(TorchFunctionMode):
    """Leaves tensors without storage as they are where a layer would fill them with noise.

    PyTorch computes `normal_` on the meta device in Python, and imports its whole compiler for it: a second.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.nn.init.normal_:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def only_shapes() -> Iterator[None]:
    """What this thread builds meanwhile is on PyTorch's meta device."""
    with torch.device("meta"), _NoRandomStart():
        yield
