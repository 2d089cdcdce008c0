"""A scheduler as somebody else's file describes it. Light: `core.diffusion.samplers` builds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class StockScheduler:
    """class_name, options: of diffusers, which fills what is missing. sampler: this lab's name for it.

    prediction_type: as diffusers calls it; 'flow_prediction' for flow matching.
    """

    sampler: str
    class_name: str
    prediction_type: str
    options: Mapping[str, Any]

    @property
    def is_flow(self) -> bool:
        """True for flow matching."""
        return self.prediction_type == "flow_prediction"
