"""How far each latent number moves the decoded picture: column norms of the decoder's Jacobian, by differences."""

from __future__ import annotations

from collections.abc import Callable

import torch

from core.latent.inspection.decoder_results import Sensitivity

MAX_DECODED = 4096
AT_ONCE = 64  # pictures in the decoder: more only cost memory on a CPU
STEP = 0.05  # standard deviations of a normalised latent
GREY_LEVELS = 127.5  # of [-1, 1] pictures


Decode = Callable[[torch.Tensor], torch.Tensor]


@torch.no_grad()
def sensitivity(decode: Decode, latents: torch.Tensor) -> Sensitivity:
    """Central differences of ±0.05 standard deviations at latents (N, c, h, w), one number at a time.

    decode: latents → images in [-1, 1]. At most 4,096 pictures are decoded: as many of the N as that allows, and of
    large latents every `stride`-th site. Exact for a linear decoder. Source: arXiv 1711.08014, section 3 (the
    Jacobian's metric).
    """
    channels, height, width = latents.shape[1:]
    stride = 1
    while channels * _sites(height, stride) * _sites(width, stride) * 2 > MAX_DECODED:
        stride += 1
    rows, columns = torch.arange(0, height, stride), torch.arange(0, width, stride)
    places = torch.cartesian_prod(torch.arange(channels), rows, columns)  # (P, 3)
    num_pictures = max(1, min(len(latents), MAX_DECODED // (2 * len(places))))
    offsets = torch.zeros(len(places), channels, height, width, device=latents.device)
    offsets[torch.arange(len(places)), places[:, 0], places[:, 1], places[:, 2]] = STEP
    squares = torch.zeros(len(places), dtype=torch.float64)
    for latent in latents[:num_pictures]:
        for start in range(0, len(places), AT_ONCE):
            part = offsets[start : start + AT_ONCE]
            change = (decode(latent + part) - decode(latent - part)).flatten(1) / (2 * STEP) * GREY_LEVELS
            squares[start : start + AT_ONCE] += change.double().square().sum(dim=1).cpu()
    norms = torch.full((channels, height, width), torch.nan, dtype=torch.float64)
    norms[places[:, 0], places[:, 1], places[:, 2]] = (squares / num_pictures).sqrt()
    return Sensitivity(norms=norms.float().numpy(), num_pictures=num_pictures, stride=stride)


def _sites(side: int, stride: int) -> int:
    return (side + stride - 1) // stride
