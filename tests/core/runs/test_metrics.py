import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from core.runs import metrics
from core.runs.metrics import (
    MetricColumns,
    MetricExtremes,
    MetricsReader,
    MetricsWriter,
    bucket_mean,
    bucket_min_max,
    read_metrics,
    sample_values,
)


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


def test_an_unchanged_file_is_not_opened_again(path, monkeypatch):
    reader = MetricsReader(path)
    write(path, 1, 2)
    reader.read_new()
    monkeypatch.setattr(type(path), "open", None)
    assert reader.read_new() == []


def test_lines_across_chunks_are_read_whole(path, monkeypatch):
    monkeypatch.setattr(metrics, "CHUNK_BYTES", 7)
    write(path, *range(1, 30))
    assert steps_of(MetricsReader(path).read_new()) == list(range(1, 30))


def test_two_torn_lines_do_not_make_a_whole_one(path):
    path.write_text('{"step": 1}\n{"step": 2\n"loss": 3}\n{"step": 4}\n')
    assert steps_of(MetricsReader(path).read_new()) == [1, 4]


def test_columns_that_grow_are_the_columns_read_at_once(path):
    columns = MetricColumns(path)
    assert columns.read() == {}
    writer = write(path, *range(1, 700))
    columns.read()
    writer.append({"step": 700, "loss": None, "new": 1.5})
    writer.append({"step": 701, "loss": 0.25})
    grown, whole = columns.read(), read_metrics(path)
    assert grown.keys() == whole.keys()
    for key in whole:
        np.testing.assert_array_equal(grown[key], whole[key])


def test_columns_of_an_unchanged_file_are_the_same_object(path):
    write(path, 1, 2)
    columns = MetricColumns(path)
    assert columns.read() is columns.read()


def test_columns_handed_out_before_keep_their_values_and_cannot_be_written(path):
    columns = MetricColumns(path)
    writer = write(path, *range(1, 300))
    before = columns.read()["step"]
    writer.truncate_after(5)
    writer.append({"step": 77, "loss": 1.0})
    assert list(columns.read()["step"]) == [1, 2, 3, 4, 5, 77]
    assert list(before) == list(range(1, 300))
    with pytest.raises(ValueError, match="read-only"):
        before[0] = 9


def test_columns_are_empty_again_when_the_file_is_gone(path):
    columns = MetricColumns(path)
    write(path, 1)
    columns.read()
    path.unlink()
    assert columns.read() == {}


def test_a_flood_of_keys_is_cut_off(path):
    path.write_text(json.dumps({**{f"key{place}": 1.0 for place in range(5000)}, "step": 1}) + "\n")
    columns = MetricColumns(path)
    assert len(columns.read()) == metrics.MOST_KEYS
    assert "step" in columns.read()


def test_memory_grows_with_the_rows_only(path):
    writer = write(path, *range(1, 1000))
    columns = MetricColumns(path)
    columns.read()
    [writer.append({"step": step, "loss": 1.0}) for step in range(1000, 1200)]
    assert 2 * 8 * len(columns.read()["step"]) <= columns.size_bytes <= 2 * 8 * 1800


@pytest.mark.parametrize("lines", [3, 40, 20_000])
def test_a_sample_has_both_ends_and_the_order_of_the_file(path, lines):
    with path.open("w") as file:
        file.writelines(
            json.dumps({"step": step, "loss": float(step), "more": "x" * 20}) + "\n" for step in range(lines)
        )
        file.write('{"step": 99999999, "lo')
    values = sample_values(path, "loss", 40)
    assert (values[0], values[-1]) == (0.0, lines - 1.0)
    assert values == sorted(values)
    assert len(values) == min(lines, 40)


def bytes_read():
    """By this thread so far, as the kernel counts them."""
    return int(Path("/proc/thread-self/io").read_text().split()[1])


def test_a_sample_of_a_long_file_reads_little_of_it(path):
    with path.open("w") as file:
        file.writelines(f'{{"step": {step}, "loss": {step}.5}}\n' for step in range(200_000))
    before = bytes_read()
    assert len(sample_values(path, "loss", 40)) == 40
    assert bytes_read() - before < path.stat().st_size / 5


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"x" * 10**6, b'{"step": 1, "loss": null}\n' * 10_000, b"\xff\n" * 90_000]
)
def test_a_sample_of_nothing_readable_is_empty(path, content):
    path.write_bytes(content)
    assert sample_values(path, "loss") == []
    assert sample_values(path.with_name("none"), "loss") == []


def test_means_of_buckets_keep_the_mean_and_the_order():
    y = np.random.default_rng(0).normal(size=100_001)
    x, means = bucket_mean(np.arange(100_001.0), y, 500)
    assert len(x) <= 500
    assert (np.diff(x) > 0).all()
    np.testing.assert_allclose(means[0], y[:201].mean())
    np.testing.assert_array_equal(bucket_mean(y[:9], y[:9], 9)[1], y[:9])


def test_what_was_wrong_once_is_not_told_for_ever(path):
    reader = metrics.MetricsReader(path)
    os.mkfifo(path)
    assert reader.read_new() == [] and "not an ordinary file" in reader.problem
    path.unlink()
    path.write_text('{"step": 1, "loss": 2.0}\n')
    assert reader.read_new() == [{"step": 1, "loss": 2.0}]
    assert reader.problem == ""


def test_the_writer_has_no_limit(path):
    path.write_text('{"step": 1}\n')
    with path.open("ab") as file:
        file.truncate(600 * 2**20)  # sparse: more than a reader shows
    MetricsWriter(path).append({"step": 2})
    with path.open("rb") as file:
        file.seek(600 * 2**20)
        assert file.read().split() == [b'{"step":', b"2}"]


def test_extremes_are_those_of_all_lines_whatever_happens_to_the_file(path):
    writer, extremes = MetricsWriter(path), MetricExtremes(path)
    assert extremes.read() == {}
    for step, loss in enumerate([3.0, 1.0, math.nan, 2.0], start=1):
        writer.append({"step": step, "loss": loss})
    assert extremes.read() == {"step": (1.0, 4.0), "loss": (1.0, 3.0)}
    writer.append({"step": 5, "loss": 0.5, "kl": 7.0})
    assert extremes.read() == {"step": (1.0, 5.0), "loss": (0.5, 3.0), "kl": (7.0, 7.0)}
    writer.truncate_after(1)
    assert extremes.read() == {"step": (1.0, 1.0), "loss": (3.0, 3.0)}
    path.unlink()
    assert extremes.read() == {}
