"""Everything that screens ask the process that computes. Light: what answers is imported over there only.

Request and answer of each stand in its type; the function has a `Tell` before the request.
"""

from __future__ import annotations

from core.compute.question import Question
from core.config.schema import MachineSettings
from core.config.site import SiteSettings
from core.evaluation.timestep_loss_results import ErrorWeights, TimestepLoss
from core.sampling.drawing import Drawing
from core.sampling.recipe import Recipe

_ANSWERS = "core.compute.answers"

IMPORT_AHEAD: Question[[str], None] = Question("core.compute.worker", "import_ahead")

# The look of a drawing's progress: (steps done, steps, predicted clean images (N, H, W, C) uint8).
DRAW: Question[[Recipe, SiteSettings, MachineSettings, bool], Drawing] = Question(f"{_ANSWERS}.drawing", "draw")

MEASURE_TIMESTEP_LOSS: Question[[str, int, ErrorWeights, int, int, SiteSettings], TimestepLoss] = Question(
    f"{_ANSWERS}.timestep_loss", "measure_timestep_loss"
)
