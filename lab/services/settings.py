"""The settings that config.yaml and the environment name, read again only when one of them has changed."""

from __future__ import annotations

import os
from functools import lru_cache

from core.config.load import ENVIRONMENT, load_config
from core.config.schema import Settings, project_root


def current_settings() -> Settings:
    """What a run started now without a preset would use. Raises ConfigError."""
    changed_at = (project_root() / "config.yaml").stat().st_mtime_ns
    return _read(changed_at, tuple(os.environ.get(name, "") for name in ENVIRONMENT))


@lru_cache(maxsize=8)
def _read(changed_at: int, environment: tuple[str, ...]) -> Settings:
    return load_config()
