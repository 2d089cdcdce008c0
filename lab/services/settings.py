"""What config.yaml says now, of an experiment and of this installation, read again only when it has changed."""

from __future__ import annotations

from functools import lru_cache

from core.config.load import load_config, read_site
from core.config.schema import Settings
from core.config.site import SiteSettings
from core.errors import ConfigError
from core.home import config_file


def current_settings() -> Settings:
    """What a run started now without a preset would use. Raises ConfigError."""
    return _read(config_file().stat().st_mtime_ns)


def current_site() -> SiteSettings:
    """Slots, trash, webhook and folders of this installation. Raises ConfigError."""
    site, problem = read_site()
    if problem:
        raise ConfigError(problem)
    return site


@lru_cache(maxsize=8)
def _read(changed_at: int) -> Settings:
    return load_config()
