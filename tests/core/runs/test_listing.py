import json

import pytest

from core.config.load import settings_from
from core.runs.listing import last_checkpoint_in_words, last_metrics, list_checkpoints, run_details, run_row
from core.runs.metrics import MetricsWriter
from core.runs.run import RunState, Status
from core.runs.store import RunStore


@pytest.fixture
def run(tmp_path):
    return RunStore(tmp_path).create("vae", settings_from({}), name="n", owner="ana")


def add_checkpoint(run, name, size=3, written=3):
    folder = run.checkpoints_dir / name
    folder.mkdir(parents=True)
    (folder / "model").write_bytes(b"x" * written)
    (folder / "manifest.json").write_text(json.dumps({"step": 1, "files": {"model": {"size": size}}}))
    return folder


def test_checkpoints_are_listed_oldest_first_with_their_size(run):
    add_checkpoint(run, "step-00000200")
    add_checkpoint(run, "step-00000100")
    assert [(info.step, info.size_bytes) for info in list_checkpoints(run)] == [(100, 3), (200, 3)]
    assert last_checkpoint_in_words(run) == "the last checkpoint is of step 200"


def test_a_truncated_half_or_foreign_folder_is_no_checkpoint(run):
    add_checkpoint(run, "step-00000100", size=4)
    add_checkpoint(run, ".tmp-step-00000200-abc")
    (add_checkpoint(run, "step-00000300") / "manifest.json").write_text("{")
    (add_checkpoint(run, "step-00000400") / "model").unlink()
    assert list_checkpoints(run) == []
    assert last_checkpoint_in_words(run) == "no checkpoint was saved"


def test_a_row_has_the_keys_other_programs_rely_on(run):
    row = run_row(run, Status(state=RunState.STOPPED, step=5, steps_total=10))
    assert row == {
        "id": run.id,
        "kind": "vae",
        "name": "n",
        "state": "stopped",
        "step": 5,
        "steps_total": 10,
        "owner": "ana",
        "created_at": run.info.created_at,
        "parents": [],
        "problem": "",
    }


def test_details_are_json_with_settings_last_values_and_checkpoints(run):
    writer = MetricsWriter(run.metrics_path)
    writer.append({"step": 1, "loss": 2.0, "val_loss": 5.0})
    writer.append({"step": 2, "loss": float("nan")})
    add_checkpoint(run, "step-00000002")
    details = json.loads(json.dumps(run_details(run, run.status()), allow_nan=False))
    assert details["settings"]["data"]["name"] == "mnist"
    assert details["metrics"] == last_metrics(run)[0] == {"step": 2, "loss": None, "val_loss": 5.0}
    assert details["checkpoints"][0]["step"] == 2
