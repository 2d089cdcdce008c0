"""The theme and the network defaults, read as Streamlit reads them."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.widgets.palette import DARK, LIGHT, Palette

LAB = Path(__file__).resolve().parents[2] / "lab"
CONFIG: dict[str, Any] = tomllib.loads((LAB / ".streamlit" / "config.toml").read_text())
THEMES = ("light", "dark")
COLORS = ("blue", "orange", "violet", "green", "red", "gray")
# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(color: str) -> np.ndarray:
    values = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    dark, light = sorted(float(linear(color) @ [0.2126, 0.7152, 0.0722]) for color in (first, second))
    return (light + 0.05) / (dark + 0.05)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Björn Ottosson's OKLab: equal distances look equally different."""
    to_lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.array(to_lab) @ np.cbrt(np.array(to_lms) @ np.clip(rgb, 0, 1))


def least_difference(colors: list[str], vision: str) -> float:
    seen = [oklab(np.array(VISION[vision]) @ linear(color)) for color in colors]
    return min(float(np.linalg.norm(first - second)) for first, second in itertools.combinations(seen, 2))


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", ["backgroundColor", "secondaryBackgroundColor"])
@pytest.mark.parametrize("ink", ["textColor", "linkColor", *(f"{color}TextColor" for color in COLORS)])
def test_words_are_readable(theme: str, ground: str, ink: str) -> None:
    assert contrast(CONFIG["theme"][theme][ink], CONFIG["theme"][theme][ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("color", COLORS)
def test_badges_are_readable(theme: str, color: str) -> None:
    section = CONFIG["theme"][theme]
    assert contrast(section[f"{color}TextColor"], section[f"{color}BackgroundColor"]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_white_words_on_the_accent_are_readable(theme: str) -> None:
    assert contrast("#FFFFFF", CONFIG["theme"][theme]["primaryColor"]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_the_accent_stands_out_from_the_ground(theme: str) -> None:
    assert contrast(CONFIG["theme"][theme]["backgroundColor"], CONFIG["theme"][theme]["primaryColor"]) >= 3


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("place", range(10))
def test_lines_of_every_category_stand_out_from_the_ground(theme: str, place: int) -> None:
    section = CONFIG["theme"][theme]
    assert contrast(section["chartCategoricalColors"][place], section["backgroundColor"]) >= 3


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", VISION)
def test_ten_categories_differ_for_every_kind_of_vision(theme: str, vision: str) -> None:
    colors = CONFIG["theme"][theme]["chartCategoricalColors"]
    assert len(colors) == 10
    assert least_difference(colors, vision) > 0.06


def test_colours_that_look_the_same_to_some_are_caught() -> None:
    assert (
        least_difference(["#2563EB", "#7C3AED"], "protan") < 0.06 < least_difference(["#2563EB", "#7C3AED"], "normal")
    )


@pytest.mark.parametrize(("palette", "theme"), [(LIGHT, "light"), (DARK, "dark")])
@pytest.mark.parametrize("meaning", ["training", "held_out", "trouble", "event"])
def test_curves_and_their_labels_are_readable(palette: Palette, theme: str, meaning: str) -> None:
    ink, ground = getattr(palette, meaning), CONFIG["theme"][theme]["backgroundColor"]
    assert contrast(ink.text, ground) >= 4.5
    assert contrast(ink.line, ground) >= 3


IN_PAIRS = {"app.css", "app_dark.css", "palette.py", "latent_colors.py", "map.py", "views_chart.py"}
SOURCES = [path for kind in ("py", "js", "css", "html") for path in sorted(LAB.rglob(f"*.{kind}"))]
GROUNDS = [CONFIG["theme"][theme]["backgroundColor"] for theme in THEMES]


def fixed_colors(text: str) -> set[str]:
    """Colors of a source that are the same in both themes: those of `one if … == "dark" else other` are a pair."""
    alone = re.sub(r'"#\w{6}" if [^\n]* else "#\w{6}"', "", text)
    return set(re.findall(r"#[0-9A-Fa-f]{6}\b", alone))


def is_seen(color: str) -> bool:
    return all(contrast(color, ground) >= 3 for ground in GROUNDS)


def test_a_color_that_knows_no_theme_stands_out_in_both() -> None:
    found = {
        f"{path.relative_to(LAB)}: {color}"
        for path in SOURCES
        if path.name not in IN_PAIRS
        for color in fixed_colors(path.read_text())
        if not is_seen(color)
    }
    assert found == set()
    assert not is_seen(*fixed_colors("stroke: #1D4ED8"))


def faint_words(style: str) -> list[float]:
    """Opacities of what a style draws, but of disabled buttons, and of lines, which are no words."""
    rules = re.findall(r"([^{}]*)\{([^{}]*)\}", style)
    drawn = [body for names, body in rules if not re.search(r":disabled| path| line|::|stale", names)]
    return [float(found) for body in drawn for found in re.findall(r"(?<!-)\bopacity: (0?\.\d+)", body)]


def blended(ink: str, ground: str, opacity: float) -> str:
    pairs = [(int(ink[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(opacity * over + (1 - opacity) * under):02X}" for over, under in pairs)


@pytest.mark.parametrize("theme", THEMES)
def test_words_that_a_style_makes_faint_are_readable(theme: str) -> None:
    section = CONFIG["theme"][theme]
    opacities = {value for path in SOURCES for value in faint_words(path.read_text()) if path.suffix == ".css"}
    assert opacities
    for opacity in sorted(opacities):
        for ground in (section["backgroundColor"], section["secondaryBackgroundColor"]):
            assert contrast(blended(section["textColor"], ground, opacity), ground) >= 4.5, opacity
    assert contrast(blended(section["textColor"], section["backgroundColor"], 0.45), section["backgroundColor"]) < 4.5


@pytest.mark.parametrize("style", ["app.css", "app_dark.css"])
@pytest.mark.parametrize("ink", ["note", "link", "ink", "focus"])
def test_notes_and_links_of_the_frame_are_readable(style: str, ink: str) -> None:
    named = dict(re.findall(r"--lab-(\w+): (#\w{6})", (LAB / "frame" / style).read_text()))
    assert min(contrast(named[ink], named[ground]) for ground in ("ground", "soft")) >= 4.5


@pytest.mark.parametrize("palette", [LIGHT, DARK])
@pytest.mark.parametrize("vision", VISION)
def test_training_and_held_out_differ_for_every_kind_of_vision(palette: Palette, vision: str) -> None:
    assert least_difference([palette.training.line, palette.held_out.line], vision) > 0.06


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("server", "address", "127.0.0.1"),
        ("browser", "gatherUsageStats", False),
        ("runner", "magicEnabled", False),
        ("runner", "postScriptGC", False),
        ("client", "showErrorDetails", "none"),
    ],
)
def test_the_server_is_private_quiet_and_quick_by_default(section: str, name: str, value: object) -> None:
    assert CONFIG[section][name] == value
