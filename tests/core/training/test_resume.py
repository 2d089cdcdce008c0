"""Resume equals never having stopped, bit for bit on the CPU: weights, average, optimizer, metrics.

LAB_KILLS sets how many times each run is killed with SIGKILL (20 in the release check, fewer here).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable

import pytest

from core.config.schema import Settings
from core.runs.branch import create_branch
from core.runs.checkpoints import load_newest
from core.runs.metrics import read_metrics
from core.runs.run import Run, RunState
from tests import forked
from tests.models import Lab

pytestmark = pytest.mark.slow

SHORT_RECIPE = {
    "vae.zero_init": True,
    "unet.zero_init": True,
    "diffusion.timestep_distribution": "logit_normal",
    "diffusion.timestep_mean": 0.3,
    "diffusion.stratified_timesteps": True,
    "train_vae.optimizer": "muon",
    "train_vae.free_overshoot": True,
    "train_unet.optimizer": "muon",
    "train_unet.lr_schedule": "linear",
}
ATTEMPT = """
import pathlib, sys
from core.runs.run import Run
from tests.models import Lab
folder, root = map(pathlib.Path, sys.argv[1:])
Lab(root).train(Run(folder))
"""  # in a process that may be killed at any moment
KILLS = int(os.environ.get("LAB_KILLS", "2"))


def final_files(run: Run) -> dict[str, bytes]:
    """Everything of the last checkpoint that must be equal: all files but state.json, whose times differ."""
    checkpoint = load_newest(run.checkpoints_dir)
    assert checkpoint is not None
    files = {name: data for name, data in checkpoint.files.items() if name != "state.json"}
    facts = checkpoint.json("state.json")
    return {**files, "facts": json.dumps([checkpoint.step, facts["ema_updates"], facts["optimizer_keys"]]).encode()}


def logged(run: Run) -> list[dict[str, float]]:
    """Metrics lines without what the clock decides."""
    lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("elapsed_s", "images_per_s")} for line in lines]


def finish_with_kills(run: Run, lab: Lab, kills: int) -> int:
    """Train `run` to its end, killed with SIGKILL at random moments. Returns how many kills hit it while it ran."""
    chance = random.Random(run.info.kind)
    hits = 0
    for _ in range(kills):
        before = load_newest(run.checkpoints_dir)
        started = logged_safely(run)
        words = ("-c", ATTEMPT, str(run.folder), str(lab.root))
        process = forked.Process(*words, env=os.environ, cwd=forked.ROOT, streams=[0, 1, 2], imports=["tests.models"])
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and logged_safely(run) == started:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.25))
        if process.poll() is None:
            hits += 1
        process.kill()
        process.wait()
        after = load_newest(run.checkpoints_dir)
        assert (after.step if after else 0) >= (before.step if before else 0)
        repeated = logged(run)[-1]["step"] - (after.step if after else 0) if logged_safely(run) else 0
        assert repeated <= run.settings.logging.save_every_steps
    lab.train(run)
    return hits


def logged_safely(run: Run) -> list[str]:
    """Whole lines of the metrics, while another process writes them."""
    return run.metrics_path.read_text().splitlines() if run.metrics_path.exists() else []


def test_killed_at_random_moments_and_resumed_the_end_is_bit_equal(
    lab: Lab, tiny: Callable[..., Settings], forks: None
) -> None:
    settings = tiny(**{"train_vae.steps": 40 + 20 * KILLS, "train_unet.steps": 40 + 20 * KILLS})
    quiet_vae = lab.create("vae", settings)
    lab.train(quiet_vae)
    killed_vae = lab.create("vae", settings)
    hits = finish_with_kills(killed_vae, lab, KILLS)
    assert final_files(killed_vae) == final_files(quiet_vae)
    assert logged(killed_vae) == logged(quiet_vae)

    quiet = lab.create("unet", settings, quiet_vae)
    lab.train(quiet)
    killed = lab.create("unet", settings, killed_vae)
    hits += finish_with_kills(killed, lab, KILLS)
    assert final_files(killed) == final_files(quiet)
    assert logged(killed) == logged(quiet)
    steps = read_metrics(killed.metrics_path)["step"]
    assert (steps[1:] > steps[:-1]).all()
    assert hits > 0, "no kill hit a running training: the test shows nothing"


@pytest.mark.parametrize(
    ("kind", "stop_at", "changes"),
    [("vae", 13, {}), ("unet", 1, {}), ("unet", 16, {}), ("vae", 9, SHORT_RECIPE), ("unet", 9, SHORT_RECIPE)],
)
def test_stopped_anywhere_and_resumed_the_end_is_bit_equal(
    lab: Lab, tiny: Callable[..., Settings], kind: str, stop_at: int, changes: dict[str, object]
) -> None:
    settings = tiny(**changes)
    vae = lab.create("vae", settings)
    if kind == "unet":
        lab.train(vae)
    quiet, stopped = (lab.create(kind, settings, vae if kind == "unet" else None) for _ in range(2))
    lab.train(quiet)
    seen: list[int] = []
    outcome = lab.train(stopped, lambda: len(seen) + 1 >= stop_at, lambda result: seen.append(result.step))
    assert (outcome.state, outcome.step) == (RunState.STOPPED, stop_at)  # type: ignore[attr-defined]
    assert load_newest(stopped.checkpoints_dir).step == stop_at  # type: ignore[union-attr]
    lab.train(stopped)
    assert final_files(stopped) == final_files(quiet)


def test_a_branch_with_another_optimizer_keeps_the_weights_and_begins_its_moments_anew(
    lab: Lab, tiny: Callable[..., Settings]
) -> None:
    vae = lab.create("vae", tiny(**SHORT_RECIPE))
    lab.train(vae)
    settings = tiny(**{**SHORT_RECIPE, "train_vae.optimizer": "adamw", "train_vae.steps": 30})
    branch = create_branch(lab.store, vae, 24, settings, owner="ana")
    lab.train(branch)
    checkpoint = load_newest(branch.checkpoints_dir)
    assert checkpoint is not None and checkpoint.step == 30
    keys = {name.rpartition("/")[2] for name in checkpoint.tensors("optimizer.safetensors")}
    assert keys == {"exp_avg", "exp_avg_sq", "step"}
    assert logged(branch)[-1]["loss"] < 3 * logged(vae)[-1]["loss"]


def test_a_planted_fault_in_the_optimizer_state_is_seen(lab: Lab, tiny: Callable[..., Settings]) -> None:
    quiet, other = (lab.create("vae", tiny(seed=seed)) for seed in (0, 1))
    lab.train(quiet)
    lab.train(other)
    assert final_files(quiet) != final_files(other)


def test_a_damaged_checkpoint_falls_back_says_so_and_still_ends_bit_equal(
    lab: Lab, tiny: Callable[..., Settings]
) -> None:
    quiet, damaged = lab.create("vae", tiny()), lab.create("vae", tiny())
    lab.train(quiet)
    seen: list[int] = []
    lab.train(damaged, lambda: len(seen) >= 17, lambda result: seen.append(result.step))
    newest = load_newest(damaged.checkpoints_dir)
    assert newest is not None
    weights = newest.folder / "vae" / "diffusion_pytorch_model.safetensors"
    os.truncate(weights, weights.stat().st_size - 1)
    lab.train(damaged)
    assert final_files(damaged) == final_files(quiet)
    words = [event["reason"] for event in damaged.events() if event["event"] == "checkpoint damaged"]
    assert len(words) == 1 and "falling back to step" in words[0]
