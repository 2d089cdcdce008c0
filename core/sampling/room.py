"""Whether there is room to generate: asked before anything is allocated, by all that generates."""

from __future__ import annotations

from core.device import free_on_gpu
from core.sampling.load import LoadedModel
from core.weighing import need_of_drawing, refuse_what_is_not_free


def check_room(model: LoadedModel, images: int, *, frames: int = 0) -> None:
    """frames: steps that are kept. Raises NoRoomOnGpu where the CPU may have room, UsageError where nothing has."""
    device = model.device
    on_gpu = device.type == "cuda"
    need = need_of_drawing(model.settings, images, num_classes=model.num_classes, on_gpu=on_gpu, frames=frames)
    refuse_what_is_not_free(need, free_on_gpu(device) if on_gpu else None)
