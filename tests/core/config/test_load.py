"""Reading settings: what is refused, in which words, and that nothing is repaired silently."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.config.frozen import BEFORE
from core.config.load import (
    BY_NAME_ONLY,
    Configuration,
    differences,
    load_config,
    load_preset,
    preset_names,
    rules_of_preset,
)
from core.config.schema import Settings, field_rows
from core.config.strict_yaml import parse_yaml
from core.errors import ConfigError
from core.home import code_root
from core.rules import NEWEST


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("")
    return path


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train_unet.learning_rte=1", "train_unet.learning_rte: no such setting; did you mean learning_rate?"),
        ("learning_rate=1", "learning_rate: no such setting; did you mean train_vae.learning_rate?"),
        ("trian_unet.steps=1", "trian_unet: no such setting; did you mean train_unet?"),
        ("train_unet.learning_rate=5", "train_unet.learning_rate: should be less than or equal to 1, got 5"),
        ("train_vae.steps=0", "train_vae.steps: should be greater than or equal to 1, got 0"),
        ("train_vae.steps=1.5", "train_vae.steps: should be a valid integer, got 1.5"),
        ("seed=true", "seed: should be a valid integer, got True"),
        ("train_vae.learning_rate=.inf", "train_vae.learning_rate: should be a finite number, got inf"),
        ("train_vae.learning_rate=.nan", "train_vae.learning_rate: should be a finite number, got nan"),
        ("data=3", "data: expected a section with settings, got 3"),
        ("data.image_size=30", "data.image_size: should be a multiple of 8, got 30"),
        ("machine.device=tpu", "machine.device: string should match pattern"),
        ("data.name=image_folder", "data.path: the dataset 'image_folder' needs a path"),
        ("diffusion.schedule=cosine", "'flow' with schedule 'cosine' is impossible"),
        ("sampling.sampler=ddpm", "'ddpm' cannot sample flow matching"),
        ("unet.attention_levels=[2]", "level 2 does not exist"),
        ("unet.norm_num_groups=7", "7 does not divide the width 32"),
        ("vae.block_out_channels=[8, 8, 8, 8, 8, 8]", "2 levels need a latent side divisible by 2, got 1"),
        ("train_unet.gradient_accumulation_steps=3", "3 does not divide batch_size 128"),
        ("nonsense", "expected section.key=value"),
        ("site.cpu_slots=0", "site.cpu_slots: should be greater than or equal to 1, got 0"),
        ("cpu_slots=2", "cpu_slots: no such setting; did you mean site.cpu_slots?"),
        ("site.cache= ", "site.cache: should name a folder, got None"),
        ("paths.rnus=x", "site.rnus: no such setting; did you mean runs?"),
        ("paths=3", "paths: expected a section with settings"),
        ("site=3", "site: expected a section with settings, got 3"),
    ],
)
def test_a_wrong_setting_is_one_sentence(empty: Path, override: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(empty, overrides=[override])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_attention_needs_a_width_that_one_head_fills(empty: Path) -> None:
    narrow = ["unet.block_out_channels=[16, 4]", "unet.norm_num_groups=4"]
    load_config(empty, overrides=narrow)
    with pytest.raises(ConfigError, match="level 1 carries attention and needs a width of at least 8, got 4"):
        load_config(empty, overrides=[*narrow, "unet.attention_levels=[0]"])  # and so does the middle


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: &x 1\nb: *x", "anchors and aliases"),
        ("a: *x", "anchors and aliases"),
        ("a: 1\na: 2", "'a' is given twice"),
        ("<<: {a: 1}", "not valid YAML"),
        ("a: " + "[" * 9 + "]" * 9, "nested deeper than 8"),
        ("a: " + "[" * 5000, "nested deeper than 8"),
        ("a: [", "not valid YAML"),
        ("1: 2", "must be text"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("a: " + "x" * 300_000, "larger than 256 KiB"),
    ],
)
def test_hostile_yaml_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("1.0e-4", 1e-4), ("-2E3", -2e3), ("3", 3), ("e4", "e4")])
def test_numbers_in_exponent_notation_are_numbers(text: str, value: object) -> None:
    assert parse_yaml(f"a: {text}") == {"a": value}


def test_what_was_read_may_be_changed_and_the_same_text_is_read_as_it_stands() -> None:
    parse_yaml("a: {b: [1]}")["a"]["b"].append(2)
    assert parse_yaml("a: {b: [1]}") == {"a": {"b": [1]}}


def test_config_yaml_holds_every_setting_with_its_default() -> None:
    values = parse_yaml((code_root() / "config.yaml").read_text())
    assert load_config() == Settings()
    for name, _ in field_rows(Configuration):
        section = values
        for part in name.split("."):
            assert part in section, f"{name} is missing from config.yaml"
            section = section[part]


def test_every_setting_is_described() -> None:
    assert [name for name, info in field_rows(Configuration) if not info.description] == []


@pytest.mark.parametrize("preset", ["quick", "minute", "color", "standard", "reference"])
def test_presets_load(preset: str) -> None:
    assert preset in preset_names()
    assert load_config(preset=preset) != Settings() or preset == "quick"


def test_the_default_experiment_is_the_quick_preset() -> None:
    assert load_config(preset="quick") == load_config()


def test_the_quick_preset_of_november_2026_is_pinned_whole() -> None:
    """Its values are those that a setting had before it could be set, whatever today's defaults are."""
    before = parse_yaml(BEFORE.read_text())
    pinned = load_preset("quick-2026-11")
    for section in ("vae", "unet", "diffusion", "train_vae", "train_unet", "sampling"):
        assert pinned[section] == before[section]
    assert {"image_size", "fit", "color", "holdout_fraction"} == set(pinned["data"])
    assert pinned["data"].items() <= before["data"].items()
    assert rules_of_preset("quick-2026-11") == replace(NEWEST, noise=1, split=1)
    assert rules_of_preset("quick") == rules_of_preset("") == NEWEST


@pytest.mark.parametrize("preset", BY_NAME_ONLY)
def test_presets_by_name_load_and_are_not_offered(preset: str) -> None:
    assert load_config(preset=preset).train_unet.steps > 0
    assert preset not in preset_names()


def test_an_unknown_preset_names_the_likely_one() -> None:
    with pytest.raises(ConfigError, match="did you mean quick"):
        load_preset("quik")


def test_later_wins_file_preset_override(empty: Path) -> None:
    empty.write_text("train_unet: {steps: 7}\nseed: 3\n")
    settings = load_config(empty, preset="quick", overrides=["seed=5"])
    assert (settings.train_unet.steps, settings.seed) == (1700, 5)


@pytest.mark.parametrize("spelling", ["gray", "grey"])
def test_grey_is_gray(spelling: str, empty: Path) -> None:
    assert load_config(empty, overrides=[f"data.color={spelling}"]).data.color == "gray"


def test_differences_are_named(empty: Path) -> None:
    changed = load_config(empty, overrides=["seed=4", "data.name=digits"])
    assert differences(Settings(), changed) == [("seed", 0, 4), ("data.name", "mnist", "digits")]


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "seed: [" + "1," * 120_000 + "]",
        "seed:\n" + "- 1\n" * 60_000,
        "seed: {" + ", ".join(f"k{number}: 1" for number in range(18_000)) + "}",
        "seed: 1" + ":1" * 100_000,  # a number of base 60, which takes the square of its length
        "? " + "x" * 200_000,
    ],
    ids=["one line", "a line each", "names", "base 60", "one name"],
)
def test_endless_values_are_refused_before_they_are_all_read(text: str) -> None:
    """A list of 240 kB took minutes. Counted in function calls, which are the same on every machine."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        with pytest.raises(ConfigError, match=r"more than 2,000 values|a value of \d+,\d+ characters"):
            parse_yaml(text)
    finally:
        sys.setprofile(None)
    assert calls < 1_500_000
