"""The learning rate as a pure function of the step: resume, planning and the chart all ask the same question."""

from __future__ import annotations

import math

from core.config.schema import TrainSettings


def learning_rate_at(step: int, settings: TrainSettings) -> float:
    """The rate of the optimizer step that takes `step` (0-based) to step + 1.

    Linear warm-up over `warmup_steps`, then constant, or along a cosine or a line to zero at `decay_steps` (default:
    the last step).
    """
    warmup = min(settings.warmup_steps, settings.steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.lr_schedule == "constant":
        return settings.learning_rate
    end = settings.decay_steps or settings.steps
    progress = min(1.0, (step - warmup) / max(1, end - warmup))
    if settings.lr_schedule == "linear":
        return settings.learning_rate * (1.0 - progress)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
