import json
import math

import numpy as np
import pytest

from core.runs.metrics import MetricsReader, MetricsWriter, bucket_min_max, read_metrics


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def write(path, *steps):
    writer = MetricsWriter(path)
    [writer.append({"step": step, "loss": 1 / step}) for step in steps]
    return writer


def steps_of(records):
    return [record["step"] for record in records]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_nonfinite_number_is_null_and_named(path, value):
    MetricsWriter(path).append({"step": 1, "loss": value, "grad_norm": 2.0})
    assert json.loads(path.read_text()) == {"step": 1, "loss": None, "grad_norm": 2.0, "nonfinite": ["loss"]}
    assert np.isnan(read_metrics(path)["loss"]).all()


def test_numpy_numbers_keep_their_kind(path):
    MetricsWriter(path).append({"step": np.int64(3), "loss": np.float64(0.5)})
    assert path.read_text() == '{"step": 3, "loss": 0.5}\n'


def test_columns_have_nan_where_a_line_has_no_value(path):
    writer = MetricsWriter(path)
    writer.append({"step": 1, "loss": 2.0})
    writer.append({"step": 2, "loss": 1.0, "val_loss": 3.0})
    columns = read_metrics(path)
    np.testing.assert_array_equal(columns["step"], [1, 2])
    np.testing.assert_array_equal(columns["val_loss"], [np.nan, 3.0])


def test_a_missing_file_has_no_columns(path):
    assert read_metrics(path) == {}
    assert MetricsReader(path).read_new() == []


@pytest.mark.parametrize(
    "line",
    ["", "{", "[1]", "null", '{"loss": 1}', '{"step": "x"}', '{"step": true}', '{"step": 1e999}', "\x00", "[" * 9999],
)
def test_a_damaged_line_is_left_out(path, line):
    write(path, 1)
    with path.open("a") as file:
        file.write(line + "\n")
    write(path, 2)
    np.testing.assert_array_equal(read_metrics(path)["step"], [1, 2])


def test_a_number_beyond_float_is_nan(path):
    path.write_text('{"step": 1, "loss": 1' + "0" * 400 + "}\n")
    assert np.isnan(read_metrics(path)["loss"]).all()


def test_the_reader_returns_only_what_is_new(path):
    reader = MetricsReader(path)
    writer = write(path, 1, 2)
    assert steps_of(reader.read_new()) == [1, 2]
    assert reader.read_new() == []
    writer.append({"step": 3})
    assert steps_of(reader.read_new()) == [3]
    assert not reader.restarted


def test_a_line_still_being_written_waits(path):
    reader = MetricsReader(path)
    path.write_text('{"step": 1}\n{"st')
    assert steps_of(reader.read_new()) == [1]
    with path.open("a") as file:
        file.write('ep": 2}\n')
    assert steps_of(reader.read_new()) == [2]


def test_the_reader_starts_over_when_the_file_was_replaced(path):
    reader = MetricsReader(path)
    writer = write(path, *range(1, 40))
    reader.read_new()
    writer.truncate_after(10)
    writer.append({"step": 11})
    assert steps_of(reader.read_new()) == list(range(1, 12))
    assert reader.restarted
    assert reader.read_new() == []
    assert not reader.restarted


def test_the_reader_notices_a_replacement_of_the_same_length_and_inode(path):
    reader = MetricsReader(path)
    path.write_text('{"step": 1}\n')
    reader.read_new()
    path.write_text('{"step": 2}\n{"step": 3}\n')
    assert steps_of(reader.read_new()) == [2, 3]
    assert reader.restarted


def test_the_reader_starts_over_when_the_file_is_gone(path):
    reader = MetricsReader(path)
    write(path, 1)
    reader.read_new()
    path.unlink()
    assert reader.read_new() == []
    assert reader.restarted
    write(path, 1)
    assert steps_of(reader.read_new()) == [1]


@pytest.mark.parametrize(("step", "kept"), [(0, []), (2, [1, 2]), (99, [1, 2, 3])])
def test_truncating_drops_later_steps(path, step, kept):
    write(path, 1, 2, 3).truncate_after(step)
    assert steps_of(MetricsReader(path).read_new()) == kept


def test_truncating_drops_a_torn_tail(path):
    writer = write(path, 1)
    with path.open("a") as file:
        file.write('{"step": 2, "lo')
    writer.truncate_after(5)
    writer.append({"step": 2})
    assert steps_of(MetricsReader(path).read_new()) == [1, 2]


def test_truncating_nothing_leaves_the_file_alone(path):
    write(path, 1, 2)
    before = path.stat()
    MetricsWriter(path).truncate_after(2)
    MetricsWriter(path.with_name("none")).truncate_after(2)
    assert path.stat().st_ino == before.st_ino
    assert not path.with_name("none").exists()


def test_a_torn_tail_does_not_swallow_the_next_line(path):
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    write(path, 3)
    assert steps_of(MetricsReader(path).read_new()) == [1, 3]


def test_buckets_keep_every_spike_and_the_order():
    x = np.arange(1_000_001.0)
    y = np.sin(x / 1e4)
    y[[0, 12_345, 777_777, 1_000_000]] = [50, 99, -99, 60]
    thin_x, thin_y = bucket_min_max(x, y, points=1500)
    assert len(thin_x) <= 1500
    assert (np.diff(thin_x) > 0).all()
    assert {50.0, 99.0, -99.0, 60.0} <= set(thin_y)


def test_buckets_skip_nan_where_there_is_a_number():
    y = np.tile([np.nan, 1.0, 2.0], 1000)
    _, thin = bucket_min_max(np.arange(3000.0), y, points=100)
    assert not np.isnan(thin).any()
    assert {1.0, 2.0} == set(thin)


def test_a_stretch_of_nan_stays_a_gap():
    y = np.ones(10_000)
    y[3000:6000] = np.nan
    x, thin = bucket_min_max(np.arange(10_000.0), y, points=100)
    assert np.isnan(thin[(x > 3300) & (x < 5700)]).all()


def test_short_curves_come_back_unchanged():
    x = np.arange(5.0)
    assert bucket_min_max(x, x, points=5)[0] is x
