"""Every sampler, one row each: what it is, how diffusers builds it, what it cannot do and why.

The factory, the gate, comparisons, exports and the screens read these rows, so that a sampler is added here and judged
in `tests/core/diffusion/test_exact.py`. Reasons are measured: see docs/log.md. Never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

_WRONG_START = "DiTPipeline starts it with the wrong amount of noise"  # it ignores init_noise_sigma
_MULTISTEP = {"solver_order": 2, "lower_order_final": True}
_CLEAN_END = {"final_sigmas_type": "zero"}
_ZERO_SNR = {"rescale_betas_zero_snr": True}  # ᾱ of the last timestep becomes 2⁻²⁴, which σ needs


@dataclass(frozen=True, kw_only=True)
class FlowForm:
    """How diffusers builds a sampler for flow matching. sigmas_given: its noise levels 1, …, 1/n are set by hand.

    cuts_timesteps: it cuts σ·T down to whole numbers, less noise than there is.
    """

    class_name: str
    options: Mapping[str, Any]
    sigmas_given: bool = False
    cuts_timesteps: bool = False


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """One sampler.

    class_name, options: of diffusers, for schedules that keep the variance, beside the schedule's own betas.
    order: of convergence of its path, half-way, which a perfect network shows (UniPC's corrector adds one to 2); 1,
    unmeasured, where noise is drawn. stochastic: it draws noise at every step. stages: network evaluations per step;
    the last step takes one.
    takes_order: `step` must be told an order that grows to `order` from where it began. counts_in_sigma: its state is
    scaled by √(σ² + 1). whole_strides: it visits T // n, so that n must divide T.
    zero_snr: the options it takes beside these on a schedule that ends in pure noise; None where diffusers divides by
    zero there. words: as in '1,000-step … sampling'.
    refused_schedules, refused_predictions: name → the end of a sentence on why not. few_steps: schedule → (fewest
    steps, what fewer do, what to do instead). flow: None when diffusers has none. not_exported: why no model folder
    may name it, '' when one may.
    """

    class_name: str
    order: int
    words: str
    options: Mapping[str, Any] = field(default_factory=dict)
    stochastic: bool = False
    stages: int = 1
    takes_order: bool = False
    counts_in_sigma: bool = False
    whole_strides: bool = False
    zero_snr: Mapping[str, bool] | None = None
    refused_schedules: Mapping[str, str] = field(default_factory=dict)
    refused_predictions: Mapping[str, str] = field(default_factory=dict)
    few_steps: Mapping[str, tuple[int, str, str]] = field(default_factory=dict)
    flow: FlowForm | None = None
    not_exported: str = ""

    def evaluations(self, num_inference_steps: int) -> int:
        """Network evaluations of that many steps, guidance apart."""
        return self.stages * (num_inference_steps - 1) + 1

    def begins_at(self, index: int) -> bool:
        """True where it can begin: a later stage, such as Heun's second, needs what its first one left."""
        return index % self.stages == 0


def _flow_sigmas(class_name: str, **options: Any) -> FlowForm:
    settings = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 1.0, **_MULTISTEP}
    return FlowForm(class_name=class_name, options={**settings, **options}, cuts_timesteps=True)


SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(  # arXiv 2006.11239, algorithm 2
        class_name="DDPMScheduler",
        options={"clip_sample": False, "variance_type": "fixed_small"},
        order=1,
        stochastic=True,
        zero_snr={},
        words="ancestral",
    ),
    "ddim": Sampler(  # arXiv 2010.02502
        class_name="DDIMScheduler",
        options={"clip_sample": False, "set_alpha_to_one": True},
        order=1,
        whole_strides=True,
        zero_snr={},
        words="DDIM",
    ),
    "euler": Sampler(  # arXiv 2206.00364, algorithm 2 without its second stage
        class_name="EulerDiscreteScheduler",
        options={"use_karras_sigmas": False},
        order=1,
        counts_in_sigma=True,
        zero_snr=_ZERO_SNR,
        words="Euler",
        flow=FlowForm(class_name="FlowMatchEulerDiscreteScheduler", options={"shift": 1.0}, sigmas_given=True),
        not_exported=_WRONG_START,
    ),
    "euler_ancestral": Sampler(
        class_name="EulerAncestralDiscreteScheduler",
        order=1,
        stochastic=True,
        counts_in_sigma=True,
        zero_snr=_ZERO_SNR,
        words="ancestral Euler",
        refused_predictions={"sample": "does not know prediction type sample; use dpmpp_2m_sde or ddpm"},
        few_steps={
            "cosine": (
                5,
                "is lost in rounding at the steep end of the cosine schedule (with 3 it ends in NaN)",
                "use 5 or more, or ddpm",
            )
        },
        not_exported=_WRONG_START,
    ),
    "heun": Sampler(  # arXiv 2206.00364, algorithm 1
        class_name="HeunDiscreteScheduler",
        options={"use_karras_sigmas": False, "clip_sample": False},
        order=2,
        stages=2,
        counts_in_sigma=True,
        words="Heun",
        refused_schedules={
            "cosine": "diverges at the trailing timesteps of the cosine schedule, and leading ones lose the mean of "
            "the data; use unipc or dpmpp_2m"
        },
        flow=FlowForm(class_name="FlowMatchHeunDiscreteScheduler", options={"shift": 1.0}),
        not_exported=_WRONG_START,
    ),
    "lms": Sampler(  # linear multistep of four evaluations
        class_name="LMSDiscreteScheduler",
        options={"use_karras_sigmas": False},
        order=4,
        takes_order=True,
        counts_in_sigma=True,
        words="LMS",
        not_exported=_WRONG_START,
    ),
    "dpmpp_2m": Sampler(  # arXiv 2211.01095
        class_name="DPMSolverMultistepScheduler",
        options={**_MULTISTEP, **_CLEAN_END, "use_karras_sigmas": False, "algorithm_type": "dpmsolver++"},
        order=2,
        zero_snr=_ZERO_SNR,
        words="DPM-Solver++ (2M)",
        flow=_flow_sigmas("DPMSolverMultistepScheduler", algorithm_type="dpmsolver++", **_CLEAN_END),
    ),
    "dpmpp_2m_sde": Sampler(  # arXiv 2211.01095
        class_name="DPMSolverMultistepScheduler",
        options={**_MULTISTEP, **_CLEAN_END, "use_karras_sigmas": False, "algorithm_type": "sde-dpmsolver++"},
        order=1,
        stochastic=True,
        zero_snr=_ZERO_SNR,
        words="DPM-Solver++ (2M, SDE)",
        flow=_flow_sigmas("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++", **_CLEAN_END),
        not_exported="a model folder names a class only, and its class is that of dpmpp_2m",
    ),
    "unipc": Sampler(  # arXiv 2302.04867
        class_name="UniPCMultistepScheduler",
        options={**_MULTISTEP, **_CLEAN_END, "use_karras_sigmas": False},
        order=3,
        zero_snr=_ZERO_SNR,
        words="UniPC",
        flow=_flow_sigmas("UniPCMultistepScheduler", **_CLEAN_END),
    ),
    "deis": Sampler(  # arXiv 2204.13902
        class_name="DEISMultistepScheduler",
        options={**_MULTISTEP, "use_karras_sigmas": False},
        order=2,
        words="DEIS",
        refused_schedules={"flow": "on flow matching is never better than euler; use unipc or dpmpp_2m"},
        flow=_flow_sigmas("DEISMultistepScheduler"),
    ),
}
FLOW_SAMPLERS = tuple(name for name, row in SAMPLERS.items() if row.flow and "flow" not in row.refused_schedules)
ZERO_SNR_SAMPLERS = tuple(name for name, row in SAMPLERS.items() if row.zero_snr is not None)
EXPORTED_SAMPLERS = tuple(name for name, row in SAMPLERS.items() if not row.not_exported)

if TYPE_CHECKING:
    SamplerName = str
else:
    SamplerName = Literal[tuple(SAMPLERS)]  # what the schema offers and refuses
