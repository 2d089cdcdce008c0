"""What the plain diffusers part of a model folder may say: which classes, which networks, which labels.

Nothing that a file names is ever imported. A network is described by the same settings as the lab's own and built by
its own builders, so that a width of 10^9 is out of bounds before anything is allocated. Never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from core.config.schema import UnetSettings, VaeSettings
from core.diffusion.sampler_table import SAMPLERS
from core.errors import quoted
from core.model_folders.model_facts import MAX_CLASS_NAME, MAX_CLASSES
from core.model_folders.model_files import ModelRefused, json_object
from core.models.weight import unet_layers

PIPELINE = "DiTPipeline"
NULL_LABEL = 1000  # fixed inside DiTPipeline
INDEX = "model_index.json"
SCHEDULER = "scheduler/scheduler_config.json"
UNET_CONFIG = "transformer/config.json"
UNET_WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
VAE_CONFIG = "vae/config.json"
VAE_WEIGHTS = "vae/diffusion_pytorch_model.safetensors"
STOCK_FILES = (INDEX, SCHEDULER, UNET_CONFIG, UNET_WEIGHTS, VAE_CONFIG, VAE_WEIGHTS)
DENOISERS = ("UNet2DModel", "DiTTransformer2DModel", "Transformer2DModel")
SCHEDULERS = tuple(
    sorted({form.class_name for row in SAMPLERS.values() for form in (row, row.flow) if form is not None})
)
_PARTS = {"transformer": DENOISERS, "vae": ("AutoencoderKL",), "scheduler": SCHEDULERS}
_MOST_IN_A_LIST = 16
_LARGEST_WIDTH = 8192  # of any number in a configuration, but for counts of classes and tokens
_MOST_LAYERS = 128
_MOST_PLACES = 2**26  # numbers of a DiT's table of places, which is computed before its weights are compared
# what diffusers takes for a key that a file lacks
UNET_DEFAULTS = {
    "block_out_channels": [224, 448, 672, 896],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "dropout": 0.0,
}
VAE_DEFAULTS = {
    "latent_channels": 4,
    "block_out_channels": [64],
    "layers_per_block": 1,
    "norm_num_groups": 32,
    "mid_block_add_attention": True,
}
_SECTION = TypeVar("_SECTION", UnetSettings, VaeSettings)


def check_files(files: Mapping[str, bytes]) -> None:
    """Raises ModelRefused, naming it, when a part of the layout is missing."""
    for name in STOCK_FILES:
        if name not in files:
            raise ModelRefused(
                f"{name}: is missing",
                f"a model is a {PIPELINE} folder with {', '.join(sorted(_PARTS))} and {INDEX}, weights as safetensors",
            )


def class_names_of_index(files: dict[str, bytes]) -> tuple[str, ...]:
    """Names of the classes 0 to K-1 from `id2label`, after model_index.json was checked.

    Raises ModelRefused when it names a class or module that this lab does not use, or labels that cannot be.
    """
    index = json_object(files, INDEX)
    if index.get("_class_name") != PIPELINE:
        raise ModelRefused(
            f"{INDEX}: is of a {quoted(index.get('_class_name'))}",
            f"only {PIPELINE} over a UNet2DModel or a DiT is understood",
        )
    for key, value in index.items():
        if key.startswith("_") or key == "id2label":
            continue
        if key not in _PARTS:
            raise ModelRefused(
                f"{INDEX}: names a part '{quoted(key)}'", f"a {PIPELINE} has {', '.join(sorted(_PARTS))}"
            )
        if not (isinstance(value, list) and len(value) == 2 and value[0] == "diffusers" and value[1] in _PARTS[key]):
            raise ModelRefused(
                f"{INDEX}: {key} is {quoted(value)}", f"only {' or '.join(_PARTS[key])} of diffusers is accepted"
            )
    for key in _PARTS:
        if key not in index:
            raise ModelRefused(f"{INDEX}: names no {key}", f"only {' or '.join(_PARTS[key])} of diffusers is accepted")
    return _labels(index.get("id2label"))


def _labels(labels: Any) -> tuple[str, ...]:
    if not isinstance(labels, dict) or not labels:
        raise ModelRefused(
            f"{INDEX}: has no id2label",
            'write one by hand: "id2label": {"0": "zero", "1": "one", …}, one for each class',
        )
    if len(labels) > MAX_CLASSES:
        raise ModelRefused(f"{INDEX}: id2label names {len(labels):,} classes, {MAX_CLASSES:,} at most")
    names = []
    for number in range(len(labels)):
        name = labels.get(str(number))
        if not isinstance(name, str):
            raise ModelRefused(f"{INDEX}: id2label must name the classes 0 to {len(labels) - 1}, {number} is missing")
        if not name.strip() or len(name) > MAX_CLASS_NAME or not name.isprintable():
            raise ModelRefused(f"{INDEX}: id2label: '{quoted(name)}' cannot be the name of a class")
        names.append(name.strip())
    return tuple(names)


def unet_settings_of(config: Mapping[str, Any], *, parameters: int = 0) -> UnetSettings:
    """The U-Net that transformer/config.json describes, in the lab's own settings. Raises ModelRefused.

    For a DiT one that takes about as much memory, by its number of parameters: the settings have no transformer.
    """
    if config.get("_class_name") != "UNet2DModel":
        return _unet_like(parameters)
    values = {**UNET_DEFAULTS, **config}
    downs = _list(values, "down_block_types", UNET_CONFIG)
    return _section(
        UNET_CONFIG,
        lambda: UnetSettings(
            block_out_channels=tuple(_list(values, "block_out_channels", UNET_CONFIG)),
            layers_per_block=values["layers_per_block"],
            attention_levels=tuple(level for level, kind in enumerate(downs) if kind == "AttnDownBlock2D"),
            norm_num_groups=values["norm_num_groups"],
            dropout=float(values["dropout"]),
        ),
    )


def _unet_like(parameters: int) -> UnetSettings:
    def distance(width: int) -> int:
        net = unet_layers(_wide(width), latent_channels=4, side=32, num_classes=MAX_CLASSES)
        return abs(net.parameters - parameters)

    return _wide(min(range(8, 2049, 8), key=distance))


def _wide(width: int) -> UnetSettings:
    return UnetSettings(block_out_channels=(width,), layers_per_block=4, attention_levels=(0,))


def vae_settings_of(config: Mapping[str, Any]) -> VaeSettings:
    """The VAE that vae/config.json describes, in the lab's own settings. Raises ModelRefused."""
    values = {**VAE_DEFAULTS, **config}
    return _section(
        VAE_CONFIG,
        lambda: VaeSettings(
            latent_channels=values["latent_channels"],
            block_out_channels=tuple(_list(values, "block_out_channels", VAE_CONFIG)),
            layers_per_block=values["layers_per_block"],
            norm_num_groups=values["norm_num_groups"],
            mid_block_add_attention=values["mid_block_add_attention"],
        ),
    )


def bounded_config(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A network's configuration without what diffusers writes for itself. Raises ModelRefused for a value that no
    network has: nested, endless, or large enough to exhaust whoever builds it."""
    found = {key: value for key, value in config.items() if not key.startswith("_")}
    for key, value in found.items():
        items = value if isinstance(value, list) else [value]
        if len(items) > _MOST_IN_A_LIST or not all(isinstance(each, str | int | float | None) for each in items):
            raise ModelRefused(f"{name}: {quoted(key, 60)} is {quoted(value, 60)}, which no network here has")
        if any(isinstance(each, int | float) and abs(each) > _LARGEST_WIDTH for each in items):
            raise ModelRefused(f"{name}: {quoted(key, 60)} is {quoted(value, 60)}, {_LARGEST_WIDTH:,} at most")
    width = _number(found, "num_attention_heads", 16) * _number(found, "attention_head_dim", 88)
    places = (_number(found, "sample_size", 32) / max(1, _number(found, "patch_size", 2))) ** 2
    if "num_attention_heads" in found and width * places > _MOST_PLACES:
        raise ModelRefused(f"{name}: {places:,.0f} places of {width:,.0f} numbers are too many")
    layers = max(_number(found, "num_layers", 1), _number(found, "layers_per_block", 1))
    if layers > _MOST_LAYERS:
        raise ModelRefused(f"{name}: has {layers:,.0f} layers, {_MOST_LAYERS} at most")
    return found


def _number(config: Mapping[str, Any], key: str, missing: float) -> float:
    value = config.get(key, missing)
    return value if isinstance(value, int | float) else missing


def _list(config: Mapping[str, Any], key: str, name: str) -> Sequence[Any]:
    value = config.get(key)
    if not isinstance(value, list) or not 1 <= len(value) <= 16:
        raise ModelRefused(f"{name}: {key} is not a short list")
    return value


def _section(name: str, build: Callable[[], _SECTION]) -> _SECTION:
    try:
        return build()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = quoted(first["msg"], 120).lower()
        raise ModelRefused(f"{name}: {quoted(where)}: {message}", "this lab builds no such network") from None
    except KeyError as error:
        raise ModelRefused(f"{name}: {error} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelRefused(f"{name}: {quoted(error, 120)}") from None
