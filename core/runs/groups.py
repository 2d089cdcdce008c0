"""Groups: runs that differ only in their seed, found by themselves from what decides their weights.

A group is a record and not a run. Nothing of it is stored: its key follows from the frozen settings of the kind's own
training, from the rules that decide numbers, and from the recipes of its parents. Settings of sampling, evaluation,
logging and machine do not count, but for the precision. config.yaml is compared as the text that `dump_settings` wrote,
entry by entry, because reading 2,000 of them as YAML would take 20 s.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import yaml

from core import reading
from core.bounded_cache import BoundedCache
from core.config.frozen import BEFORE
from core.config.strict_yaml import parse_yaml
from core.errors import RunNotFound, UsageError, quoted
from core.home import PROGRAM
from core.rules import PREFIX
from core.runs.run import Run
from core.runs.store import RunStore

GROUP = "group:"  # begins the name of a group in links and commands
SWEEP = "sweep:"  # the same of a sweep, all runs that were started as one
KEY_CHARACTERS = 12
MOST_PARENTS = 8
MOST_KEPT = 5_000
_SECTION = re.compile(r"^(\w+):", re.MULTILINE)
_ENTRY = re.compile(r"^  (\w+):", re.MULTILINE)
_SEED = re.compile(r"^seed: (\d{1,10})\s*$", re.MULTILINE)
_kept: BoundedCache[str, tuple[reading.Stamp, tuple[str, int]]] = BoundedCache(max_count=MOST_KEPT)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs of one recipe, newest first. key: names the recipe."""

    key: str
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """As links and commands name it."""
        return GROUP + self.key

    @property
    def title(self) -> str:
        """What the names of its runs begin with alike, else the title of the newest; not escaped."""
        return common_title([run.info.name for run in self.runs]) or self.runs[0].title


def common_title(names: Iterable[str]) -> str:
    """What all names begin with, without a rest such as ', seed'; '' for less than three characters."""
    known = list(names)
    first, last = min(known), max(known)
    length = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    if length == len(last) or length == len(first):
        return first[:length].strip()
    found = re.sub(r"[\W_]*(seed)?[\W_]*\d*$", "", first[:length], flags=re.IGNORECASE)
    return found if len(found) >= 3 else ""


def recipe_key(run: Run) -> str:
    """Names everything that decides the weights of a training but its seed; '' for a run that trains nothing or whose
    settings cannot be read."""
    return _key(run, MOST_PARENTS)


def seed_of(run: Run) -> int:
    """The seed that a training froze. Raises UsageError when its settings cannot be read."""
    found = _recipe_and_seed(run)
    if found is None:
        raise UsageError(f"{run.id}: its frozen settings cannot be read, so its seed is not known")
    return found[1]


def training_of(run: Run) -> tuple[str, ...]:
    """What tells a training from another of its recipe: its seed and those of its parents. Runs that agree in it have
    the same weights, and say no more than one of them."""
    found: list[str] = []
    known = run
    for _ in range(MOST_PARENTS):
        parts = _recipe_and_seed(known)
        found.append(known.id if parts is None else str(parts[1]))
        if not known.info.parents:
            break
        known = Run(known.folder.parent / known.info.parents[0])
        if not _is_there(known):
            found.append(known.id)
            break
    return tuple(found)


def groups_among(runs: Iterable[Run]) -> list[Group]:
    """Every recipe of these runs with its runs, in their order; recipes of one run too."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        if key := recipe_key(run):
            members.setdefault(key, []).append(run)
    return [Group(key=key, runs=tuple(found)) for key, found in members.items()]


def group_named(store: RunStore, name: str) -> Group:
    """The group 'group:KEY' (or a beginning of the key), or 'group:RUN', the one that a run belongs to.

    Raises RunNotFound, UsageError for a run that trains nothing.
    """
    text = name.removeprefix(GROUP)
    listed = store.list()
    if re.fullmatch(rf"[0-9a-f]{{4,{KEY_CHARACTERS}}}", text):
        fitting = [group for group in groups_among(listed) if group.key.startswith(text)]
        if len(fitting) == 1:
            return fitting[0]
    run = store.get(text)
    key = recipe_key(run)
    if not key:
        raise UsageError(f"{run.id}: is a {run.kind.noun} and has no group", f"name a training; see {PROGRAM} runs")
    return Group(key=key, runs=tuple(each for each in listed if recipe_key(each) == key))


def runs_of_sweep(store: RunStore, name: str) -> list[Run]:
    """The runs of 'sweep:ID', newest first. Raises RunNotFound."""
    sweep = name.removeprefix(SWEEP)
    found = [run for run in store.list() if sweep and run.info.sweep == sweep]
    if not found:
        raise RunNotFound(f"sweep '{quoted(sweep, 60)}' has no runs", f"list the runs: {PROGRAM} runs")
    return found


def _key(run: Run, generations: int) -> str:
    if not run.kind.trains:
        return ""
    found = _recipe_and_seed(run)
    if found is None:
        return ""
    parts = [run.info.kind, found[0]]
    parts += sorted(f"{name}={value}" for name, value in run.info.versions.items() if name.startswith(PREFIX))
    if run.info.branched_from:
        parts.append(f"branched {run.info.branched_from} {run.info.branched_step}")
    for parent_id in run.info.parents:
        parent = Run(run.folder.parent / parent_id)
        parts.append((_is_there(parent) and generations and _key(parent, generations - 1)) or parent_id)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:KEY_CHARACTERS]


def _is_there(run: Run) -> bool:
    if "/" in run.id or not (run.folder / "run.json").is_file():
        return False
    try:
        return bool(run.info)
    except RunNotFound:
        return False


def _recipe_and_seed(run: Run) -> tuple[str, int] | None:
    """(digest of the entries that decide the weights, the seed); None when they cannot be read."""
    stamp, key = reading.stamp_of(run.config_path), str(run.config_path)
    kept = _kept.get(key)
    if kept is not None and kept[0] == stamp:
        return kept[1]
    try:
        text = reading.read_text(run.config_path)
    except (OSError, reading.Unreadable):
        return None
    wanted = {"data", "vae", run.kind.section} | ({"diffusion", "unet"} if run.kind.generates else set())
    before = _entries_before()
    lines = sorted(
        f"{name}:{value}"
        for name, value in _entries(text).items()
        if (name.partition(".")[0] in wanted or name == "machine.mixed_precision") and before.get(name) != value
    )
    seed = _SEED.search(text)
    found = hashlib.sha256("\n".join(lines).encode()).hexdigest(), int(seed[1]) if seed else 0
    _kept.put(key, (stamp, found))
    return found


def _entries(text: str) -> Mapping[str, str]:
    """Each setting's text by its dotted name, of YAML as `dump_settings` writes it."""
    found: dict[str, str] = {}
    for section, block in _split(_SECTION, text):
        for name, value in _split(_ENTRY, block):
            found[f"{section}.{name}"] = value.strip()
    return found


def _split(pattern: re.Pattern[str], text: str) -> list[tuple[str, str]]:
    _, *parts = pattern.split(text)
    return list(zip(parts[::2], parts[1::2], strict=True))


@lru_cache(maxsize=1)
def _entries_before() -> Mapping[str, str]:
    """What a setting that is missing means: an entry that says the same is no difference."""
    return _entries(yaml.safe_dump(parse_yaml(BEFORE.read_text(), BEFORE.name), sort_keys=False, width=100))
