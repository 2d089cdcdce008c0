"""The noise and the labels of every picture: by seed alone, mixed for walks, the same in any batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from core.sampling.request import SampleRequest
from core.seeding import generator


def noise_sources(request: SampleRequest) -> list[torch.Generator]:
    """One generator per image; it gives the first noise, and that of samplers which draw more."""
    if request.seeds:
        return _sources(request, request.seeds)
    count = len(request.labels)
    return _sources(request, (request.seed,) * count, range(request.first_index, request.first_index + count))


def _sources(
    request: SampleRequest, seeds: Sequence[int], places: Sequence[int] | None = None
) -> list[torch.Generator]:
    places = places or request.places or (0,) * len(request.labels)
    pairs = zip(seeds, places, strict=True)
    return [generator(seed, "sample", place, rule=request.noise_rule) for seed, place in pairs]


def first_noise(
    request: SampleRequest, sources: list[torch.Generator], shape: tuple[int, int, int], device: torch.device
) -> torch.Tensor:
    """Unit noise (N, c, h, w) on `device`, drawn on the CPU so that it is the same everywhere."""
    noise = torch.stack([torch.randn(shape, generator=source) for source in sources])
    if request.to_seeds:
        ends = torch.stack([torch.randn(shape, generator=source) for source in _sources(request, request.to_seeds)])
        noise = spherical(noise, ends, torch.tensor(request.noise_mix))
    return noise.to(device)


def spherical(start: torch.Tensor, end: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """start, end (N, …), share (N,) in [0, 1] → points on the great circle between them, lengths mixed linearly.

    A straight walk between two Gaussian noises passes through points that are too short to be noise; a spherical one
    does not. Shares of exactly 0 and 1 give the ends themselves. Source: arXiv 1609.04468, section 2.
    """
    shape = (-1, *(1,) * (start.ndim - 1))
    share = share.to(start).view(shape)
    a, b = start.flatten(1), end.flatten(1)
    lengths = a.norm(dim=1), b.norm(dim=1)
    cosine = ((a * b).sum(1) / (lengths[0] * lengths[1]).clamp_min(1e-12)).clamp(-1.0, 1.0)
    angle = cosine.acos().view(shape)
    length = (1 - share) * lengths[0].view(shape) + share * lengths[1].view(shape)
    sine = angle.sin()
    near = sine.abs() < 1e-6
    weights = (((1 - share) * angle).sin() / sine, (share * angle).sin() / sine)
    units = start / lengths[0].view(shape).clamp_min(1e-12), end / lengths[1].view(shape).clamp_min(1e-12)
    round_way = length * (weights[0] * units[0] + weights[1] * units[1])
    mixed = torch.where(near, (1 - share) * start + share * end, round_way)
    return torch.where(share == 0, start, torch.where(share == 1, end, mixed))


def class_labels(request: SampleRequest, num_classes: int, device: torch.device) -> torch.Tensor:
    """labels (N,) int64, or with label_mix weights (N, K + 1) float32 of the class embeddings."""
    labels = torch.tensor(request.labels, device=device)
    if not request.label_mix:
        return labels
    share = torch.tensor(request.label_mix, device=device)[:, None]
    ends = torch.tensor(request.to_labels, device=device)
    one_hot = nn.functional.one_hot
    return (1 - share) * one_hot(labels, num_classes + 1) + share * one_hot(ends, num_classes + 1)


class MixedEmbedding(nn.Module):
    """A class embedding that also takes weights (N, K + 1): the mixture of the classes' vectors."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """labels (N,) int64 or weights (N, K + 1) float → (N, D)."""
        if labels.is_floating_point():
            return labels @ self.embedding.weight
        return self.embedding(labels)


def takes_mixtures(network: Any) -> Any:
    """The same network, sharing every weight, whose class embeddings also take mixtures. The given one is not changed.

    A U-Net has one of them, a DiT one in each block.
    """
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, shared)
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Embedding):
                setattr(parent, name, MixedEmbedding(child))
    return twin
