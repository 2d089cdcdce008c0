from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from core.config.schema import Settings
from core.errors import RunNotFound, UsageError
from core.runs.groups import group_named, groups_among, recipe_key, seed_of, training_of
from core.runs.run import Run
from core.runs.store import RunStore
from tests.models import tiny_settings


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def another(run: Run, ending: str, **changes: object) -> Run:
    """A copy of a run under another id, as somebody else made it; changes: dotted settings, None leaves one out."""
    copy = run.folder.with_name(f"{run.id[:-4]}{ending}")
    shutil.copytree(run.folder, copy)
    info = (copy / "run.json").read_text().replace(run.id, copy.name).replace('"name": ""', f'"name": "{ending}"')
    (copy / "run.json").write_text(info)
    values = yaml.safe_load((copy / "config.yaml").read_text())
    for name, value in changes.items():
        section, _, key = name.replace("__", ".").rpartition(".")
        where = values[section] if section else values
        if value is None:
            del where[key]
        else:
            where[key] = value
    (copy / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False, width=100))
    return Run(copy)


@pytest.fixture
def unet(store: RunStore) -> Run:
    return store.create("unet", tiny_settings(), owner="ana")


def test_runs_that_differ_in_their_seed_are_one_group(store: RunStore, unet: Run) -> None:
    second = another(unet, "aaaa", seed=1)
    wider = another(unet, "bbbb", unet__block_out_channels=[8, 24])
    (group, other) = groups_among([unet, second, wider])
    assert group.runs == (unet, second) and other.runs == (wider,)
    assert [seed_of(run) for run in group.runs] == [0, 1]
    assert group_named(store, f"group:{second.id}").key == group.key
    assert group_named(store, group.name).key == group.key == group_named(store, group.name[:12]).key


@pytest.mark.parametrize(
    "change",
    [
        {"sampling__num_inference_steps": 3},
        {"logging__log_every_steps": 7},
        {"machine__device": "auto"},
        {"train_vae__steps": 5},  # its VAE is its parent's
        {"vae__zero_init": None},  # a setting that came later, left at what the lab did before
    ],
)
def test_what_decides_no_weights_is_no_difference(unet: Run, change: dict[str, object]) -> None:
    assert recipe_key(another(unet, "aaaa", **change)) == recipe_key(unet)


@pytest.mark.parametrize(
    "change",
    [
        {"train_unet__steps": 31},
        {"data__image_size": 8},
        {"machine__mixed_precision": "bf16"},
        {"diffusion__cond_drop_prob": 0.2},
    ],
)
def test_what_decides_weights_is_another_recipe(unet: Run, change: dict[str, object]) -> None:
    assert recipe_key(another(unet, "aaaa", **change)) != recipe_key(unet)


def test_vaes_of_other_seeds_do_not_part_their_unets(store: RunStore) -> None:
    vaes = [store.create("vae", tiny_settings(seed=seed)) for seed in (0, 1)]
    longer = store.create("vae", tiny_settings(**{"train_vae.steps": 48}))
    first, second, third = (store.create("unet", tiny_settings(), parents=(vae.id,)) for vae in (*vaes, longer))
    assert recipe_key(first) == recipe_key(second) != recipe_key(third)
    assert training_of(first) == ("0", "0") and training_of(second) == ("0", "1")


def test_a_branch_is_another_recipe(store: RunStore, unet: Run) -> None:
    branch = store.create("unet", tiny_settings(), branched_from=unet.id, branched_step=8)
    assert recipe_key(branch) != recipe_key(unet)


def test_what_is_no_training_or_cannot_be_read_has_no_group(store: RunStore, unet: Run) -> None:
    job = store.create("evaluation", Settings(), parents=(unet.id,), steps_total=1)
    assert recipe_key(job) == ""
    with pytest.raises(UsageError, match="has no group"):
        group_named(store, f"group:{job.id}")
    with pytest.raises(RunNotFound):
        group_named(store, "group:../../etc")
    broken = another(unet, "aaaa")
    broken.config_path.unlink()
    assert recipe_key(broken) == ""


def test_two_thousand_runs_are_grouped_without_reading_yaml(
    store: RunStore, unet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe_key(unet)  # what settings meant before is YAML, and is read once
    monkeypatch.setattr(yaml, "load", lambda *_, **__: pytest.fail("reads YAML"))
    text = unet.config_path.read_text()
    made = []
    for number in range(2000):
        folder = store.root / f"20260101-000000-unet-{number:04d}"
        folder.mkdir()
        (folder / "run.json").write_text((unet.folder / "run.json").read_text().replace(unet.id, folder.name))
        (folder / "config.yaml").write_text(text.replace("seed: 0\n", f"seed: {number % 40}\n", 1))
        made.append(Run(folder))
    (group,) = groups_among(made)
    assert len(group.runs) == 2000
    made[0].config_path.unlink()
    assert len(groups_among(made)[0].runs) == 1999  # what has changed is read again
