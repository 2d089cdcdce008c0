"""The judge: a small classifier trained once a dataset, whose opinion and whose features every measure rests on.

It is cached under its dataset's fingerprint and its recipe, with the sha256 of its weights: figures compare only
between reports of one hash. Four plain 3×3 convolutions (batch normalisation: arXiv 1502.03167), one-cycle learning
rate to zero (arXiv 1708.07120), label smoothing (arXiv 1512.00567), random shifts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from torch.nn import functional

from core import atomic, leftovers, reading
from core.data.arrays import ImageSet, Split
from core.data.batches import Batches, images_to_model, on_device
from core.device import resolve_device, supports_bf16
from core.errors import DataUnavailable, NonFiniteError
from core.evaluation.judge_facts import (
    ARCHITECTURE_VERSION,
    FACTS_FILE,
    JUDGE_SEED,
    SECOND_ARCHITECTURE,
    WEIGHTS_FILE,
    Described,
    JudgeFacts,
    JudgeRecipe,
    judge_folder,
    kept_judge,
)
from core.runs.lock import try_lock
from core.seeding import derive, generator

OnProgress = Callable[[str, float], None]
SplitName = Literal["train", "heldout"]

NUM_FEATURES = 128
NOISE_RULE = 1  # of core.rules, for every judge: another one would give other weights to the same recipe

log = logging.getLogger(__name__)


class JudgeNetwork(nn.Module):
    """Pictures (B, C, H, W) in [-1, 1] → features (B, 128) and logits (B, K). H = W is a multiple of 8.

    Patches first (2×2 at 32 pixels), so that every convolution works on small maps whatever the picture's size.
    """

    def __init__(self, *, channels: int, image_size: int, num_classes: int) -> None:
        super().__init__()
        patch = max(side for side in (1, 2, 4, 8) if side == 1 or image_size // side >= 12)
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(patch),
            *_convolution(channels * patch**2, 32),
            *_convolution(32, 64),
            nn.MaxPool2d(2),
            *_convolution(64, 96),
            nn.MaxPool2d(2),
            *_convolution(96, NUM_FEATURES),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(features, logits)."""
        features = self.trunk(images)
        return features, self.head(features)


class SecondNetwork(JudgeNetwork):
    """The same in and out by another way: two strides of 5×5 pixels in place of patches and pooling, few wide layers.

    Both judges see a picture through other shapes and from other first weights, so they err on other pictures.
    """

    def __init__(self, *, channels: int, image_size: int, num_classes: int) -> None:
        nn.Module.__init__(self)
        patch = max(side for side in (1, 2, 4) if side == 1 or image_size // side >= 24)
        self.trunk = nn.Sequential(
            nn.AvgPool2d(patch),
            *_convolution(channels, 32, kernel=5, stride=2),
            *_convolution(32, 96, kernel=5, stride=2),
            *_convolution(96, NUM_FEATURES),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * NUM_FEATURES, NUM_FEATURES),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(NUM_FEATURES, num_classes)


NETWORKS = {ARCHITECTURE_VERSION: JudgeNetwork, SECOND_ARCHITECTURE: SecondNetwork}


def _convolution(channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A trained judge. `accuracy` (0 to 1) is over all `heldout_count` held-out pictures; `hash` is the sha256 of its
    weights file; `folder` is its place in the cache, None when it could not be kept."""

    network: JudgeNetwork
    classes: tuple[str, ...]
    accuracy: float
    heldout_count: int
    hash: str
    seed: int
    epochs: int
    device: torch.device
    folder: Path | None

    @torch.no_grad()
    def look(self, images: np.ndarray, *, batch_size: int = 500) -> tuple[torch.Tensor, np.ndarray]:
        """uint8 (N, H, W, C) → features (N, 128) float32 on the CPU, probabilities (N, K) float32. In float32."""
        features, probabilities = [], []
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(np.array(images[start : start + batch_size]))
            inputs = images_to_model(pixels.to(self.device)).contiguous(memory_format=torch.channels_last)
            found, logits = self.network(inputs)
            features.append(found.cpu())
            probabilities.append(logits.softmax(dim=1).cpu())
        if not features:
            return torch.empty(0, NUM_FEATURES), np.empty((0, len(self.classes)), dtype=np.float32)
        return torch.cat(features), torch.cat(probabilities).numpy()

    def classify(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, C) → class probabilities (N, K) float32."""
        return self.look(images)[1]

    def features(self, images: np.ndarray) -> torch.Tensor:
        """uint8 (N, H, W, C) → penultimate features (N, 128) float32 on the CPU."""
        return self.look(images)[0]


def load_or_train(
    image_set: ImageSet,
    *,
    cache_dir: Path,
    epochs: int,
    seed: int = JUDGE_SEED,
    architecture: int = ARCHITECTURE_VERSION,
    device: str | torch.device = "auto",
    progress: OnProgress | None = None,
) -> Judge:
    """The dataset's judge: from the cache when it is there and verifies, else trained and kept.

    Of several processes that want the same judge at once one trains, the others wait for it. A cache that cannot be
    written (read-only, full) costs the keeping, not the judge. progress(text, fraction 0 to 1).
    """
    target = resolve_device(device) if isinstance(device, str) else device
    recipe = JudgeRecipe(seed=seed, epochs=epochs, architecture=architecture)
    judge = _load(cache_dir, image_set, recipe, target)
    if judge is not None:
        return judge
    folder = judge_folder(cache_dir, image_set.fingerprint, recipe)
    with _training_lock(folder, progress):
        judge = _load(cache_dir, image_set, recipe, target)
        if judge is not None:
            return judge
        return _keep(train_judge(image_set, recipe, device=target, progress=progress), folder, image_set, recipe)


def load_kept(
    image_set: Described, *, cache_dir: Path, epochs: int, seed: int = JUDGE_SEED, device: str | torch.device = "auto"
) -> Judge | None:
    """The dataset's judge when it was trained before, else None: nothing is trained, and no picture is needed."""
    target = resolve_device(device) if isinstance(device, str) else device
    return _load(cache_dir, image_set, JudgeRecipe(seed=seed, epochs=epochs), target)


def train_judge(
    image_set: ImageSet, recipe: JudgeRecipe, *, device: torch.device, progress: OnProgress | None = None
) -> Judge:
    """Train a judge on the training split and measure it on the whole held-out split; nothing is kept.

    Order, shifts and first weights derive from (seed, purpose, step). On a CPU one thread does it, whatever the
    setting: the same pictures then give the same hash on the same kind of CPU, and other load on the machine cannot
    make it burn minutes in barriers. Raises DataUnavailable when the training split has fewer than two pictures, and
    NonFiniteError when the training diverged: such a judge is never kept.
    """
    count = len(image_set.train.labels)
    if count < 2:
        raise DataUnavailable(f"{image_set.name}: the judge needs at least 2 training images, got {count}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "judge-weights"))
        network = NETWORKS[recipe.architecture](
            channels=image_set.channels, image_size=image_set.image_size, num_classes=image_set.num_classes
        )
    network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    with _one_thread():
        _fit(network, image_set, recipe, device, progress)
    network.eval()
    if not all(bool(value.isfinite().all()) for value in network.state_dict().values()):
        raise NonFiniteError(
            f"{image_set.name}: the judge's weights became NaN or infinite while it was trained",
            "train it with another number of evaluation.judge_epochs",
        )
    weights = _serialise(network)
    draft = Judge(
        network=network,
        classes=image_set.class_names,
        accuracy=0.0,
        heldout_count=len(image_set.heldout.labels),
        hash=hashlib.sha256(weights).hexdigest(),
        seed=recipe.seed,
        epochs=recipe.epochs,
        device=device,
        folder=None,
    )
    right = draft.classify(image_set.heldout.images).argmax(axis=1) == image_set.heldout.labels
    return replace(draft, accuracy=float(right.mean()))


def split_features(
    judge: Judge, image_set: ImageSet, name: SplitName, progress: OnProgress | None = None
) -> torch.Tensor:
    """The judge's features (N, 128) of a whole split of its dataset, kept beside the judge.

    The file's name carries the sha256 of its bytes, so an altered one is noticed and made again.
    """
    stem = f"{name}-features-"
    if judge.folder is not None:
        for path in sorted(judge.folder.glob(f"{stem}*.safetensors")):
            kept = _load_features(path, path.stem.removeprefix(stem))
            if kept is not None and len(kept) == len(_split(image_set, name).labels):
                return kept
            with contextlib.suppress(OSError):
                path.unlink()
    features = _features_of(judge, _split(image_set, name), f"Looking at the {name} images", progress)
    if judge.folder is not None:
        data = save_tensors({"features": features})
        try:
            atomic.write_bytes(judge.folder / f"{stem}{hashlib.sha256(data).hexdigest()[:32]}.safetensors", data)
        except OSError as error:
            log.warning("judge: its features could not be kept in %s: %s", judge.folder, error)
    return features


def _fit(
    network: JudgeNetwork,
    image_set: ImageSet,
    recipe: JudgeRecipe,
    device: torch.device,
    progress: OnProgress | None,
) -> None:
    count = len(image_set.train.labels)
    batch_size, steps = recipe.batch_for(count), recipe.steps_for(count)
    batches = Batches(image_set.train, batch_size=batch_size, seed=recipe.seed, purpose="judge-order")
    resident = on_device(image_set.train, device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )
    use_bf16 = supports_bf16(device)
    for step in range(steps):
        images, labels = resident.gather(batches.indices(step))
        images = shift_images(images, recipe.max_shift, generator(recipe.seed, "judge-shift", step, rule=NOISE_RULE))
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(step, steps)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=use_bf16):
            _, logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if progress and (step % 10 == 0 or step == steps - 1):
            progress(f"Training the judge, step {step + 1} of {steps}", (step + 1) / steps)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def shift_images(images: torch.Tensor, max_shift: int, source: torch.Generator) -> torch.Tensor:
    """Each picture of (B, C, H, W) moved by up to ±max_shift pixels both ways; its border pixels are repeated."""
    batch, _, height, width = images.shape
    padded = functional.pad(images, (max_shift,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * max_shift + 1, (2, batch), generator=source).to(images.device)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2m+1, 2m+1, H, W), a view
    return windows[torch.arange(batch, device=images.device), :, offsets[0], offsets[1]]


def _features_of(judge: Judge, split: Split, text: str, progress: OnProgress | None) -> torch.Tensor:
    parts, count = [], len(split.labels)
    for start in range(0, count, 5000):
        parts.append(judge.features(split.images[start : start + 5000]))
        if progress:
            progress(text, min(start + 5000, count) / count)
    return torch.cat(parts)


def _split(image_set: ImageSet, name: SplitName) -> Split:
    return image_set.train if name == "train" else image_set.heldout


def _serialise(network: JudgeNetwork) -> bytes:
    return save_tensors({name: value.cpu().contiguous() for name, value in network.state_dict().items()})


def _load(cache_dir: Path, image_set: Described, recipe: JudgeRecipe, device: torch.device) -> Judge | None:
    """The cached judge, or None when there is none or it is damaged."""
    kept = kept_judge(cache_dir, image_set, recipe)
    if kept is None:
        return None
    facts, weights = kept
    folder = judge_folder(cache_dir, image_set.fingerprint, recipe)
    network = NETWORKS[recipe.architecture](
        channels=image_set.channels, image_size=image_set.image_size, num_classes=len(image_set.class_names)
    )
    try:
        network.load_state_dict(load_tensors(weights))
    except Exception as error:  # whatever foreign weights make the reader raise: train again
        log.warning("judge: %s is damaged and is trained again: %s", folder.name, error)
        return None
    return opened_judge(network, facts, image_set.class_names, device, folder)


def opened_judge(
    network: JudgeNetwork, facts: JudgeFacts, classes: tuple[str, ...], device: torch.device, folder: Path | None
) -> Judge:
    """A network with its weights, and what is known of it, as a judge on that device."""
    return Judge(
        network=network.to(device, memory_format=torch.channels_last).eval(),  # type: ignore[call-overload]
        classes=classes,
        accuracy=facts.accuracy,
        heldout_count=facts.heldout_count,
        hash=facts.sha256,
        seed=facts.seed,
        epochs=facts.epochs,
        device=device,
        folder=folder,
    )


def judge_files(judge: Judge, image_set: ImageSet, recipe: JudgeRecipe | None = None) -> dict[str, bytes]:
    """What a judge is on disk: its weights and what is known about it, by file name."""
    recipe = recipe or JudgeRecipe(seed=judge.seed, epochs=judge.epochs)
    facts = {
        "data_set": image_set.name,
        "fingerprint": image_set.fingerprint,
        "accuracy": judge.accuracy,
        "heldout_count": judge.heldout_count,
        "train_count": len(image_set.train.labels),
        "num_classes": image_set.num_classes,
        "seed": judge.seed,
        "epochs": judge.epochs,
        "sha256": judge.hash,
        "architecture_version": recipe.architecture,
        "recipe": recipe.written(),
    }
    return {WEIGHTS_FILE: _serialise(judge.network), FACTS_FILE: (json.dumps(facts, indent=1) + "\n").encode()}


def _keep(judge: Judge, folder: Path, image_set: ImageSet, recipe: JudgeRecipe) -> Judge:
    try:
        if folder.exists():  # damaged
            leftovers.remove_folder(folder)
        atomic.write_folder(folder, judge_files(judge, image_set, recipe))
    except OSError as error:
        log.warning("judge: it could not be kept in %s: %s", folder, error)
        return judge
    return replace(judge, folder=folder)


def _load_features(path: Path, digest: str) -> torch.Tensor | None:
    try:
        data = reading.read_bytes(path)
        if hashlib.sha256(data).hexdigest()[:32] != digest:
            log.warning("judge: %s is damaged and is made again", path.name)
            return None
        return load_tensors(data)["features"]
    except (OSError, KeyError, ValueError):
        return None


@contextlib.contextmanager
def _training_lock(folder: Path, progress: OnProgress | None) -> Iterator[None]:
    """Held while training, so that others wait. Without a cache that can be written nobody waits."""
    path = folder.with_name(f".{folder.name}.lock")
    lock = None
    try:
        atomic.make_folder(folder.parent)
        lock = try_lock(path)
        while lock is None:
            if progress:
                progress("Waiting for another process that trains this judge", 0.0)
            lock = try_lock(path, patience_s=2.0)
    except OSError as error:
        log.warning("judge: the cache cannot be locked: %s", error)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()
