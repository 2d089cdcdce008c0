"""How much of the disk each person uses, and what becomes of those who reach the site's quota."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from core.config.site import SiteSettings
from core.errors import LabError
from core.home import PROGRAM
from core.jobs.disk import run_sizes
from core.runs import trash
from core.runs.store import RunStore
from core.words import size

GIGABYTE = 10**9
NEAR = 0.8  # of the quota, from which on people are told
LARGEST = 3
SMALL = 0.01  # of what a person uses, what is not worth naming


class OverQuota(LabError):
    """A person's runs and trash fill the quota."""


@dataclass(frozen=True, kw_only=True)
class PersonUse:
    """Bytes of a person's runs and of their part of the trash. old_checkpoints: of the runs' bytes, those of all
    checkpoints but each run's newest. largest: (run id, bytes), the largest first. quota: 0 for none."""

    person: str
    runs: int
    trash: int
    old_checkpoints: int
    largest: tuple[tuple[str, int], ...]
    quota: int

    @property
    def total(self) -> int:
        """All that counts."""
        return self.runs + self.trash

    @property
    def is_near(self) -> bool:
        """Whether the person should know."""
        return bool(self.quota) and self.total >= NEAR * self.quota

    @property
    def is_over(self) -> bool:
        """Whether nothing new starts."""
        return bool(self.quota) and self.total >= self.quota

    @property
    def in_words(self) -> str:
        """'ana uses 8.2 GB of a quota of 10 GB (trash 1.2 GB)'."""
        of = f" of a quota of {size(self.quota)}" if self.quota else ""
        return f"{self.person} uses {size(self.total)}{of}" + (f" (trash {size(self.trash)})" if self.trash else "")

    @property
    def what_to_remove(self) -> str:
        """'old checkpoints (3.1 GB), the trash (1.2 GB) or a run: … (2 GB)'; '' when there is nothing."""
        parts = [f"{words} ({size(bytes)})" for words, bytes in self._removable() if bytes > SMALL * self.total]
        return " or ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))

    def _removable(self) -> Iterator[tuple[str, int]]:
        yield "old checkpoints", self.old_checkpoints
        yield "the trash", self.trash
        yield from ((f"run {run_id}", bytes) for run_id, bytes in self.largest)


def use_by_person(store: RunStore, site: SiteSettings) -> list[PersonUse]:
    """What each person uses, whoever uses most first. Runs that have not changed are not walked again."""
    owners = {run.id: site.account_of(run.info.owner) for run in store.list()}
    runs, old, trashed = Counter[str](), Counter[str](), Counter[str]()
    sizes = sorted((each for each in run_sizes(store) if each.run_id in owners), key=lambda each: -each.total_bytes)
    for each in sizes:
        runs[owners[each.run_id]] += each.total_bytes
        old[owners[each.run_id]] += sum(bytes for _, bytes in each.checkpoints[:-1])
    for deleted in trash.list_trash(store, keep_days=site.trash_days):
        trashed[site.account_of(deleted.owner)] += deleted.size_bytes
    found = [
        PersonUse(
            person=person or "nobody",
            runs=runs[person],
            trash=trashed[person],
            old_checkpoints=old[person],
            largest=tuple((each.run_id, each.total_bytes) for each in sizes if owners[each.run_id] == person)[:LARGEST],
            quota=int(site.disk_quota_gb * GIGABYTE),
        )
        for person in {*runs, *trashed}
    ]
    return sorted(found, key=lambda use: -use.total)


def use_of(store: RunStore, site: SiteSettings, owner: str) -> PersonUse | None:
    """Of one person; None without a quota, or where nothing is theirs."""
    if not site.disk_quota_gb:
        return None
    person = site.account_of(owner)
    return next((use for use in use_by_person(store, site) if use.person == person), None)


def refuse_over_quota(store: RunStore, site: SiteSettings, owner: str) -> None:
    """Raises OverQuota where the person's runs and trash fill the quota."""
    use = use_of(store, site, owner)
    if use is not None and use.is_over:
        raise OverQuota(
            f"disk: {use.in_words}: no new run starts",
            f"remove {use.what_to_remove}: on Machine, or with {PROGRAM} delete RUN --now",
        )
