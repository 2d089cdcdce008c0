"""Differences of proportions with their standard errors, and intervals from standard errors. Never imports PyTorch."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

MANY_DEGREES = 10_000
FAR = 12.0  # standard deviations, beyond which nothing is left


def normal_interval(value: float, error: float, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of an estimate with a normal standard error."""
    half = NormalDist().inv_cdf(0.5 + confidence / 2.0) * error
    return value - half, value + half


@lru_cache(maxsize=4096)
def student_quantile(share: float, df: float) -> float:
    """Where Student's t with `df` degrees of freedom (1 or more, need not be whole) has `share` below it.

    With t = √df · tan(a), the density is cos(a)^(df - 1): a smooth function of an angle, summed as trapezoids.
    """
    if df > MANY_DEGREES:
        return NormalDist().inv_cdf(share)
    most = min(math.pi / 2.0, FAR / math.sqrt(df))
    angles = np.linspace(-most, most, 4_001)
    density = np.cos(angles) ** (df - 1.0)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2.0)])
    return math.sqrt(df) * math.tan(float(np.interp(share, below / below[-1], angles)))


def paired_difference(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The difference of two proportions over the same N trials, first minus second, and its standard error.

    first, second: (N,) bool. The adjusted Wald estimate of Bonett and Price 2012, doi 10.3102/1076998611411915: only
    trials where the two disagree speak.
    """
    total = len(first) + 2
    gained, lost = (int((first & ~second).sum()) + 1) / total, (int((second & ~first).sum()) + 1) / total
    return gained - lost, math.sqrt((gained + lost - (gained - lost) ** 2) / total)


def unpaired_difference(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """The difference of two proportions, each (successes, trials), first minus second, and its standard error.

    The adjusted estimate of Agresti and Caffo 2000, doi 10.1080/00031305.2000.10474560.
    """
    (a, m), (b, n) = first, second
    p, q = (a + 1) / (m + 2), (b + 1) / (n + 2)
    return p - q, math.sqrt(p * (1 - p) / (m + 2) + q * (1 - q) / (n + 2))
