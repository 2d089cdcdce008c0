"""Charts of the decoder and the ceiling, and what the map sends to the browser."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from lab.latents.views_chart import (
    equivariance_figure,
    probe_figure,
    sensitivity_figure,
    spectrum_figure,
    survival_figure,
)
from lab.widgets.scatter import MOST_NAMED, pack_cloud

T, PSNR, ACCURACY = (-1, 250, 500, 750, 999), (29.0, 25.0, 18.0, 13.0, 10.0), (0.99, 0.99, 0.95, 0.4, 0.1)


@pytest.mark.parametrize(
    ("alone", "lost", "words"),
    [
        (250, 999, {"the decoder alone"}),
        (None, -1, {"the class is lost"}),
        (500, 750, {"the decoder alone", "the class is lost"}),
    ],
)
def test_what_the_decoder_masters_and_what_is_lost_is_shaded_and_named(alone, lost, words):
    figure = survival_figure(T, PSNR, ACCURACY, (0.0,) * 5, alone=alone, lost=lost, chance=0.1)
    assert {note.text for note in figure.layout.annotations} - {"guessing"} == words
    assert len(figure.layout.shapes) == len(words)
    assert [trace.name for trace in figure.data] == ["accuracy", "guessing", "PSNR"]


def test_without_a_judge_there_is_the_psnr_alone():
    figure = survival_figure(T, PSNR, (), (0.0,) * 5, alone=250, lost=None, chance=0.1)
    assert [trace.name for trace in figure.data] == ["PSNR"]
    assert tuple(figure.layout.yaxis.domain) == (0.0, 1.0)


def test_a_psnr_that_hardly_changes_is_drawn_flat():
    figure = survival_figure(T, (12.0, 12.0, 12.0, 12.0, 11.999), (), (0.0,) * 5, alone=999, lost=None, chance=0.1)
    low, high = figure.layout.yaxis.range
    assert high - low >= 4.0


def test_bins_without_coefficients_are_left_out_of_the_spectrum():
    figure = spectrum_figure([("latents", np.array([0.1, 0.3, 0.5]), np.array([1.0, np.nan, 0.1]))])
    assert list(figure.data[0].x) == [0.1, 0.5]


def test_names_that_were_typed_are_text_in_charts():
    bars = probe_figure({"<b>x</b>": (0.9, 0.88, 0.92)}, 0.1)
    assert "<b>" not in bars.data[0].y[0]
    others = equivariance_figure(["<i>flip</i>"], [0.3], [0.01], 1.3)
    assert "<i>" not in others.data[0].y[0]


def test_intervals_are_drawn_from_the_bar_s_end():
    bar = probe_figure({"latents": (0.9, 0.88, 0.93)}, 0.1).data[0]
    assert (bar.error_x.array[0], bar.error_x.arrayminus[0]) == pytest.approx((0.03, 0.02))


def test_maps_of_sensitivity_share_one_scale():
    maps = np.stack([np.full((2, 2), 3.0), np.full((2, 2), 1.0)])
    figure = sensitivity_figure(maps, ["all channels", "channel 1"])
    assert {(trace.zmin, trace.zmax) for trace in figure.data} == {(0, 3.0)}
    assert sensitivity_figure(np.zeros((1, 2, 2)), ["all"]).data[0].zmax > 0


def unpack(payload: bytes) -> tuple[dict, np.ndarray, np.ndarray]:
    (length,) = struct.unpack("<I", payload[:4])
    header = json.loads(payload[4 : 4 + length])
    points = np.frombuffer(payload, dtype="<f4", count=3 * header["count"], offset=4 + length).reshape(-1, 3)
    return header, points, np.frombuffer(payload, np.uint8, header["count"], 4 + length + points.nbytes)


def cloud(dimensions: int, classes: int = 2) -> bytes:
    positions = np.arange(5 * dimensions, dtype=np.float32).reshape(5, dimensions)
    names = [f"class {label}" for label in range(classes)]
    images = np.zeros((5, 4, 4, 1), dtype=np.uint8)
    return pack_cloud(positions, np.array([0, 1, 0, 1, 1]), images, names, picked=(0, 3), colors=("#111", "#222"))


def test_the_map_sends_positions_classes_and_pictures():
    header, points, classes = unpack(cloud(2))
    assert points[:, :2].tolist() == np.arange(10).reshape(5, 2).tolist() and not points[:, 2].any()
    assert classes.tolist() == [0, 1, 0, 1, 1]
    assert (header["picked"], header["space"], header["named"], header["cell"]) == ([0, 3], False, 2, [4, 4])


def test_a_cloud_in_space_turns_about_its_middle():
    header, points, _ = unpack(cloud(3))
    assert header["space"] and points.mean(axis=0) == pytest.approx(np.zeros(3))


def test_more_classes_than_can_be_read_are_not_written_into_the_cloud():
    assert unpack(cloud(2, MOST_NAMED + 1))[0]["named"] == 0


def test_the_same_cloud_keeps_its_id_when_other_pictures_are_picked():
    assert unpack(cloud(2))[0]["id"] == unpack(cloud(2))[0]["id"] != unpack(cloud(3))[0]["id"]
