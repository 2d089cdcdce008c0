"""Checkpoints that survive kill -9, power cuts and full disks.

A checkpoint is built in a temporary folder, every file flushed, a manifest with each file's sha256 written last, the
folder renamed into place and its parent flushed. The newest one that verifies is loaded. Only safetensors and JSON:
nothing in it can run code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from core import atomic, leftovers, reading
from core.errors import CheckpointError

_NAME = re.compile(r"^step-(\d{8,})$")
FORMAT = 1  # of manifest.json
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A verified checkpoint: its step, folder, and the files' bytes by relative path."""

    step: int
    folder: Path
    files: Mapping[str, bytes]
    skipped: tuple[str, ...] = field(default=())

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of the checkpoint. Raises CheckpointError when it is damaged."""
        try:
            return reading.json_object(self.files[name], name)
        except reading.Unreadable as error:
            raise CheckpointError(f"checkpoint {self.folder.name}: {error.message}") from None

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """A safetensors file of the checkpoint, on the CPU."""
        return load_safetensors(self.files[name])


def save_checkpoint(root: Path, step: int, files: Mapping[str, bytes], *, keep: int) -> Path:
    """Write `step-%08d` under `root` durably, then remove the oldest beyond `keep`.

    An existing folder of that step is replaced when it is damaged and kept when it verifies. Raises OSError (for
    example ENOSPC); then no trace of the new checkpoint is left and the old ones stand.
    """
    atomic.make_folder(root)
    target = root / f"step-{step:08d}"
    if target.exists():
        if _problem(target) is None:
            return target
        leftovers.remove_folder(target)
    manifest = {
        "format": FORMAT,
        "step": step,
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
    }
    atomic.write_folder(target, {**files, "manifest.json": json.dumps(manifest, indent=1).encode()})
    _prune(root, keep)
    return target


def load_newest(root: Path, *, step: int | None = None) -> Checkpoint | None:
    """The newest checkpoint that verifies (or exactly `step`), or None when there is none at all.

    `skipped` of the result says, a sentence each, which newer ones were damaged. Raises CheckpointError when there
    are checkpoints but none verifies, or when the asked step is missing or damaged.
    """
    candidates = _folders(root)
    if step is not None:
        candidates = [path for path in candidates if _step_of(path) == step]
        if not candidates:
            raise CheckpointError(f"{root.parent.name}: no checkpoint of step {step}")
    skipped: list[str] = []
    for folder in reversed(candidates):
        files, problem = _read(folder)
        if problem is None:
            return Checkpoint(step=_step_of(folder), folder=folder, files=files, skipped=tuple(skipped))
        skipped.append(f"checkpoint {folder.name} is damaged ({problem})")
    if skipped:
        raise CheckpointError(f"{root.parent.name}: no checkpoint can be used: {'; '.join(skipped)}")
    return None


def network_files(name: str, config: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> dict[str, bytes]:
    """A network as diffusers lays it out: `name/config.json` and `name/diffusion_pytorch_model.safetensors`."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    return {
        f"{name}/config.json": (json.dumps(dict(config), indent=2, sort_keys=True) + "\n").encode(),
        f"{name}/{WEIGHTS_FILE}": save_safetensors(tensors, metadata={"format": "pt"}),
    }


def _folders(root: Path) -> list[Path]:
    found = [path for path in root.iterdir() if _NAME.match(path.name)] if root.is_dir() else []
    return sorted(found, key=_step_of)


def _step_of(folder: Path) -> int:
    match = _NAME.match(folder.name)
    assert match
    return int(match.group(1))


def _read(folder: Path) -> tuple[dict[str, bytes], str | None]:
    """The files of a checkpoint and None, or what is wrong with it."""
    try:
        manifest = reading.read_object(folder / "manifest.json")
        if words := reading.newer(manifest.get("format", 1), FORMAT):
            return {}, words
        files = {}
        for name, facts in manifest["files"].items():
            path = folder / name
            if folder.resolve() not in path.resolve().parents:
                return {}, f"{name} points outside"
            if (size := path.stat().st_size) != facts["size"]:
                return {}, f"{name} has {size} bytes, not {facts['size']}"
            data = reading.read_bytes(path, limit=0)
            if hashlib.sha256(data).hexdigest() != facts["sha256"]:
                return {}, f"{name} was altered"
            files[name] = data
        if manifest["step"] != _step_of(folder):
            return {}, f"it holds step {manifest['step']}"
        if "state.json" not in files or not any(name.endswith(".safetensors") for name in files):
            return {}, "its manifest names no weights or no state.json"
    except FileNotFoundError as error:
        return {}, f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {}, f"manifest.json cannot be read: {error}"
    return files, None


def _problem(folder: Path) -> str | None:
    return _read(folder)[1]


def _prune(root: Path, keep: int) -> None:
    """Remove all but the newest `keep`, but never so that no checkpoint that verifies is left."""
    folders = _folders(root)
    kept, old = folders[-keep:], folders[:-keep]
    if old and any(_problem(folder) is None for folder in reversed(kept)):
        for folder in old:
            leftovers.remove_folder(folder)
