"""The forward pass of diffusers' AutoencoderKL in NumPy, for a few pictures: loading PyTorch takes longer than they do.

Pictures and latents are (N, H, W, C) here. Tested to give what diffusers gives, up to rounding.
Source: arXiv 2112.10752; layers as in diffusers' `AutoencoderKL`, whose names the weights carry.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

EPSILON = 1e-6
SIDE = 3  # of every convolution but the pointwise ones
BATCH = 20  # small enough for the cache of a processor


@dataclass(frozen=True, kw_only=True)
class PlainVae:
    """weights: float32 by diffusers' names; groups: of each normalisation."""

    weights: dict[str, np.ndarray]
    groups: int

    @property
    def num_values(self) -> int:
        """Parameters."""
        return sum(each.size for each in self.weights.values())

    @property
    def channels(self) -> int:
        """C of the pictures."""
        return int(self.weights["encoder.conv_in.weight"].shape[1])

    def encode(self, images: np.ndarray) -> np.ndarray:
        """images (N, H, W, C) in [-1, 1] → moments (N, h, w, 2c): posterior mean, then log-variance."""
        values = self._blocks(self._conv(images, "encoder.conv_in"), "encoder.down_blocks")
        values = self._tail(self._middle(values, "encoder.mid_block"), "encoder")
        return self._conv(values, "quant_conv") if "quant_conv.weight" in self.weights else values

    def decode(self, raw_latents: np.ndarray) -> np.ndarray:
        """raw latents (N, h, w, c) → images (N, H, W, C), about [-1, 1]."""
        values = raw_latents
        if "post_quant_conv.weight" in self.weights:
            values = self._conv(values, "post_quant_conv")
        values = self._middle(self._conv(values, "decoder.conv_in"), "decoder.mid_block")
        return self._tail(self._blocks(values, "decoder.up_blocks"), "decoder")

    def _blocks(self, values: np.ndarray, name: str) -> np.ndarray:
        """Levels of residual layers, each but the last with a change of resolution."""
        level = 0
        while f"{name}.{level}.resnets.0.conv1.weight" in self.weights:
            layer = 0
            while f"{name}.{level}.resnets.{layer}.conv1.weight" in self.weights:
                values = self._residual(values, f"{name}.{level}.resnets.{layer}")
                layer += 1
            down, up = f"{name}.{level}.downsamplers.0.conv", f"{name}.{level}.upsamplers.0.conv"
            if f"{down}.weight" in self.weights:
                values = self._conv(values, down, stride=2)
            if f"{up}.weight" in self.weights:
                values = self._conv(values.repeat(2, axis=1).repeat(2, axis=2), up)
            level += 1
        return values

    def _middle(self, values: np.ndarray, name: str) -> np.ndarray:
        values = self._residual(values, f"{name}.resnets.0")
        if f"{name}.attentions.0.to_q.weight" in self.weights:
            values = self._attention(values, f"{name}.attentions.0")
        return self._residual(values, f"{name}.resnets.1")

    def _tail(self, values: np.ndarray, name: str) -> np.ndarray:
        return self._conv(_silu(self._normed(values, f"{name}.conv_norm_out")), f"{name}.conv_out")

    def _residual(self, values: np.ndarray, name: str) -> np.ndarray:
        inner = self._conv(_silu(self._normed(values, f"{name}.norm1")), f"{name}.conv1")
        inner = self._conv(_silu(self._normed(inner, f"{name}.norm2")), f"{name}.conv2")
        shortcut = f"{name}.conv_shortcut"
        return inner + (self._conv(values, shortcut) if f"{shortcut}.weight" in self.weights else values)

    def _attention(self, values: np.ndarray, name: str) -> np.ndarray:
        """One head over all sites."""
        count, height, width, channels = values.shape
        flat = self._normed(values, f"{name}.group_norm").reshape(count, height * width, channels)
        query, key, value = (self._linear(flat, f"{name}.{part}") for part in ("to_q", "to_k", "to_v"))
        scores = query @ key.transpose(0, 2, 1) / np.float32(channels**0.5)
        scores = np.exp(scores - scores.max(axis=2, keepdims=True))
        scores /= scores.sum(axis=2, keepdims=True)
        return values + self._linear(scores @ value, f"{name}.to_out.0").reshape(values.shape)

    def _linear(self, values: np.ndarray, name: str) -> np.ndarray:
        product: np.ndarray = values @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return product

    def _normed(self, values: np.ndarray, name: str) -> np.ndarray:
        """Group normalisation: the sums run over pixels first, which NumPy does fastest."""
        count, height, width, channels = values.shape
        flat = values.reshape(count, height * width, channels)
        inside = (count, self.groups, channels // self.groups)
        size = height * width * inside[2]
        mean = flat.sum(axis=1).reshape(inside).sum(axis=2, keepdims=True) / size
        flat = flat - np.broadcast_to(mean, inside).reshape(count, 1, channels)
        square = np.einsum("npc,npc->nc", flat, flat).reshape(inside).sum(axis=2, keepdims=True) / size
        factor = np.broadcast_to(1.0 / np.sqrt(square + np.float32(EPSILON)), inside).reshape(count, 1, channels)
        flat *= factor * self.weights[f"{name}.weight"]
        flat += self.weights[f"{name}.bias"]
        return flat.reshape(values.shape)

    def _conv(self, values: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        """3 x 3 with a border of zeros, or pointwise. At stride 2 the border lies below and to the right only."""
        kernel, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]  # (O, C, k, k)
        if kernel.shape[2] == 1:
            return np.asarray(values @ kernel[:, :, 0, 0].T + bias)
        count, height, width, channels = values.shape
        border = (0, 1) if stride == 2 else (1, 1)
        padded = np.pad(values, ((0, 0), border, border, (0, 0)))
        rows, columns = height // stride, width // stride
        result = np.broadcast_to(bias, (count * rows * columns, len(kernel))).copy()
        for down in range(SIDE):
            for right in range(SIDE):
                part = padded[:, down : down + stride * rows : stride, right : right + stride * columns : stride]
                result += part.reshape(-1, channels) @ np.ascontiguousarray(kernel[:, :, down, right].T)
        return result.reshape(count, rows, columns, -1)


def read_plain_vae(config: bytes, weights: bytes) -> PlainVae | None:
    """From `config.json` and its safetensors; None for a network that is built in another way than ours.

    Raises ValueError when they cannot be read.
    """
    try:
        facts = json.loads(config)
        values = {name: np.asarray(each, dtype=np.float32) for name, each in load_safetensors(weights).items()}
    except (SafetensorError, TypeError, KeyError) as error:
        raise ValueError(str(error)) from None
    usual = {"act_fn": "silu", "down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}
    for name, kind in usual.items():
        given = facts.get(name, kind)
        if set(given if isinstance(given, list) else [given]) != {kind}:
            return None
    vae = PlainVae(weights=values, groups=int(facts.get("norm_num_groups", 32)))
    return vae if {"encoder.conv_in.weight", "decoder.conv_out.weight"} <= set(values) else None


def _silu(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # exp(88) is infinite in float32, and 1 / infinity is the 0 it should be
        result: np.ndarray = values / (1.0 + np.exp(-values))
    return result
