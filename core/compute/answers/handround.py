"""Reports of runs that a screen asks for."""

from __future__ import annotations

from core.compute.question import Tell
from core.config.site import SiteSettings
from core.handround.report import report_html
from core.runs.store import RunStore


def report(tell: Tell, run_ids: tuple[str, ...], site: SiteSettings) -> bytes:
    """The HTML file of these runs. Raises a LabError."""
    store = RunStore(site.runs)
    return report_html(store, [store.get(each) for each in run_ids], progress=tell)
