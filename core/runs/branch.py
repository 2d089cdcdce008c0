"""A run that goes on from a checkpoint of another, with other training settings: a branch."""

from __future__ import annotations

from pathlib import Path

from core import reading
from core.config.load import differences
from core.config.schema import Settings
from core.errors import CheckpointError, UsageError
from core.runs.run import Run
from core.runs.store import RunStore

CHANGEABLE = ("seed", "train_vae", "train_unet", "sampling", "evaluation", "logging", "machine", "paths")


def steps_of_branch(planned: int, step: int) -> int:
    """The steps of a branch from `step` unless somebody says otherwise: as planned, or half as many again as were done
    when none are left."""
    return planned if planned > step else step + max(1, step // 2)


def branch_in_words(branch: Run) -> str:
    """'Branch created: it trains from step 1,000 to step 1,500. The original run stays as it is.'"""
    info, steps = branch.info, branch.status().steps_total
    return (
        f"Branch created: it trains from step {info.branched_step:,} to step {steps:,}. "
        "The original run stays as it is."
    )


def create_branch(store: RunStore, origin: Run, step: int, settings: Settings, *, owner: str, name: str = "") -> Run:
    """A new run of the same kind that starts from `origin`'s checkpoint of `step`; it owns copies of all it needs.

    Its curve begins where the origin's was at that step. Raises CheckpointError when the checkpoint is missing or
    damaged, UsageError when the settings do not fit it; then nothing was created.
    """
    if not origin.kind.trains:
        raise UsageError(f"run {origin.id}: is a {origin.kind.noun}; only a training can be branched")
    for setting, old, new in differences(origin.settings, settings):
        if setting.partition(".")[0] not in CHANGEABLE:
            raise UsageError(
                f"{setting}: is part of what run {origin.id} has learnt and cannot change in a branch, "
                f"it is {old!r}, got {new!r}",
                "start a new run for that",
            )
    steps = origin.kind.training_in(settings).steps
    if steps <= step:
        name = f"{origin.kind.section}.steps"
        raise UsageError(
            f"{name}: a branch from step {step:,} needs more than that, got {steps:,}", f"set {name} higher"
        )
    from core.runs.checkpoints import load_newest

    checkpoint = load_newest(origin.checkpoints_dir, step=step)
    if checkpoint is None:
        raise CheckpointError(f"{origin.id}: has no checkpoint yet", "let it train until its first save")
    folder = f"checkpoints/step-{step:08d}"
    files = {f"{folder}/{path}": data for path, data in checkpoint.files.items()}
    files[f"{folder}/manifest.json"] = reading.read_bytes(checkpoint.folder / "manifest.json")
    for extra in (origin.data_path, *_files_of(origin.vae_dir)):
        if extra.is_file():
            files[str(extra.relative_to(origin.folder))] = reading.read_bytes(extra)
    return store.create(
        origin.info.kind,
        settings,
        name=name or f"{origin.info.name or origin.id} from step {step:,}"[:120],
        owner=owner,
        parents=origin.info.parents,
        preset=origin.info.preset,
        dataset=dict(origin.info.dataset),
        branched_from=origin.id,
        branched_step=step,
        rules=origin.rules,
        more_files=files,
    )


def _files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
