"""What an .npz file must hold to be a data set. NumPy alone, so that a limited process can ask too."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

NPZ_ARRAYS = ("images", "labels", "test_images", "test_labels", "class_names")


def npz_problem(arrays: Mapping[str, np.ndarray]) -> str:
    """What is wrong with the arrays, in words; '' when nothing is."""
    missing = [name for name in ("images", "labels") if name not in arrays]
    if "test_images" in arrays and "test_labels" not in arrays:
        missing.append("test_labels")
    if missing:
        return f"there is no array '{missing[0]}'"
    names = arrays.get("class_names")
    if names is not None and (names.ndim != 1 or names.dtype.kind not in "US"):
        return f"'class_names' must be a list of texts, got {names.dtype} {names.shape}"
    for prefix in ("", "test_") if "test_images" in arrays else ("",):
        problem = _split_problem(arrays[f"{prefix}images"], arrays[f"{prefix}labels"], prefix)
        if problem:
            return problem
    top = len(arrays["labels"] if names is None else names) - 1
    for name in ("labels", "test_labels"):
        if name in arrays and int(arrays[name].max()) > top:
            return f"'{name}' must be 0 to {top}, got {arrays[name].max()}"
    return ""


def npz_class_names(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The names in the file, else the numbers."""
    if "class_names" not in arrays:
        return tuple(str(label) for label in range(int(arrays["labels"].max()) + 1))
    return tuple(
        name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in arrays["class_names"]
    )


def _split_problem(images: np.ndarray, labels: np.ndarray, prefix: str) -> str:
    if images.dtype != np.uint8:
        return f"'{prefix}images' must be uint8 with values 0 to 255, got {images.dtype}"
    if images.ndim not in (3, 4) or 0 in images.shape[1:] or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        return f"'{prefix}images' must be (N, height, width) or (N, height, width, 1 or 3), got {images.shape}"
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        return f"'{prefix}labels' must be whole numbers of shape (N,), got {labels.dtype} {labels.shape}"
    if len(labels) != len(images):
        return f"{len(images)} {prefix}images but {len(labels)} {prefix}labels"
    if not len(labels):
        return f"'{prefix}images' holds no pictures"
    return f"'{prefix}labels' must be 0 or more, got {labels.min()}" if int(labels.min()) < 0 else ""
