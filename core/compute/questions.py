"""Everything that screens ask the process that computes. Light: what answers is imported over there only.

Request and answer of each stand in its type; the function has a `Tell` before the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.comparison.recipe_grid import CellImages
from core.comparison.trade_off import HalvedCell
from core.compute.question import Question
from core.config.schema import DataSettings, DiffusionSettings, MachineSettings, Settings
from core.config.site import SiteSettings
from core.data.one_per_class import ClassImages
from core.diffusion.solver_curve import SampleDensity, SolverCurve
from core.evaluation.ceiling_results import Ceiling
from core.evaluation.measure_test_results import MeasureTest
from core.evaluation.nearest_results import Nearest
from core.evaluation.timestep_loss_results import ErrorWeights, TimestepLoss
from core.latent.inspection.decoder_results import Survived, Traits
from core.latent.inspection.overview import LatentOverview
from core.latent.inspection.projection import LatentMap
from core.latent.inspection.vae_source import AskedVae
from core.model_folders.exports import ExportWish
from core.model_folders.model_facts import ModelFolderInfo
from core.rules import Rules
from core.sampling.drawing import Drawing
from core.sampling.recipe import Recipe
from core.training.cost import Probe

_ANSWERS = "core.compute.answers"

IMPORT_AHEAD: Question[[str], None] = Question("core.compute.worker", "import_ahead")

# The look of a drawing's progress: (steps done, steps, predicted clean images (N, H, W, C) uint8).
DRAW: Question[[Recipe, SiteSettings, MachineSettings, bool], Drawing] = Question(f"{_ANSWERS}.drawing", "draw")
# The finished images of each recipe; the look is (its place, CellImages).
DRAW_CELLS: Question[[tuple[Recipe, ...], SiteSettings, MachineSettings], tuple[CellImages, ...]] = Question(
    f"{_ANSWERS}.drawing", "draw_cells"
)

# A run's id: which measure sees which fault of its dataset's images; kept beside the judge.
TEST_MEASURES: Question[[str, SiteSettings], MeasureTest] = Question(f"{_ANSWERS}.measure_test", "test_measures")

# Of a run's comparison, by its id: each cell on both halves of its images.
HALVED_CELLS: Question[[str, str, SiteSettings], tuple[HalvedCell, ...]] = Question(
    f"{_ANSWERS}.trade_off", "halved_cells"
)

MEASURE_TIMESTEP_LOSS: Question[[str, int, ErrorWeights, int, int, SiteSettings], TimestepLoss] = Question(
    f"{_ANSWERS}.timestep_loss", "measure_timestep_loss"
)

SCHEDULE_TABLE: Question[[DiffusionSettings], dict[str, np.ndarray]] = Question(
    f"{_ANSWERS}.schedules", "schedule_table"
)
VISITED_TIMESTEPS: Question[[DiffusionSettings, Sequence[str], int], dict[str, np.ndarray]] = Question(
    f"{_ANSWERS}.schedules", "visited_timesteps"
)
CLASS_IMAGES: Question[[DataSettings, SiteSettings], ClassImages] = Question(f"{_ANSWERS}.schedules", "class_images")
NOISED_IMAGES: Question[[np.ndarray, np.ndarray], np.ndarray] = Question(f"{_ANSWERS}.schedules", "noised_images")
NOISED_LATENTS: Question[[str, Sequence[tuple[bool, Sequence[int]]], np.ndarray, SiteSettings], np.ndarray] = Question(
    f"{_ANSWERS}.dissolving", "noised_latents"
)
DECODE_AHEAD: Question[[str, np.ndarray, SiteSettings], None] = Question(f"{_ANSWERS}.dissolving", "decode_ahead")

SOLVER_CURVE: Question[[str, DiffusionSettings, Sequence[int], int], SolverCurve] = Question(
    f"{_ANSWERS}.self_test", "solver_curve"
)
SAMPLE_DENSITY: Question[[str, DiffusionSettings, int, int], SampleDensity] = Question(
    f"{_ANSWERS}.self_test", "sample_density"
)

CHECK_READY: Question[[Settings, Path, Path, Rules], None] = Question(f"{_ANSWERS}.training", "check_ready")
MEASURE_COST: Question[[Settings, str], Probe] = Question(f"{_ANSWERS}.training", "measure_cost")

# A model's id; the judge is that of its dataset.
TRAIN_JUDGE: Question[[str, SiteSettings], None] = Question(f"{_ANSWERS}.judges", "train_judge")
JUDGE_ODDS: Question[[str, str, np.ndarray, SiteSettings], np.ndarray] = Question(f"{_ANSWERS}.judges", "odds")
FIND_NEAREST: Question[[str, np.ndarray, tuple[int, ...], SiteSettings], Nearest] = Question(
    f"{_ANSWERS}.nearest", "nearest"
)

# Of a VAE: what it does to a few pictures; the same kept in the cache (True: giving way to all else).
LOOK_AT_LATENTS: Question[[AskedVae, SiteSettings], LatentOverview] = Question(f"{_ANSWERS}.latents", "first_look")
MEASURE_LATENTS: Question[[AskedVae, SiteSettings, bool], None] = Question(f"{_ANSWERS}.latents", "measure")
# At most so many pictures; latents (N, c, h, w) → pictures (N, H, W, C) uint8.
MAP_LATENTS: Question[[AskedVae, int, SiteSettings], LatentMap] = Question(f"{_ANSWERS}.latents", "make_map")
DECODE_LATENTS: Question[[AskedVae, np.ndarray, SiteSettings], np.ndarray] = Question(f"{_ANSWERS}.latents", "decode")
# Pictures, noise levels, and whether the judge of the dataset looks too, which is trained where it never was.
SURVIVE_NOISE: Question[[AskedVae, DiffusionSettings, int, int, bool, SiteSettings], Survived] = Question(
    f"{_ANSWERS}.latent_decoder", "survive"
)
MEASURE_TRAITS: Question[[AskedVae, int, SiteSettings], Traits] = Question(f"{_ANSWERS}.latent_decoder", "traits")
MEASURE_CEILING: Question[[str, int | None, int, SiteSettings], Ceiling] = Question(
    f"{_ANSWERS}.ceiling", "measure_ceiling"
)

# A run's id, what is wished for, and who asks.
EXPORT_RUN: Question[[str, ExportWish, str, SiteSettings], ModelFolderInfo] = Question(f"{_ANSWERS}.exports", "export")

# Ids of runs: the HTML file that shows them without a network.
REPORT_RUNS: Question[[tuple[str, ...], SiteSettings], bytes] = Question(f"{_ANSWERS}.handround", "report")

DESCRIBE_DATASET: Question[[DataSettings, SiteSettings], None] = Question(f"{_ANSWERS}.datasets", "describe")
