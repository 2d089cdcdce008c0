"""Where guidance acts: noise levels t / T, or σ as in arXiv 2404.07724. The value itself says which."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator

SIGMA: Literal["sigma"] = "sigma"
MOST_SIGMA = 1e6
RULE = "must be two noise levels t / T from 0 to 1, or two of sigma as [0.28, 2.9, sigma], the lower first"


def checked_interval(value: object) -> object:
    """(low, high) in t / T, or (low, high, 'sigma'). Raises ValueError, one sentence, for anything else."""
    parts = tuple(value) if isinstance(value, list | tuple) else ()
    most = MOST_SIGMA if parts[2:] == (SIGMA,) else 1.0
    levels = parts[:2]
    are_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in levels)
    if len(levels) < 2 or parts[2:] not in ((), (SIGMA,)) or not are_numbers:
        raise ValueError(RULE)
    low, high = levels
    if not 0.0 <= low <= high <= most:  # False for NaN as well
        raise ValueError(f"{RULE}, got {low:g}, {high:g}")
    return (float(low), float(high), *parts[2:])


Interval = Annotated[
    tuple[float, float] | tuple[float, float, Literal["sigma"]],
    BeforeValidator(checked_interval),
]


def acts_at(interval: Interval, *, noise_level: float, signal_scale: float, noise_scale: float) -> bool:
    """Whether guidance acts at this t / T; σ = noise_scale / signal_scale there, infinite where no signal is left."""
    low, high = interval[:2]
    if len(interval) == 2:
        return low <= noise_level <= high
    return low <= (noise_scale / signal_scale if signal_scale > 0.0 else math.inf) <= high


def interval_in_words(interval: Interval) -> str:
    """'0.2 to 0.85' in t / T, or 'σ 0.28 to 2.9'."""
    return f"{'' if len(interval) == 2 else 'σ '}{interval[0]:g} to {interval[1]:g}"


def interval_as_setting(interval: Interval) -> str:
    """'[0.2,0.85]' or '[0.28,2.9,sigma]', as `--set` takes it."""
    return f"[{','.join(each if isinstance(each, str) else f'{each:g}' for each in interval)}]"
