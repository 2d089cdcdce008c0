"""What runs took of memory at their peak: it corrects what the next run of the same shape is expected to take.

A small file per shape in the cache, the newest few runs in each. Losing it only loses the correction.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from core import atomic, reading
from core.config.schema import Settings
from core.errors import LabError
from core.runs.kinds import Kind
from core.values import Count
from core.words import counted

logger = logging.getLogger(__name__)

FOLDER = "memory"
KEPT = 5  # runs of one shape
LOOKED_AT = 50  # shapes, for how well predictions fit
TRAINING = {"batch_size", "gradient_accumulation_steps", "optimizer"}  # of a training, what decides its memory
MACHINE = {"num_threads", "num_processes", "mixed_precision", "cuda_graphs"}
LOGGING = {"validation_images", "preview_images"}


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Bytes that a finished run took at its peak, and that the formulas said before. host: of the machine's memory, all
    processes together. gpu: of each GPU, 0 on the CPU."""

    host: Count
    predicted_host: Count
    gpu: Count = 0
    predicted_gpu: Count = 0

    @property
    def error(self) -> float:
        """By how much of what it took the formulas said too much: 0.1 is 10 %; negative: too little."""
        return self.predicted_gpu / self.gpu - 1 if self.gpu else self.predicted_host / max(1, self.host) - 1


def shape_of(settings: Settings, kind: Kind, *, on_gpu: bool) -> str:
    """Runs of equal shape take the same memory. settings: with the number of processes that share the training."""
    of_training = kind.training_in(settings).model_dump(mode="json", include=TRAINING)
    facts = [
        kind.name,
        on_gpu,
        settings.data.model_dump(mode="json"),
        settings.vae.model_dump(mode="json"),
        settings.unet.model_dump(mode="json") if kind.vae != "own" else {},
        of_training,
        settings.machine.model_dump(mode="json", include=MACHINE),
        settings.logging.model_dump(mode="json", include=LOGGING),
        bool(settings.evaluation.during),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def note_peak(cache: Path, shape: str, peak: Peak) -> None:
    """Remember a finished run; where the cache cannot be written, nothing is learned."""
    path = cache / FOLDER / f"{shape}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        peaks = [asdict(each) for each in (*peaks_of(cache, shape), peak)][-KEPT:]
        atomic.write_json(path, {"peaks": peaks})
    except OSError as error:
        logger.warning("the run's memory is not remembered: %s: %s", path, error.strerror or error)


def peaks_of(cache: Path, shape: str) -> tuple[Peak, ...]:
    """Of the newest runs of that shape, the oldest first."""
    return _read(cache / FOLDER / f"{shape}.json")


def past_errors(cache: Path) -> tuple[float, ...]:
    """`Peak.error` of the newest runs of any shape, sorted."""
    try:
        paths = sorted((cache / FOLDER).glob("*.json"), key=lambda path: -path.lstat().st_mtime)[:LOOKED_AT]
    except OSError:
        return ()
    return tuple(sorted(peak.error for path in paths for peak in _read(path)))


def errors_in_words(errors: Sequence[float]) -> str:
    """'memory was predicted 4% too high (1% too low to 9% too high in 12 runs)'; '' for none."""
    if not errors:
        return ""
    spread = (
        f" ({_off(min(errors))} to {_off(max(errors))} in {len(errors)} runs)" if len(errors) > 1 else " in one run"
    )
    return f"memory was predicted {_off(median(errors))}{spread}"


def learned_in_words(peaks: Sequence[Peak]) -> str:
    """'measured in 3 runs; the prediction was 4% too high'."""
    off = _off(median(peak.error for peak in peaks))
    return f"measured in {counted(len(peaks), 'run')}; the prediction was {off}"


def _off(error: float) -> str:
    return f"{abs(error):.0%} too {'low' if error < 0 else 'high'}"


def _read(path: Path) -> tuple[Peak, ...]:
    try:
        rows = reading.read_object(path).get("peaks")
        return tuple(reading.record_from(json.dumps(row), Peak, path.name) for row in (rows or [])[-KEPT:])
    except (LabError, OSError, ValueError, TypeError):
        return ()


def own_peak() -> int:
    """Bytes of memory that this process has held at the most; files that it maps do not count. 0 where the kernel does
    not tell."""
    rows = _table(Path("/proc/self/status"))
    return max(0, rows.get("VmHWM:", 0) - rows.get("RssFile:", 0))


def shared_with_others() -> int:
    """Bytes of what this process holds that other processes hold too, as much as is theirs."""
    now, own = _table(Path("/proc/self/status")), _table(Path("/proc/self/smaps_rollup"))
    held = now.get("RssAnon:", 0) + now.get("RssShmem:", 0)
    return max(0, held - own.get("Pss_Anon:", held) - own.get("Pss_Shmem:", 0))


def _table(path: Path) -> dict[str, int]:
    """Rows of kilobytes that the kernel tells, in bytes."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) * 1024 for row in rows if len(row) == 3 and row[2] == "kB"}
