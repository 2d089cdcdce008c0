"""The settings of old and of newer runs: what is read, what is refused, and what a missing setting means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import create_model

from core.config.frozen import BEFORE, dump_settings, frozen_from, read_frozen
from core.config.load import FORMAT, differences, load_config
from core.config.schema import Settings, TrainUnetSettings, field_rows
from core.config.strict_yaml import parse_yaml
from core.errors import ConfigError, LabError
from core.runs.listing import run_details
from core.runs.run import Run
from core.runs.store import RunStore

OF_THE_SITE = {"machine": {"cpu_slots": 4, "webhook_url": "https://hooks.example/secret"}, "paths": {"runs": "/old"}}


def test_frozen_settings_read_back_the_same(tmp_path: Path) -> None:
    settings = load_config(preset="standard", overrides=["data.path=null"])
    path = tmp_path / "config.yaml"
    path.write_text(dump_settings(settings))
    assert read_frozen(path).to_act_on() == read_frozen(path).shown == settings == load_config(path)
    assert differences(settings, settings) == []


def test_what_belonged_to_the_site_is_read_and_ignored() -> None:
    found = frozen_from({"seed": 3, **OF_THE_SITE}).to_act_on()
    assert found.seed == 3
    assert "secret" not in dump_settings(found)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"train_unet": {"curriculum": "easy"}},
            "newer version of the lab: train_unet.curriculum is not known here",
        ),
        ({"distillation": {"steps": 2}}, "made by a newer version of the lab: distillation is not known here"),
        ({"format": FORMAT + 1}, f"made by a newer version of the lab (format {FORMAT + 1}; this one knows {FORMAT})"),
    ],
)
def test_what_is_not_known_here_is_shown_without_it_and_refused_for_acting(
    values: dict[str, Any], sentence: str
) -> None:
    found = frozen_from({"seed": 3, **values})
    assert found.shown.seed == 3
    assert sentence in found.flaw
    with pytest.raises(ConfigError) as caught:
        found.to_act_on()
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- 1", "expected sections with settings, got list"),
        ("format: two", "format: expected a whole number from 1, got two"),
        ("format: true", "format: expected a whole number from 1, got True"),
        ("train_vae: {steps: 0}", "train_vae.steps: should be greater than or equal to 1"),
        ("train_vae: 3", "train_vae: expected a section with settings, got 3"),
    ],
)
def test_a_damaged_file_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        frozen_from(parse_yaml(text))
    assert sentence in str(caught.value)


def missing_before(before: dict[str, Any], section: type) -> list[str]:
    """Settings for which the table does not say what held before they existed."""
    missing = []
    for name, _ in field_rows(section):
        value: Any = before
        for part in name.split("."):
            value = value.get(part, missing) if isinstance(value, dict) else missing
        if value is missing:
            missing.append(name)
    return missing


def test_every_setting_says_what_held_before_it_existed() -> None:
    assert missing_before(parse_yaml(BEFORE.read_text()), Settings) == []


def test_a_planted_setting_that_does_not_say_it_is_found() -> None:
    newer = create_model("Newer", __base__=TrainUnetSettings, curriculum=(str, "easy"))
    planted = create_model("Planted", __base__=Settings, train_unet=(newer, newer()))
    assert missing_before(parse_yaml(BEFORE.read_text()), planted) == ["train_unet.curriculum"]


def test_an_old_run_keeps_the_meaning_that_a_missing_setting_had() -> None:
    """whatever today's default is: the table goes before it."""
    before = parse_yaml(BEFORE.read_text())
    before["train_unet"]["ema_decay"] = 0.5
    assert Settings().train_unet.ema_decay != 0.5
    assert frozen_from({"seed": 1}, before).shown.train_unet.ema_decay == 0.5
    assert frozen_from({"train_unet": {"ema_decay": 0.9}}, before).shown.train_unet.ema_decay == 0.9
    assert frozen_from({"seed": 1}).shown.machine.cuda_graphs is False


def test_a_run_with_a_newer_setting_is_shown_with_its_name_and_not_acted_on(tmp_path: Path) -> None:
    run = RunStore(tmp_path).create("vae", Settings())
    run.config_path.write_text(run.config_path.read_text() + "distillation: {steps: 2}\n")
    sentence = "made by a newer version of the lab: distillation is not known here"
    details = run_details(Run(run.folder), run.status())
    assert (details["problem"], details["settings"]["seed"]) == (sentence, 0)
    with pytest.raises(LabError, match=sentence):
        _ = Run(run.folder).settings
