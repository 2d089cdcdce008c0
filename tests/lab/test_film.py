"""What the film sends to the browser: a cell for every training time and denoising step, and where two runs stand."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.runs.film import Film
from lab.widgets.film import pack_films, training_times


def film(steps: tuple[int, ...] = (0, 10, 100), frames: int = 3, *, total: int = 100, **changes: Any) -> Film:
    """Training time s, denoising step f: every pixel of both pictures, in both layers, is 60 s + 20 f."""
    values = 60 * np.arange(len(steps))[:, None] + 20 * np.arange(frames)[None]
    pictures = np.broadcast_to(values[:, :, None, None, None, None], (len(steps), frames, 2, 8, 8, 1)).astype(np.uint8)
    facts: dict[str, Any] = {
        "run_id": "a",
        "steps": steps,
        "steps_total": total,
        "timesteps": tuple(np.linspace(999, 0, frames).tolist()),
        "labels": (0, 1),
        "class_names": ("zero", "<b>one</b>"),
        "layers": {"noisy_images": pictures, "predicted_images": pictures},
        "every": 1,
        "left_out": 0,
    }
    return Film(**{**facts, **changes})


def unpack(payload: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    (length,) = struct.unpack("<I", payload[:4])
    header, offset = json.loads(payload[4 : 4 + length]), 4 + length
    sheets = []
    for panel in header["panels"]:
        picture = Image.open(io.BytesIO(payload[offset : offset + panel["bytes"]])).convert("L")
        sheets.append(np.asarray(picture).astype(int))
        offset += panel["bytes"]
    assert offset == len(payload)
    return header, sheets


def test_every_moment_lies_where_the_header_says() -> None:
    header, sheets = unpack(pack_films([film()], ["a"]))
    for panel, sheet in zip(header["panels"], sheets, strict=True):
        for cell in range(panel["times"] * panel["frames"]):
            time, frame = divmod(cell, panel["frames"])
            top = cell // panel["columns"] * panel["height"]
            left = cell % panel["columns"] * panel["width"]
            assert abs(sheet[top + 3, left + 3] - (60 * time + 20 * frame)) <= 8  # WebP is lossy


def test_a_moment_is_told_in_words() -> None:
    header, _ = unpack(pack_films([film(total=1700)], ["a"]))
    assert header["films"][0]["times"][1] == "step 10 of 1,700"
    assert header["films"][0]["frames"] == ["t = 999", "t = 500", "t = 0"]


def test_class_names_stand_above_the_first_layer_only_and_travel_as_text() -> None:
    header, _ = unpack(pack_films([film()], ["a"]))
    assert [panel["heads"] for panel in header["panels"]] == [["zero", "<b>one</b>"], []]


def test_columns_of_several_classes_get_no_name() -> None:
    layers = {name: np.repeat(layer, 6, axis=2) for name, layer in film().layers.items()}
    mixed = film(labels=tuple(range(12)), class_names=tuple("abcdefghijkl"), layers=layers)
    header, _ = unpack(pack_films([mixed], ["a"]))
    assert header["panels"][0]["heads"] == []


def test_two_runs_stand_at_their_last_preview_up_to_the_slider() -> None:
    times = training_times([film((0, 10, 100)), film((0, 7, 50), total=50)])
    assert [time["label"] for time in times] == [f"step {step} of 100" for step in (0, 7, 10, 50, 100)]
    assert [time["at"] for time in times] == [[0, 0], [0, 1], [1, 1], [1, 2], [2, 2]]


def test_a_run_that_begins_later_stands_at_its_first_preview_before() -> None:
    assert training_times([film((0, 10)), film((5, 10))])[0]["at"] == [0, 0]


def test_the_pictures_that_a_vae_was_given_are_sent_once() -> None:
    pictures = film(frames=1).layers["noisy_images"]
    vae = film(frames=1, layers={"inputs": pictures, "reconstructions": pictures})
    header, _ = unpack(pack_films([vae], ["a"]))
    assert [(panel["times"], panel["frames"]) for panel in header["panels"]] == [(1, 1), (3, 1)]
    assert header["films"][0]["frames"] == [""]


@pytest.mark.parametrize("change", [{"steps_total": 200}, {"class_names": ("zero", "one")}])
def test_another_film_has_another_name(change: dict[str, Any]) -> None:
    first, second = (unpack(pack_films([item], ["a"]))[0]["id"] for item in (film(), film(**change)))
    assert first != second


def test_fourteen_training_steps_of_twenty_denoising_steps_are_a_few_megabytes() -> None:
    noise = np.random.default_rng(0).normal(128, 60, (14, 21, 10, 8, 8)).clip(0, 255)
    pictures = noise.repeat(4, axis=3).repeat(4, axis=4).astype(np.uint8)[..., None]  # as coarse as decoded latents
    steps = tuple(range(14))
    many = film(steps, 21, layers={"noisy_images": pictures, "predicted_images": pictures}, labels=tuple(range(10)))
    assert len(pack_films([many], ["a"])) < 4_000_000
