"""The images that a question is about, as they are on this machine."""

from __future__ import annotations

from core.config.schema import DataSettings
from core.config.site import SiteSettings
from core.data.arrays import ImageSet, Progress, prepare
from core.rules import NEWEST, Rules


def images_here(
    data: DataSettings, site: SiteSettings, rules: Rules = NEWEST, progress: Progress | None = None
) -> ImageSet:
    """Of these settings, read as `rules` say; nothing is downloaded. Raises what `prepare` raises."""
    data = data.model_copy(update={"download": False})
    return prepare(data, data_dir=site.data, cache_dir=site.cache, rules=rules, progress=progress)
