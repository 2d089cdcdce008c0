"""How many parameters a network has and how much memory work with it takes: counted from the settings, not allocated.

Plain arithmetic over the layers that diffusers builds, so that a form, a queue and a command answer at once, and a
network of any size costs nothing to weigh. Tests hold every count against the network itself on PyTorch's meta device
and against the tensors that its forward pass really saves for the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.config.schema import Settings, TrainSettings, UnetSettings, VaeSettings

Precision = Literal["float32", "cpu_bf16", "gpu_bf16"]
# Bytes of one number: as a GroupNorm gets and gives it, and as a convolution takes it. CUDA normalizes in float32.
_BYTES: dict[Precision, tuple[int, int]] = {"float32": (4, 4), "cpu_bf16": (2, 2), "gpu_bf16": (4, 2)}
HEAP_BELOW = 32 * 2**20  # glibc keeps smaller blocks on a heap, where gaps stay
HEAP_FACTOR = 1.4  # measured: resident memory over bytes alive, of blocks on the heap (docs/log.md)
GAPS = 0.35  # measured: of a validation's memory, the share that the heap keeps beside that of a step
LIBRARY_BYTES = 30_000_000  # measured: compiled kernels and scratch space of PyTorch on a CPU, whatever the network
DECODE_BATCH = 256  # images that the codec decodes, and a validation takes, at once
JUDGE_BATCH, JUDGE_LOOK = 256, 500  # images of a training step of the judge, and of a look
JUDGE_WIDTHS = (32, 64, 96, 128)


@dataclass(frozen=True, kw_only=True)
class Weight:
    """What a piece of work takes. device_bytes: of the tensors on the device that computes, at their peak.

    host_bytes: of the machine's memory beside that: what lies there on its way to and from the disk.
    """

    parameters: int
    device_bytes: int
    host_bytes: int = 0


@dataclass
class _Layers:
    """A network as its layers are added: parameters, numbers saved per image, numbers alive while it only infers."""

    parameters: int = 0
    normed: list[int] = field(default_factory=list)
    operands: list[int] = field(default_factory=list)
    gpu_copies: list[int] = field(default_factory=list)  # operands that elsewhere are the tensor a GroupNorm saved
    is_strided: bool = False  # behind attention, whose output is transposed
    kept: int = 0  # skip connections, alive until the end
    widest: int = 0  # numbers of the widest moment of a forward pass without gradients, beside `kept`

    def conv(self, channels: int, out: int, side: int = 0, *, kernel: int = 3) -> None:
        """A convolution with bias. side: of an input that nothing else saves; 0 where something does."""
        self.parameters += kernel**2 * channels * out + out
        self.operands.append(channels * side**2)

    def norm_act(self, channels: int, side: int) -> None:
        """GroupNorm and SiLU; a convolution takes what they give."""
        self.parameters += 2 * channels
        self.normed += [channels * side**2] * 2
        self.operands.append(channels * side**2)

    def resnet(self, channels: int, out: int, side: int, *, time: int = 0, dropout: bool = False) -> None:
        """ResnetBlock2D. time: width of the time embedding; 0 without."""
        self.norm_act(channels, side)
        self.conv(channels, out)
        if time:
            self.parameters += time * out + out
            self.operands.append(time)
        self.norm_act(out, side)
        if dropout:
            self.normed.append(out * side**2)
        self.conv(out, out)
        if channels != out:
            self.conv(channels, out, kernel=1)
            (self.operands if self.is_strided else self.gpu_copies).append(channels * side**2)
        self.alive((max(3 * channels, channels + 3 * out) + out * (channels != out)) * side**2)

    def attention(self, channels: int, inner: int, side: int, *, heads: int) -> None:
        """Self-attention over all places, memory-efficient: no matrix of all pairs."""
        self.parameters += 2 * channels + 3 * (channels * inner + inner) + inner * channels + channels
        self.normed += [channels * side**2, heads * side**2]
        self.operands += [*[channels * side**2] * 3, *[inner * side**2] * 4]  # query, key and value copy their input
        self.is_strided = True
        self.alive((3 * channels + 4 * inner) * side**2)

    def alive(self, numbers: int) -> None:
        """A moment of the forward pass."""
        self.widest = max(self.widest, numbers)

    def skip(self, numbers: int) -> None:
        """An output that the other half takes."""
        self.kept += numbers

    def saved_bytes(self, images: int, precision: Precision) -> list[int]:
        """Sizes of the tensors that a forward pass of `images` saves for the backward pass."""
        normed, operand = _BYTES[precision]
        operands = self.operands + (self.gpu_copies if precision == "gpu_bf16" else [])
        cast_weights = [] if precision == "float32" else [2 * self.parameters]
        sizes = [images * number * normed for number in self.normed]
        return [*sizes, *(images * number * operand for number in operands), *cast_weights]

    def inference_bytes(self, images: int) -> list[int]:
        """Sizes of what is alive at the widest moment of a forward pass without gradients, in float32."""
        return [4 * images * self.kept, *[images * self.widest] * 4]


def unet_layers(settings: UnetSettings, *, latent_channels: int, side: int, num_classes: int) -> _Layers:
    """The U-Net of `core.models.unet.build_unet`."""
    net, widths, dropout = _Layers(), settings.block_out_channels, settings.dropout > 0
    attends = [level in settings.attention_levels for level in range(len(widths))]
    time = 4 * widths[0]
    net.parameters += widths[0] * time + time + time * time + time + (num_classes + 1) * time
    net.conv(latent_channels, widths[0], side)
    skips = [widths[0]]
    net.skip(widths[0] * side**2)
    channels = widths[0]
    for level, width in enumerate(widths):
        for _ in range(settings.layers_per_block):
            net.resnet(channels, width, side, time=time, dropout=dropout)
            if attends[level]:
                net.attention(width, width // 8 * 8, side, heads=width // 8)
            channels = width
            skips.append(width)
            net.skip(width * side**2)
        if level < len(widths) - 1:
            net.conv(width, width, side)
            side //= 2
            skips.append(width)
            net.skip(width * side**2)
    net.resnet(channels, channels, side, time=time, dropout=dropout)
    if any(attends):
        net.attention(channels, channels // 8 * 8, side, heads=channels // 8)
    net.resnet(channels, channels, side, time=time, dropout=dropout)
    for level, width in reversed(list(enumerate(widths))):
        for _ in range(settings.layers_per_block + 1):
            joined = channels + skips.pop()
            net.resnet(joined, width, side, time=time, dropout=dropout)
            if attends[level]:
                net.attention(width, width // 8 * 8, side, heads=width // 8)
            channels = width
        if level:
            side *= 2
            net.conv(width, width, side)
            net.alive(3 * width * side**2)
    net.norm_act(channels, side)
    net.conv(channels, latent_channels)
    return net


def encoder_layers(settings: VaeSettings, *, channels: int, image_size: int) -> _Layers:
    """The encoder of `core.models.vae.build_vae`, with the layer that gives the moments."""
    net, widths, side = _Layers(), settings.block_out_channels, image_size
    net.conv(channels, widths[0], side)
    width_before = widths[0]
    for level, width in enumerate(widths):
        for _ in range(settings.layers_per_block):
            net.resnet(width_before, width, side)
            width_before = width
        if level < len(widths) - 1:
            net.conv(width, width, side + 1)  # padded on two sides first
            net.alive(3 * width * side**2)
            side //= 2
    _middle(net, settings, side)
    net.norm_act(width_before, side)
    moments = 2 * settings.latent_channels
    net.conv(width_before, moments)
    net.conv(moments, moments, side, kernel=1)
    net.operands += [settings.latent_channels * side**2] * 5  # mean, deviation, noise and what the KL divergence saves
    return net


def decoder_layers(settings: VaeSettings, *, channels: int, image_size: int) -> _Layers:
    """The decoder, with the layer that takes the latents."""
    net, widths, side = _Layers(), settings.block_out_channels, image_size // settings.downsample_factor
    net.conv(settings.latent_channels, settings.latent_channels, side, kernel=1)
    net.conv(settings.latent_channels, widths[-1], side)
    _middle(net, settings, side)
    width_before = widths[-1]
    for level, width in reversed(list(enumerate(widths))):
        for _ in range(settings.layers_per_block + 1):
            net.resnet(width_before, width, side)
            width_before = width
        if level:
            side *= 2
            net.conv(width, width, side)
            net.alive(3 * width * side**2)
    net.norm_act(width_before, side)
    net.conv(width_before, channels)
    net.normed.append(channels * side**2)  # the error of each pixel
    return net


def _middle(net: _Layers, settings: VaeSettings, side: int) -> None:
    width = settings.block_out_channels[-1]
    net.resnet(width, width, side)
    if settings.mid_block_add_attention:
        net.attention(width, width, side, heads=1)
    net.resnet(width, width, side)


def weigh_training(
    settings: Settings,
    part: str,
    *,
    channels: int,
    num_classes: int,
    on_gpu: bool,
    bf16: bool,
) -> Weight:
    """What one process of a training run takes at its peak: a step, a validation, a preview or a checkpoint.

    part: which network is trained, 'vae' or 'unet'. channels, num_classes: of the dataset. bf16: a step computes under
    autocast. machine.num_processes 0 counts as one: who knows how many says so. The dataset itself is memory-mapped, or
    lies on a GPU that has plenty of room: it does not count.
    """
    precision: Precision = "float32" if not bf16 else "gpu_bf16" if on_gpu else "cpu_bf16"
    encoder, decoder = (
        build(settings.vae, channels=channels, image_size=settings.data.image_size)
        for build in (encoder_layers, decoder_layers)
    )
    shown, checked = settings.logging.preview_images, min(DECODE_BATCH, settings.logging.validation_images)
    if part == "vae":
        train: TrainSettings = settings.train_vae
        networks, frozen = [encoder, decoder], 0
        checks = [net.inference_bytes(max(checked, shown)) for net in networks]
        others: list[list[int]] = []
        item = channels * settings.data.image_size**2
    else:
        unet = _unet(settings, num_classes)
        train = settings.train_unet
        networks, frozen = [unet], encoder.parameters + decoder.parameters
        decoded = min(DECODE_BATCH, 2 * shown)
        checks = [unet.inference_bytes(max(checked, 2 * shown))]
        others = [encoder.inference_bytes(DECODE_BATCH), decoder.inference_bytes(decoded)]
        item = 4 * settings.vae.latent_channels * _latent_side(settings) ** 2
    parameters = sum(net.parameters for net in networks)
    images = max(1, train.batch_size // train.gradient_accumulation_steps // (settings.machine.num_processes or 1))
    step = [size for net in networks for size in net.saved_bytes(images, precision)]
    batch = 4 * train.batch_size * item
    lasting = 20 * parameters + 4 * frozen  # weights, AdamW's two moments, the average, and a network that holds it
    files = [4 * parameters, 4 * parameters, *[8 * parameters] * 2]  # a checkpoint as bytes, its largest file twice
    gradients = 4 * parameters
    step_bytes = gradients + _resident(step, on_gpu)
    inferred = [_resident(sizes, on_gpu) for sizes in (*checks, *others)]
    if not on_gpu:  # what a step left on the heap stays there when a checkpoint is written, which is mapped beside it
        left = _resident([size for size in step if size < HEAP_BELOW], on_gpu)
        step_bytes = max(step_bytes, left + sum(size for size in files if size >= HEAP_BELOW))
        step_bytes += LIBRARY_BYTES + round(GAPS * sum(inferred[: len(checks)]))
    peak = max(step_bytes, *inferred)
    return Weight(
        parameters=parameters,
        device_bytes=lasting + batch + peak,
        host_bytes=sum(files) if on_gpu else 0,
    )


def weigh_drawing(
    settings: Settings,
    *,
    images: int,
    channels: int,
    num_classes: int,
    on_gpu: bool,
    frames: int = 0,
    is_loaded: bool = False,
) -> Weight:
    """What loading a model takes, and generating `images` with it at once, guided, and decoding them.

    frames: how many steps of the way are kept as images and latents; 0 keeps the finished images alone. is_loaded: the
    model is there already and does not count.
    """
    unet, size = _unet(settings, num_classes), settings.data.image_size
    decoder = decoder_layers(settings.vae, channels=channels, image_size=size)
    encoder = encoder_layers(settings.vae, channels=channels, image_size=size)
    parameters = unet.parameters + decoder.parameters + encoder.parameters
    latents, pixels = settings.vae.latent_channels * _latent_side(settings) ** 2, channels * size**2
    decoded = (3 if frames else 1) * images  # the noisy and both predicted images of a step
    steps = [unet.inference_bytes(2 * images), decoder.inference_bytes(min(DECODE_BATCH, decoded))]
    finished = 8 * decoded * pixels  # float32, in parts and joined
    kept = images * frames * (2 * pixels + 2 * pixels + 12 * latents)
    peak = (max if on_gpu else sum)(_resident(step, on_gpu) for step in steps) + finished
    files = 0 if is_loaded else 16 * unet.parameters  # a checkpoint as it was read
    weights = 0 if is_loaded else 4 * parameters
    if on_gpu:
        return Weight(parameters=parameters, device_bytes=weights + peak, host_bytes=max(files, kept))
    return Weight(parameters=parameters, device_bytes=weights + max(files, peak + kept) + LIBRARY_BYTES)


def weigh_judge(settings: Settings, *, channels: int, num_classes: int, on_gpu: bool) -> Weight:
    """What training the judge of a dataset takes, and looking at images with it."""
    side = settings.data.image_size
    patch = max(each for each in (1, 2, 4, 8) if each == 1 or side // each >= 12)  # see core.evaluation.judge
    before, side, parameters, saved = channels * patch**2, side // patch, 0, [channels * side**2]
    for width, is_pooled in zip(JUDGE_WIDTHS, (False, True, True, False), strict=True):
        parameters += 9 * before * width + 2 * width
        saved += [width * side**2] * 2
        before = width
        if is_pooled:
            side //= 2
            saved.append(3 * width * side**2)  # the maxima and their places
    parameters += before * num_classes + num_classes
    step = [4 * JUDGE_BATCH * number for number in saved]
    look = [4 * JUDGE_LOOK * number for number in sorted(saved)[-3:]]
    peak = max(_resident(step, on_gpu), _resident(look, on_gpu))
    return Weight(parameters=parameters, device_bytes=16 * parameters + peak + (0 if on_gpu else LIBRARY_BYTES))


def _unet(settings: Settings, num_classes: int) -> _Layers:
    side, latent_channels = _latent_side(settings), settings.vae.latent_channels
    return unet_layers(settings.unet, latent_channels=latent_channels, side=side, num_classes=num_classes)


def _latent_side(settings: Settings) -> int:
    return settings.data.image_size // settings.vae.downsample_factor


def _resident(sizes: list[int], on_gpu: bool) -> int:
    """Memory that tensors of these sizes take while all of them live."""
    if on_gpu:
        return sum(sizes)
    return round(sum(size * (HEAP_FACTOR if size < HEAP_BELOW else 1.0) for size in sizes))
