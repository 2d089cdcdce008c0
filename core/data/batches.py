"""Batches as a pure function of the step, gathered on the device."""

from __future__ import annotations

import numpy as np
import torch

from core.data.arrays import Split
from core.seeding import derive


class Batches:
    """Which pictures belong to which step: one seeded permutation an epoch, laid end to end."""

    def __init__(self, split: Split, *, batch_size: int, seed: int, purpose: str = "order") -> None:
        self.count = len(split.labels)
        self.batch_size, self.seed, self.purpose = batch_size, seed, purpose
        self._kept: tuple[int, np.ndarray] | None = None

    def indices(self, step: int) -> np.ndarray:
        """(batch_size,) int64: the pictures of `step`; the same whoever asks, in whatever order. Every picture comes
        once an epoch, and a batch may reach into the next epoch."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = positions // self.count
        chosen = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            mine = epochs == epoch
            chosen[mine] = self._order(int(epoch))[positions[mine] % self.count]
        return chosen

    def _order(self, epoch: int) -> np.ndarray:
        if self._kept is None or self._kept[0] != epoch:
            source = np.random.default_rng(derive(self.seed, self.purpose, epoch))
            self._kept = (epoch, source.permutation(self.count))
        return self._kept[1]


class ResidentSplit:
    """A split ready to be gathered: on a GPU the pictures live in its memory when they fit into a quarter of it."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self.device = device
        self.images = split.images
        self.labels = torch.from_numpy(np.array(split.labels)).to(device)
        fits = device.type == "cuda" and split.images.nbytes < torch.cuda.mem_get_info(device)[0] // 4
        self.on_gpu = torch.from_numpy(np.array(split.images)).to(device) if fits else None

    def gather(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """indices (B,) → images (B, C, H, W) float32 in [-1, 1] and labels (B,) int64, on the device."""
        chosen = torch.from_numpy(np.asarray(indices, dtype=np.int64)).to(self.device)
        if self.on_gpu is not None:
            pixels = self.on_gpu[chosen]
        else:
            pixels = torch.from_numpy(np.asarray(self.images[indices]))
            if self.device.type == "cuda":  # from pinned memory the copy does not hold up the host
                pixels = pixels.pin_memory().to(self.device, non_blocking=True)
            pixels = pixels.to(self.device)
        return images_to_model(pixels), self.labels[chosen]


def on_device(split: Split, device: torch.device | str) -> ResidentSplit:
    """The split, resident on `device` where that is a GPU with room."""
    return ResidentSplit(split, torch.device(device))


def images_to_model(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (B, H, W, C) → float32 (B, C, H, W) in [-1, 1], contiguous."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div(127.5).sub(1.0)
