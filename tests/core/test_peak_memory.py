"""What runs took of memory corrects what the next of their shape is expected to take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.config.load import load_config
from core.machine.peak_memory import KEPT, Peak, errors_in_words, note_peak, past_errors, peaks_of, shape_of
from core.runs.kinds import KINDS
from core.weighing import learned_need, need_of, with_ranks

ON_CPU = {"machine.device": "cpu"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    return tmp_path


def shape(kind: str = "vae", *, on_gpu: bool = False, **changes: object) -> str:
    settings = load_config(overrides={**ON_CPU, **changes})
    return shape_of(with_ranks(settings, KINDS[kind], on_gpu=on_gpu), KINDS[kind], on_gpu=on_gpu)


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"seed": 7}, True),
        ({"train_vae.steps": 7}, True),
        ({"train_vae.learning_rate": 1e-5}, True),
        ({"train_vae.batch_size": 128}, False),
        ({"vae.block_out_channels": (16, 32)}, False),
        ({"machine.num_processes": 2}, False),
        ({"train_unet.batch_size": 256}, True),
    ],
)
def test_runs_have_one_shape_when_nothing_differs_that_decides_their_memory(
    changes: dict[str, object], is_same: bool
) -> None:
    assert (shape(**changes) == shape()) is is_same
    assert shape(on_gpu=True, **changes) != shape(**changes) != shape("unet", **changes)


def test_a_prediction_follows_the_largest_of_the_newest_runs_of_its_shape(cache: Path) -> None:
    settings, vae = load_config(overrides=ON_CPU), KINDS["vae"]
    said = need_of(settings, vae, on_gpu=False)
    assert learned_need(settings, vae, on_gpu=False) == said
    for host in (9 * said.host, *[int(0.8 * said.host)] * (KEPT - 1), int(0.9 * said.host)):
        note_peak(cache, shape(), Peak(host=host, predicted_host=said.host))
    learned = learned_need(settings, vae, on_gpu=False)
    assert learned.host == int(1.05 * int(0.9 * said.host))
    assert learned.past == f"measured in {KEPT} runs; the prediction was 25% too high"
    other = load_config(overrides={**ON_CPU, "train_vae.batch_size": 128})
    assert not learned_need(other, vae, on_gpu=False).past
    assert len(past_errors(cache)) == KEPT


def test_what_was_learned_never_goes_below_half_of_what_the_formulas_say(cache: Path) -> None:
    settings, vae = load_config(overrides=ON_CPU), KINDS["vae"]
    note_peak(cache, shape(), Peak(host=1, predicted_host=1))
    assert learned_need(settings, vae, on_gpu=False).host == need_of(settings, vae, on_gpu=False).host // 2


@pytest.mark.parametrize("text", ["", "[]", '{"peaks": 3}', '{"peaks": [{"host": -1, "predicted_host": 2}]}', "\0"])
def test_a_damaged_file_corrects_nothing(cache: Path, text: str) -> None:
    note_peak(cache, "a", Peak(host=1, predicted_host=1))
    (cache / "memory" / "a.json").write_text(text)
    assert peaks_of(cache, "a") == ()
    assert past_errors(cache) == ()


def test_errors_are_worded_by_what_was_measured() -> None:
    on_gpu = Peak(host=100, predicted_host=500, gpu=200, predicted_gpu=190)
    assert errors_in_words([on_gpu.error]) == "memory was predicted 5% too low in one run"
    assert errors_in_words([]) == ""


TAKING = """
from core.machine.peak_memory import own_peak
before = own_peak()
taken = bytearray(200_000_000)
del taken
print(own_peak() - before)
"""


def test_the_peak_of_a_process_is_what_it_held_at_the_most() -> None:
    output = subprocess.run([sys.executable, "-c", TAKING], check=True, capture_output=True, text=True).stdout
    assert int(output) == pytest.approx(200_000_000, rel=0.2)
