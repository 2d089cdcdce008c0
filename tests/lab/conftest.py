"""Parts of screens are drawn as pages are."""

from __future__ import annotations

from tests.pages.conftest import no_installed_components

__all__ = ["no_installed_components"]
