"""What published datasets hold, for a screen. A path that somebody typed is read by a limited process instead."""

from __future__ import annotations

from core.compute.question import Tell
from core.config.schema import DataSettings
from core.config.site import SiteSettings
from core.data.overview import described_folder


def describe(tell: Tell, data: DataSettings, site: SiteSettings) -> None:
    """Keep the overview of a dataset that is on this machine. Raises DataUnavailable, StorageFull."""

    def report(stage: str, fraction: float) -> None:
        tell(stage.capitalize(), fraction)

    described_folder(data, data_dir=site.data, cache_dir=site.cache, report=report)
