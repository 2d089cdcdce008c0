"""Weights as diffusers saves them, in one file, in shards or under a variant's name → one file each. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from core import reading
from core.errors import quoted
from core.model_folders.diffusers_layout import UNET_WEIGHTS, VAE_WEIGHTS
from core.model_folders.model_files import ModelRefused, json_object, tensor_headers

_NAME = re.compile(r"diffusion_pytorch_model(?:\.([A-Za-z0-9_]+))?(?:-(\d{5})-of-(\d{5}))?\.safetensors")
_INDEX = re.compile(r"diffusion_pytorch_model\.safetensors\.index(?:\.([A-Za-z0-9_]+))?\.json")
_PREFERRED = ("", "fp32", "fp16")  # the most precise first
# names in the attention of VAEs that diffusers saved before version 0.17, which it still reads
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME = re.compile(r"(.+\.mid_block\.attentions\.\d+\.)(query|key|value|proj_attn)(\.(?:weight|bias))")


def with_whole_weights(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files, with each network's weights in one file of the plain name and its tensors' names as diffusers has now.

    Of several variants the one without a name is taken, else fp32, else fp16. Raises ModelRefused for shards that are
    damaged, missing or do not hold what their index names.
    """
    found = dict(files)
    for target in (UNET_WEIGHTS, VAE_WEIGHTS):
        folder = target.rpartition("/")[0]
        variants: dict[str, dict[int, str]] = {}
        counts: dict[str, int] = {}
        for name in files:
            match = _NAME.fullmatch(name.removeprefix(f"{folder}/"))
            if match and name.startswith(f"{folder}/"):
                variant = match.group(1) or ""
                variants.setdefault(variant, {})[int(match.group(2) or 1)] = name
                counts[variant] = int(match.group(3) or 1)
        if not variants:
            continue
        order = {variant: place for place, variant in enumerate(_PREFERRED)}
        chosen = min(variants, key=lambda variant: (order.get(variant, len(order)), variant))
        shards = variants[chosen]
        for number in range(1, counts[chosen] + 1):
            if number not in shards:
                raise ModelRefused(f"{target}: shard {number} of {counts[chosen]} is missing", "give the whole folder")
        names = [shards[number] for number in range(1, counts[chosen] + 1)]
        _check_index(files, folder, chosen, names)
        whole = _joined(files, names)
        for path in files:
            if path.startswith(f"{folder}/") and (_NAME.fullmatch(path[len(folder) + 1 :]) or _is_index(path)):
                found.pop(path)
        found[target] = whole
    return found


def _is_index(path: str) -> bool:
    return _INDEX.fullmatch(path.rpartition("/")[2]) is not None


def _check_index(files: dict[str, bytes], folder: str, variant: str, names: Sequence[str]) -> None:
    path = f"{folder}/diffusion_pytorch_model.safetensors.index{f'.{variant}' if variant else ''}.json"
    if path not in files:
        return
    told = json_object(files, path).get("weight_map")
    held = {key: name.rpartition("/")[2] for name in names for key in tensor_headers(files[name], name)}
    if told != held:
        wrong = next(iter({*held} ^ {*told}), "") if isinstance(told, dict) else ""
        what = f"'{quoted(wrong, 80)}' is in one of both only" if wrong else "they lie in other shards"
        raise ModelRefused(f"{path}: names other tensors than the shards hold: {what}", "fetch the folder again")


def _joined(files: Mapping[str, bytes], names: Sequence[str]) -> bytes:
    """One safetensors file of several, or of one whose tensors have old names; the bytes as they came otherwise."""
    entries: dict[str, Any] = {}
    parts: list[memoryview] = []
    begun = 0
    for name in names:
        tensor_headers(files[name], name)
        size = int.from_bytes(files[name][:8], "little")
        header = reading.json_object(files[name][8 : 8 + size], name)
        for key, value in header.items():
            if key == "__metadata__":
                continue
            new = _new_name(key)
            if new in entries:
                raise ModelRefused(f"{name}: '{quoted(new, 80)}' is there twice", "fetch the folder again")
            start, end = value["data_offsets"]
            entries[new] = {**value, "data_offsets": [begun + start, begun + end]}
        parts.append(memoryview(files[name])[8 + size :])
        begun += len(parts[-1])
    if len(names) == 1 and all(_new_name(key) == key for key in header):
        return files[names[0]]
    text = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _new_name(key: str) -> str:
    match = _OLD_NAME.fullmatch(key)
    return f"{match.group(1)}{_OLD_ATTENTION[match.group(2)]}{match.group(3)}" if match else key
