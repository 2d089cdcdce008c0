"""The scheduler of a plain diffusers folder, with every flag that its file has: checked, and built as diffusers does.

Never imports torch; `core.diffusion.samplers` builds what `scheduler_of` describes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from core.diffusion.sampler_table import SAMPLERS
from core.diffusion.stock import StockScheduler
from core.errors import quoted
from core.model_folders.diffusers_layout import SCHEDULER, SCHEDULERS
from core.model_folders.model_files import ModelRefused, json_object

_PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow_prediction")
_BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace")
_LONGEST_WORD = 40
_LONGEST_LIST = 1000
_ENDLESS = re.compile(rb'("lambda_min_clipped"\s*:\s*)-Infinity')  # what diffusers takes where the key is missing
_OTHER = {  # what changes the loop itself, which this lab does not do: key → values that are understood
    "use_dynamic_shifting": (False, None),
    "stochastic_sampling": (False, None),
    "invert_sigmas": (False, None),
    "timestep_type": ("discrete", None),
    "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", None),
}


def read_scheduler(files: Mapping[str, bytes]) -> StockScheduler:
    """`scheduler_of` the folder's file, in which diffusers writes one number as -Infinity, which no JSON has."""
    text = _ENDLESS.sub(rb"\1null", files.get(SCHEDULER, b""))
    return scheduler_of(json_object({SCHEDULER: text}, SCHEDULER))


def scheduler_of(config: Mapping[str, Any]) -> StockScheduler:
    """What scheduler_config.json says. Raises ModelRefused, naming the first thing that this lab cannot do."""
    kind, algorithm = config.get("_class_name"), config.get("algorithm_type")
    plain = [row.class_name for row in SAMPLERS.values()]  # a list: the file may hold what cannot be hashed
    flows = {row.flow.class_name: name for name, row in SAMPLERS.items() if row.flow} if kind not in plain else {}
    name = next((name for name, row in SAMPLERS.items() if row.class_name == kind and _has(row, algorithm)), None)
    flow = flows.get(str(kind))
    if name is None and flow is None:
        if kind in plain:
            raise ModelRefused(f"{SCHEDULER}: algorithm_type {quoted(algorithm)} is not understood")
        raise ModelRefused(f"{SCHEDULER}: is of a {quoted(kind)}", f"one of {', '.join(SCHEDULERS)} is understood")
    options = {key: _sound(key, value) for key, value in config.items() if not key.startswith("_")}
    if options.get("lambda_min_clipped", 0) is None:
        del options["lambda_min_clipped"]
    for key, understood in _OTHER.items():
        if key in options and options[key] not in understood:
            raise ModelRefused(f"{SCHEDULER}: {key} is {quoted(options[key])}, which this lab does not do")
    count = options.get("num_train_timesteps", 1000)
    if not isinstance(count, int) or isinstance(count, bool) or not 10 <= count <= 10_000:
        raise ModelRefused(f"{SCHEDULER}: num_train_timesteps is {quoted(count)}, not between 10 and 10,000")
    prediction = "flow_prediction" if name is None else options.get("prediction_type", "epsilon")
    if prediction not in _PREDICTIONS:
        raise ModelRefused(f"{SCHEDULER}: prediction_type {quoted(prediction)} is not understood")
    if prediction == "flow_prediction":
        row = SAMPLERS[str(name or flow)]
        if row.flow is None or row.flow.class_name != kind:
            raise ModelRefused(f"{SCHEDULER}: {kind} does not do prediction_type flow_prediction")
        if name is not None and options.get("use_flow_sigmas") is not True:
            raise ModelRefused(f"{SCHEDULER}: flow matching is understood with use_flow_sigmas only")
        for key in ("flow_shift", "shift"):
            value = options.get(key, 1.0)
            if not isinstance(value, int | float) or not 0.01 <= value <= 100:
                raise ModelRefused(f"{SCHEDULER}: {key} is {quoted(value)}, not between 0.01 and 100")
    else:
        _check_betas(options, count)
        if options.get("use_flow_sigmas"):
            raise ModelRefused(f"{SCHEDULER}: use_flow_sigmas fits prediction_type flow_prediction, not {prediction}")
    return StockScheduler(sampler=str(name or flow), class_name=str(kind), prediction_type=prediction, options=options)


def _has(row: Any, algorithm: Any) -> bool:
    wanted = row.options.get("algorithm_type")
    return wanted is None or algorithm == wanted or (algorithm is None and wanted == "dpmsolver++")


def _sound(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) <= 1e9:
        return value
    if isinstance(value, str) and len(value) <= _LONGEST_WORD:
        return value
    if isinstance(value, list) and (key == "trained_betas" or _is_short(value)):
        return value
    raise ModelRefused(f"{SCHEDULER}: {quoted(key, 60)} is {quoted(value, 60)}, which is not understood")


def _is_short(value: list[Any]) -> bool:
    return len(value) <= _LONGEST_LIST and all(isinstance(each, int | float) for each in value)


def _check_betas(options: dict[str, Any], count: int) -> None:
    trained = options.get("trained_betas")
    if trained is not None:
        if not isinstance(trained, list) or len(trained) != count:
            raise ModelRefused(f"{SCHEDULER}: trained_betas are not {count:,} numbers")
        if not all(isinstance(beta, int | float) and not isinstance(beta, bool) and 0 < beta <= 1 for beta in trained):
            raise ModelRefused(f"{SCHEDULER}: trained_betas must lie between 0 and 1")
        return
    start, end = options.get("beta_start", 1e-4), options.get("beta_end", 0.02)
    if not all(isinstance(value, float) and math.isfinite(value) and 0 < value < 1 for value in (start, end)):
        raise ModelRefused(f"{SCHEDULER}: beta_start and beta_end must lie between 0 and 1")
    schedule = options.get("beta_schedule", "linear")
    if schedule not in _BETA_SCHEDULES:
        raise ModelRefused(f"{SCHEDULER}: beta_schedule {quoted(schedule)} is not understood")
