"""Charts of the Data page: every value that occurs is visible, however few there are."""

from __future__ import annotations

import numpy as np
import pytest

from lab.data.data_chart import LONE_WIDTH, values_figure


@pytest.mark.parametrize(
    ("present", "width"),
    [
        (range(0, 256, 16), LONE_WIDTH),  # as in digits: a line broken at every gap drew nothing at all
        ([0], LONE_WIDTH),
        ([0, 255], LONE_WIDTH),
        (range(0, 256, 3), 3),
        (range(256), 1),
        ([0, 1, 100], 1),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_value_that_occurs_has_a_bar_that_is_seen(present: range | list[int], width: int, channels: int) -> None:
    values = np.zeros((channels, 256), dtype=np.int64)
    values[:, list(present)] = 5
    figure = values_figure(values)
    assert len(figure.data) == channels
    for trace in figure.data:
        assert trace.type == "bar"
        assert list(trace.x) == list(present)
        assert np.asarray(trace.y) == pytest.approx(1 / len(present))
        assert set(trace.width) == {width}


def test_a_channel_without_a_pixel_is_empty_and_raises_nothing() -> None:
    values = np.zeros((3, 256), dtype=np.int64)
    values[0, 7] = 5
    assert [len(trace.x) for trace in values_figure(values).data] == [1, 0, 0]
