"""Every setting with its type, bounds, unit and meaning.

The Train form, the documentation and the checks are all drawn from these models. Only fields live here; reading
them from YAML is in `load.py`, and pairs that cannot work together are refused in `Settings.check_pairs`. What belongs
to this installation and not to an experiment is in `site.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from core.config.compatibility import offered_samplers, pair_problem
from core.config.interval import Interval
from core.diffusion.sampler_table import SamplerName

LabelChoice = Literal["proportions", "balanced"]
LABEL_CHOICES: tuple[LabelChoice, ...] = get_args(LabelChoice)

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Channels = Annotated[int, Field(ge=4, le=2048)]
ATTENTION_WIDTH = 8  # channels of a head of diffusers' U-Net: a narrower level has none


class Section(BaseModel):
    """A frozen group of settings: unknown keys, wrong types and non-finite numbers are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def one_spelling(color: object) -> object:
    """'gray' for 'grey', which settings and commands said at first; anything else as it is."""
    return "gray" if color == "grey" else color


def as_text(value: object) -> object:
    """'8' for the whole number 8, as YAML reads what was typed; anything else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class DataSettings(Section):
    """What the models learn from."""

    name: str = Field("mnist", description="Dataset: a name of the catalog, 'image_folder' or 'npz'.")
    path: str | None = Field(
        None, description="Folder (one directory per class), zip or .npz file; for 'image_folder' and 'npz'."
    )
    classes: Annotated[str, Field(pattern=r"^(auto|[1-9][0-9]?)$"), BeforeValidator(as_text)] = Field(
        "auto",
        description="Level of directories below the path that names the classes, 1 = the first; auto = found out.",
    )
    split: Annotated[str, BeforeValidator(as_text)] = Field(
        "auto",
        max_length=400,
        description="Directories held out, comma-separated; 'none': directories name no split; auto = found out.",
    )
    labels_from: str = Field(
        "auto",
        max_length=400,
        description="Where classes come from: 'folders', 'names' of files, or a table beside the images, FILE or "
        "FILE:COLUMN; auto = found out.",
    )
    bit_depth: Annotated[Literal["auto", "1", "8", "10", "12", "14", "16", "float"], BeforeValidator(as_text)] = Field(
        "auto",
        description="Range of the stored values that becomes 0 to 255; auto = the range of the whole set decides.",
    )
    image_size: int = Field(32, ge=8, le=512, multiple_of=8, description="Side of the square images, pixels.")
    fit: Literal["pad", "resize"] = Field(
        "resize",
        description="How a slightly smaller image (28 for 32) becomes image_size: 'pad' adds a dark border and keeps "
        "every pixel, 'resize' is antialiased. Other sizes are always resized, antialiased.",
    )
    color: Annotated[Literal["native", "gray", "rgb"], BeforeValidator(one_spelling)] = Field(
        "native", description="Channels: as in the dataset, one (gray), or three (rgb)."
    )
    holdout_fraction: float = Field(
        0.1, gt=0.0, lt=0.9, description="Share of images held out when the dataset has no test split of its own."
    )
    train_limit: int | None = Field(
        None, ge=16, description="Use only this many training images (fixed random choice); empty = all."
    )
    download: bool = Field(True, description="Fetch a missing torchvision dataset into site.data.")


class VaeSettings(Section):
    """The variational autoencoder (diffusers AutoencoderKL)."""

    latent_channels: int = Field(
        4,
        ge=1,
        le=64,
        description="Channels c of the latent image. Fewer lower the ceiling; more give the U-Net more to learn. On "
        "color, 8 instead of 4 lowered accuracy.",
    )
    block_out_channels: tuple[Channels, ...] = Field(
        (8, 16, 32),
        min_length=1,
        max_length=6,
        description="Width of each level; n levels shrink the image by 2^(n-1). One level less raises the ceiling "
        "most of all, and a U-Net step costs four times as much: for long trainings.",
    )
    layers_per_block: int = Field(1, ge=1, le=8, description="Residual layers per level.")
    norm_num_groups: int = Field(4, ge=1, le=64, description="Groups of each GroupNorm; must divide every width.")
    mid_block_add_attention: bool = Field(False, description="Self-attention at the lowest resolution.")
    zero_init: bool = Field(
        False, description="Residual branches start at zero, so that short trainings begin smoothly (arXiv 1706.02677)."
    )

    @property
    def downsample_factor(self) -> int:
        """Picture side over latent side."""
        return int(2 ** (len(self.block_out_channels) - 1))


class UnetSettings(Section):
    """The class-conditional denoiser (diffusers UNet2DModel)."""

    block_out_channels: tuple[Channels, ...] = Field(
        (32, 64), min_length=1, max_length=6, description="Width of each level."
    )
    layers_per_block: int = Field(1, ge=1, le=8, description="Residual layers per level.")
    attention_levels: tuple[int, ...] = Field(
        (), description="Levels (0 = full latent resolution) that carry self-attention; empty = none."
    )
    norm_num_groups: int = Field(8, ge=1, le=64, description="Groups of each GroupNorm; must divide every width.")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout inside the residual layers.")
    zero_init: bool = Field(
        False,
        description="Residual branches and the output start at zero, as in arXiv 2105.05233: for short trainings.",
    )


class DiffusionSettings(Section):
    """How noise enters, and what the U-Net is asked to predict."""

    num_train_timesteps: int = Field(1000, ge=10, le=10000, description="Timesteps T of the noise schedule.")
    schedule: Literal["linear", "scaled_linear", "cosine", "sigmoid", "flow"] = Field(
        "flow",
        description="Noise schedule; 'flow' is flow matching's straight path (rectified flow). 'sigmoid' has a sigmoid "
        "of betas, as in diffusers, not of alpha bar (arXiv 2301.10972).",
    )
    beta_start: float = Field(
        1e-4,
        gt=0.0,
        lt=1.0,
        description="First beta of linear, scaled_linear and sigmoid. Latent diffusion's scaled_linear: 0.00085.",
    )
    beta_end: float = Field(
        0.02,
        gt=0.0,
        lt=1.0,
        description="Last beta of linear, scaled_linear and sigmoid. Latent diffusion's scaled_linear: 0.012.",
    )
    prediction_type: Literal["epsilon", "v_prediction", "sample", "flow"] = Field(
        "flow", description="What the U-Net predicts: the noise, v, the clean latents, or flow's velocity."
    )
    rescale_betas_zero_snr: bool = Field(
        False, description="Rescale the schedule so that the last timestep is pure noise (arXiv 2305.08891)."
    )
    min_snr_gamma: float | None = Field(
        None,
        gt=0.0,
        description="Min-SNR loss weight (arXiv 2303.09556), 5 is usual; empty = no weight. Validation losses with and "
        "without it do not compare, nor does the loss by timestep average to them.",
    )
    timestep_distribution: Literal["uniform", "logit_normal"] = Field(
        "uniform",
        description="Which timesteps training samples: all alike, or more of the middle ones (arXiv 2403.03206, 3.1). "
        "Validation losses of different distributions do not compare.",
    )
    timestep_mean: float = Field(
        0.0,
        ge=-5.0,
        le=5.0,
        description="Mean of logit_normal before the sigmoid; above 0 samples noisier timesteps more often.",
    )
    stratified_timesteps: bool = Field(
        False,
        description="Cut the distribution into one equal part per image of a batch: losses vary less between steps "
        "(arXiv 2107.00630, appendix I.1).",
    )
    cond_drop_prob: Fraction = Field(
        0.1, description="Share of labels replaced by the null class in training, for classifier-free guidance."
    )

    def sampler_problem(self, sampler: str, num_inference_steps: int | None = None) -> str | None:
        """One sentence on why this sampler cannot work with such a model, or None when it can."""
        return pair_problem(
            schedule=self.schedule,
            prediction_type=self.prediction_type,
            rescale_betas_zero_snr=self.rescale_betas_zero_snr,
            sampler=sampler,
            num_inference_steps=num_inference_steps,
            num_train_timesteps=self.num_train_timesteps,
        )

    def offered_samplers(self, num_inference_steps: int | None = None) -> tuple[list[str], dict[str, str]]:
        """(samplers that work with such a model, the others with the reason why not)."""
        return offered_samplers(
            schedule=self.schedule,
            prediction_type=self.prediction_type,
            rescale_betas_zero_snr=self.rescale_betas_zero_snr,
            num_inference_steps=num_inference_steps,
            num_train_timesteps=self.num_train_timesteps,
        )


class TrainSettings(Section):
    """What the VAE's and the U-Net's training have in common."""

    steps: int = Field(1000, ge=1, le=10_000_000, description="Optimizer steps in all.")
    batch_size: int = Field(64, ge=1, le=65536, description="Images per optimizer step, over all processes.")
    gradient_accumulation_steps: int = Field(
        1, ge=1, le=1024, description="Micro-batches per step; less memory, same result. Must divide batch_size."
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        description="'muon' gives each weight matrix an orthogonal update and leaves the rest to AdamW. Fewer steps to "
        "the same quality, 5 to 20 % more time per step.",
    )
    learning_rate: float = Field(1e-3, gt=0.0, le=1.0, description="Peak learning rate of AdamW.")
    muon_learning_rate: float = Field(
        6e-3, gt=0.0, le=1.0, description="Peak learning rate of the matrices that Muon updates, on AdamW's scale."
    )
    warmup_steps: int = Field(50, ge=0, description="Steps of linear warm-up from zero.")
    lr_schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="After the warm-up.")
    decay_steps: int | None = Field(
        None, ge=1, description="Step at which cosine or linear decay reaches zero; empty = at the last step."
    )
    adam_beta1: float = Field(0.9, ge=0.0, lt=1.0, description="AdamW's first moment decay.")
    adam_beta2: float = Field(0.99, ge=0.0, lt=1.0, description="AdamW's second moment decay.")
    weight_decay: float = Field(0.01, ge=0.0, le=1.0, description="AdamW's decoupled weight decay.")
    max_grad_norm: float = Field(1.0, gt=0.0, description="Gradients are scaled down to this norm.")
    ema_decay: float = Field(0.999, ge=0.0, lt=1.0, description="Decay of the averaged weights used for sampling.")
    ema_power: float = Field(0.75, gt=0.0, le=1.0, description="EMA warm-up: decay(t) = 1 - (1 + t)^-power.")


class TrainVaeSettings(TrainSettings):
    """Training of the VAE."""

    steps: int = Field(500, ge=1, le=10_000_000, description="Optimizer steps in all.")
    learning_rate: float = Field(3e-3, gt=0.0, le=1.0, description="Peak learning rate of AdamW.")
    reconstruction_loss: Literal["mse", "l1"] = Field("mse", description="Distance of image and reconstruction.")
    edge_weight: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="Weight of the error of differences between neighboring pixels; 0 = none. On color, 1 raised the "
        "ceiling and the U-Net's accuracy (39 to 55 %, docs/better-vaes.md).",
    )
    kl_weight: float = Field(
        1e-5,
        ge=0.0,
        description="Weight of the KL divergence (nats per image) beside the mean error per pixel. 1e-4 leaves a third "
        "of the nats. 1e-2 collapses the latents unless free_bits prevents it. The error is a mean over pixels and the "
        "KL a sum: at twice the image side, equal weights hold latents four times as hard.",
    )
    free_bits: float = Field(
        0.0,
        ge=0.0,
        description="KL divergence that each latent channel may have for free, nats per image (arXiv 1606.04934). "
        "One nat per site (64 for 8 x 8) keeps latents alive at kl_weight 1e-2, with ceiling and U-Net as at 1e-5.",
    )
    free_overshoot: bool = Field(
        False,
        description="Where an image is black or white, a reconstruction beyond that costs nothing: images are clamped "
        "anyway. Helps short trainings on images with a plain background.",
    )


class TrainUnetSettings(TrainSettings):
    """Training of the U-Net."""

    steps: int = Field(1700, ge=1, le=10_000_000, description="Optimizer steps in all.")
    batch_size: int = Field(128, ge=1, le=65536, description="Images per optimizer step, over all processes.")
    learning_rate: float = Field(2e-3, gt=0.0, le=1.0, description="Peak learning rate of AdamW.")
    encode_in_mixed_precision: bool = Field(
        False,
        description="Encode the dataset in machine.mixed_precision, in about half the time, instead of float32.",
    )
    image_limit: int | None = Field(
        None,
        ge=1,
        description="At most this many training images, chosen at random once, are encoded and learned from.",
    )


class SamplingSettings(Section):
    """How pictures are generated when nothing else is asked for."""

    sampler: SamplerName = Field("unipc", description="Solver that takes the noise out.")
    num_inference_steps: int = Field(10, ge=1, le=1000, description="Steps of the sampler.")
    guidance_scale: float = Field(
        1.5, ge=0.0, le=50.0, description="Classifier-free guidance; 1 = none (one network pass per step, not two)."
    )
    guidance_rescale: Fraction = Field(
        0.0,
        description="Share by which guided outputs get their standard deviation back (arXiv 2305.08891); 0.7 at high "
        "guidance.",
    )
    guidance_interval: Interval = Field(
        (0.0, 1.0),
        description="Noise levels between which guidance acts (arXiv 2404.07724): [low, high] in t / T, or "
        "[low, high, sigma] in sigma, as in that paper.",
    )
    whole_timesteps: bool = Field(
        False, description="Flow matching: give the network σ·T cut to a whole number, as diffusers does."
    )
    batch_size: int = Field(256, ge=1, le=8192, description="Images generated at once; changes memory, not images.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the first image's noise.")


class EvaluationSettings(Section):
    """How quality is measured."""

    num_samples: int = Field(1000, ge=10, le=100_000, description="Images generated for a report.")
    labels: LabelChoice = Field(
        "proportions", description="Classes as often as in the training data, or balanced: all equally often."
    )
    recall_neighbours: int = Field(3, ge=1, le=20, description="k of the k-nearest-neighbor precision and recall.")
    judge_epochs: int = Field(3, ge=1, le=100, description="Passes over the data when the judge is trained.")
    second_judge: bool = Field(
        False,
        description="Measure class accuracy by a second judge of another shape and seed as well, trained once per "
        "dataset: no distance uses its features.",
    )
    at_end: Literal["none", "num_samples", "quick", "standard", "release"] = Field(
        "none",
        description="Queue an evaluation when a U-Net's training has finished: of num_samples images, or of a level's "
        "1,000, 10,000 or 50,000; release measures three seeds.",
    )
    during: int = Field(
        0,
        ge=0,
        description="Steps between measurements of quality while a U-Net trains, on its curves; 0 = none. The training "
        "waits meanwhile; its numbers stay the same.",
    )
    during_samples: int = Field(
        200, ge=10, le=10_000, description="Images generated for each measurement during a training."
    )


class LoggingSettings(Section):
    """What a run writes down, and how often."""

    log_every_steps: int = Field(20, ge=1, description="Steps averaged into one line of metrics.jsonl.")
    validate_every_steps: int = Field(250, ge=1, description="Steps between validation losses (EMA weights).")
    validation_images: int = Field(512, ge=1, le=10_000, description="Validation images.")
    save_every_steps: int = Field(250, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, description="How many of the newest checkpoints stay.")
    num_previews: int = Field(12, ge=0, le=200, description="Previews over the run, at log-spaced steps.")
    preview_images: int = Field(20, ge=1, le=256, description="Images per preview; the same seeds throughout.")
    preview_inference_steps: int = Field(20, ge=1, le=250, description="Sampler steps of a U-Net preview.")
    trackers: tuple[Literal["tensorboard", "wandb", "comet_ml", "aim", "mlflow", "clearml", "dvclive"], ...] = Field(
        (),
        description="Experiment trackers that get every logged line as well, through Accelerate.",
    )


class MachineSettings(Section):
    """On what a run computes. What belongs to the whole installation is in `core.config.site`."""

    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$", description="'auto' takes a free GPU, else the CPU."
    )
    mixed_precision: Literal["auto", "no", "bf16"] = Field(
        "auto", description="bf16 where the device has it natively; 'no' computes in float32."
    )
    cuda_graphs: bool = Field(
        True,
        description="On a GPU, replay forward and backward pass as CUDA graphs: the same numbers, several times faster "
        "for small networks. Not with micro-batches or several processes.",
    )
    num_threads: int | None = Field(
        None,
        ge=0,
        le=256,
        description="CPU threads of PyTorch. Empty = automatic: one per process of a training; other work takes the "
        "cores that are free when it starts, at most 8. 0 = automatic, but a training takes one per core, at most 8.",
    )
    num_processes: int = Field(
        1,
        ge=0,
        le=64,
        description="Processes that share each batch of a training: one per GPU, or several on a CPU. 0 = automatic: "
        "one on a GPU; on a CPU one per core of a slot, as far as the batch divides.",
    )
    stop_grace_s: float = Field(60.0, ge=1.0, le=3600.0, description="Seconds a stopping run has to save itself.")
    auto_resume: bool = Field(
        True, description="Queue the run again when its process or the machine dies; it continues from its checkpoint."
    )


class Settings(Section):
    """One experiment."""

    seed: int = Field(0, ge=0, lt=2**31, description="Everything random in a run derives from it.")
    data: DataSettings = DataSettings()
    vae: VaeSettings = VaeSettings()
    unet: UnetSettings = UnetSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    train_vae: TrainVaeSettings = TrainVaeSettings()
    train_unet: TrainUnetSettings = TrainUnetSettings()
    sampling: SamplingSettings = SamplingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    logging: LoggingSettings = LoggingSettings()
    machine: MachineSettings = MachineSettings()

    @model_validator(mode="after")
    def check_pairs(self) -> Settings:
        """Refuse settings that are each fine but cannot work together."""
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> list[str]:
        problems: list[str] = []
        for name, section in (("train_vae", self.train_vae), ("train_unet", self.train_unet)):
            if section.batch_size % section.gradient_accumulation_steps:
                problems.append(
                    f"{name}.gradient_accumulation_steps: {section.gradient_accumulation_steps} does not divide "
                    f"batch_size {section.batch_size}"
                )
            elif section.batch_size % (section.gradient_accumulation_steps * (self.machine.num_processes or 1)):
                problems.append(
                    f"machine.num_processes: {self.machine.num_processes} does not divide {name}.batch_size "
                    f"{section.batch_size} in {section.gradient_accumulation_steps} parts"
                )
        factor = self.vae.downsample_factor
        if self.data.image_size % factor:
            problems.append(
                f"vae.block_out_channels: {len(self.vae.block_out_channels)} levels shrink the image by {factor}, "
                f"which does not divide data.image_size {self.data.image_size}"
            )
        else:
            side = self.data.image_size // factor
            levels = len(self.unet.block_out_channels)
            if side % 2 ** (levels - 1):
                problems.append(
                    f"unet.block_out_channels: {levels} levels need a latent side divisible by {2 ** (levels - 1)}, "
                    f"got {side}"
                )
        for name, widths, groups in (
            ("vae", self.vae.block_out_channels, self.vae.norm_num_groups),
            ("unet", self.unet.block_out_channels, self.unet.norm_num_groups),
        ):
            for width in widths:
                if width % groups:
                    problems.append(f"{name}.norm_num_groups: {groups} does not divide the width {width}")
        for level in self.unet.attention_levels:
            if not 0 <= level < len(self.unet.block_out_channels):
                problems.append(
                    f"unet.attention_levels: level {level} does not exist, the U-Net has levels 0 to "
                    f"{len(self.unet.block_out_channels) - 1}"
                )
        last = len(self.unet.block_out_channels) - 1  # the middle attends where any level does
        for level in sorted({*self.unet.attention_levels, last} if self.unet.attention_levels else ()):
            if 0 <= level <= last and self.unet.block_out_channels[level] < ATTENTION_WIDTH:
                problems.append(
                    f"unet.block_out_channels: level {level} carries attention and needs a width of at least "
                    f"{ATTENTION_WIDTH}, got {self.unet.block_out_channels[level]}"
                )
        if self.data.name in ("image_folder", "npz") and not self.data.path:
            problems.append(f"data.path: the dataset '{self.data.name}' needs a path")
        pair = pair_problem(
            schedule=self.diffusion.schedule,
            prediction_type=self.diffusion.prediction_type,
            rescale_betas_zero_snr=self.diffusion.rescale_betas_zero_snr,
            min_snr_gamma=self.diffusion.min_snr_gamma,
            beta_start=self.diffusion.beta_start,
            beta_end=self.diffusion.beta_end,
            sampler=self.sampling.sampler,
            num_inference_steps=self.sampling.num_inference_steps,
            num_train_timesteps=self.diffusion.num_train_timesteps,
        )
        if pair:
            problems.append(pair)
        return problems


def field_rows(section: type[BaseModel] = Settings, prefix: str = "") -> list[tuple[str, Any]]:
    """Every setting as (dotted name, pydantic FieldInfo), in the order of the schema."""
    rows: list[tuple[str, Any]] = []
    for name, info in section.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            rows += field_rows(annotation, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", info))
    return rows
