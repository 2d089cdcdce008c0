"""Colours by meaning, for light and dark. A line's colour is for graphics (3:1), its text colour for words (4.5:1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ink:
    """One meaning: the colour of its lines, and of words about it."""

    line: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Palette:
    """training: what the optimiser sees. held_out: pictures it never sees. trouble: NaN. event: resumed."""

    training: Ink
    held_out: Ink
    trouble: Ink
    event: Ink


LIGHT = Palette(
    training=Ink(line="#2563EB", text="#1D4ED8"),
    held_out=Ink(line="#D97706", text="#92400E"),
    trouble=Ink(line="#B91C1C", text="#991B1B"),
    event=Ink(line="#7E8896", text="#4B5563"),
)
DARK = Palette(
    training=Ink(line="#6EA0FF", text="#9DC0FF"),
    held_out=Ink(line="#F0A83C", text="#F7C87C"),
    trouble=Ink(line="#F07878", text="#F9A8A8"),
    event=Ink(line="#6B7684", text="#B6BFCB"),
)


def palette(theme: str | None) -> Palette:
    """The colours for a theme type: 'dark', else light."""
    return DARK if theme == "dark" else LIGHT


CATEGORIES_LIGHT = ("#2563EB", "#D97706", "#0D9488", "#CC2A1B", "#9B7DCD", "#883352")
CATEGORIES_DARK = ("#6EA0FF", "#F0A83C", "#2DD4BF", "#DC692E", "#D4EA8D", "#AB7DA7")


def categories(theme: str | None) -> tuple[str, ...]:
    """Six line colours that differ for every kind of vision, first ones first: those of the theme in config.toml."""
    return CATEGORIES_DARK if theme == "dark" else CATEGORIES_LIGHT
