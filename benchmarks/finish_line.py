"""The finish line: from the command on an empty lab to a finished model, and what a fixed judge says of it.

`python -m benchmarks.finish_line --presets quick-2026-11 minute --seeds 0 1 2 3 4`; docs/finish-line.md has the rules.
Presets take turns within a seed. An entry `PRESET@FOLDER` trains with another checkout of the lab; the judge is always
this one's. `--npz FILE` judges samples of any origin, `--judge-only RUN` a run or model that exists. Rows are added to
benchmarks/results/finish-line-<dataset>-<date><label>.json, so that seeds can be measured one by one.
`--gpu` trains on CUDA, times 50,000 images, and adds what benchmarks/matrix_peak.py measures. `--reference SECONDS`
trains the settings of the reference project for that long, and says what its whole recipe would take.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.matrix_peak import LARGE, measured
from benchmarks.report import RESULTS, machine
from benchmarks.timed_training import trained
from benchmarks.where_time_goes import phases_of_training
from core.config.load import load_config, parse_override, read_site, settings_from, with_overrides
from core.data.arrays import ImageSet, prepare
from core.data.fit import fit_pictures
from core.data.npz_file import arrays_in, npz_problem
from core.device import check_device, device_label
from core.errors import LabError, UsageError
from core.evaluation.folder_judge import judge_of_model_folder
from core.evaluation.judge import Judge, load_or_train, split_features
from core.evaluation.labels import asked_labels, drawn_rows
from core.evaluation.measures import measure
from core.evaluation.metrics import FrechetReference
from core.home import code_root
from core.model_folders.model_facts import model_folder_info
from core.model_folders.sources import ModelSource, RunSource, find_source
from core.runs.store import RunStore
from core.sampling.request import batches_of, request_of
from core.sampling.steps import sample
from core.training.probe import probe

SAMPLES = 5000
MANY = 50_000  # images whose generation is timed on a GPU
REFERENCE = "reference"
REFERENCE_SAMPLING = {"sampling.sampler": "unipc", "sampling.num_inference_steps": 20}  # its own 1,000 steps take hours
SEED = 0  # of the noise of the generated images, and of every choice of the judge
BUNDLED = "mnist-demo"
BUNDLED_SHA256 = "b2381faff0dcc6562378f75e5c2cbd707c7dc6cdb26a7a73574d2b68aac30323"
FORMAT = 1  # of the result files
FIGURES = (  # key, heading, digits, which end is worse
    ("wall_s", "wall, s", 1, max),
    ("cpu_s", "CPU, s", 1, max),
    ("class_accuracy", "accuracy", 4, min),
    ("fd_judge", "FD-judge", 4, max),
    ("precision", "precision", 3, min),
    ("recall", "recall", 3, min),
    ("copy_ratio", "copy ratio", 3, min),
)


@dataclass(frozen=True, kw_only=True)
class Court:
    """A judge, the real images it compares with, and how images of another size become theirs."""

    judge: Judge
    image_set: ImageSet
    fit: str
    neighbours: int

    def facts(self) -> dict[str, Any]:
        """What a reader must know of the judge to compare two results."""
        judge, images = self.judge, self.image_set
        return {
            "dataset": images.name,
            "fingerprint": images.fingerprint,
            "image_size": images.image_size,
            "fit": self.fit,
            "reference_count": len(images.train.labels),
            "judge_sha256": judge.hash,
            "judge_is_bundled": judge.hash == BUNDLED_SHA256,
            "judge_accuracy": judge.accuracy,
            "judge_heldout_count": judge.heldout_count,
            "neighbours": self.neighbours,
        }

    def fitted(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, h, w, 1 or 3) → the size and channels of the reference, by the filter that made the reference."""
        size, channels = self.image_set.image_size, self.image_set.channels
        return fit_pictures(images, image_size=size, fit=self.fit, channels=channels)

    def figures(self, batches: Iterable[np.ndarray], labels: np.ndarray) -> dict[str, Any]:
        """All that the evaluation of the lab measures, on batches of uint8 images that should show `labels` (N,)."""
        found = measure(
            (self.fitted(batch) for batch in batches),
            labels,
            judge=self.judge,
            image_set=self.image_set,
            neighbours=self.neighbours,
            seed=SEED,
        )
        figures = asdict(found)
        figures["per_class"] = {score["name"]: score["accuracy"] for score in figures["per_class"]}
        return {"num_samples": len(labels), "is_balanced": is_balanced(labels, self.image_set.num_classes), **figures}

    def sample_bias(self, count: int, draws: int = 5) -> float:
        """FD-judge of `count` real training images, classes balanced, against all of them: what the sample size alone
        makes; the mean of some draws."""
        features, labels = split_features(self.judge, self.image_set, "train"), self.image_set.train.labels
        reference, classes = FrechetReference(features), self.image_set.num_classes
        counts = np.full(classes, count // classes)
        rows = (drawn_rows(labels, counts, draw, "finish-line") for draw in range(draws))
        return statistics.mean(reference.distance(features[torch.from_numpy(each)]) for each in rows)


def is_balanced(labels: np.ndarray, classes: int) -> bool:
    """Whether each of the classes occurs as often as any other, but for what does not divide evenly."""
    counts = np.bincount(labels, minlength=classes)
    return len(counts) == classes and int(counts.max() - counts.min()) <= 1


def open_court(name: str, changes: Sequence[str], cache_dir: Path) -> Court:
    """The judge of a dataset: for MNIST the bundled one, for others one that is trained now and kept in `cache_dir`.

    Raises LabError when the dataset is missing, or the bundled judge is not the one that the rules name.
    """
    data_dir, folder = read_site()[0].data, code_root() / "models" / BUNDLED
    bundled = model_folder_info(folder).settings()
    if name != bundled.data.name:
        settings = load_config(overrides={"data.name": name, **dict(map(parse_override, changes))})
        image_set = prepare(settings.data, data_dir=data_dir, cache_dir=cache_dir)
        judge = load_or_train(image_set, cache_dir=cache_dir, epochs=settings.evaluation.judge_epochs)
        neighbours = settings.evaluation.recall_neighbours
        return Court(judge=judge, image_set=image_set, fit=settings.data.fit, neighbours=neighbours)
    found = judge_of_model_folder(folder)
    if found is None or found.hash != BUNDLED_SHA256:
        raise LabError(f"{folder}: its judge is not {BUNDLED_SHA256[:12]}…", "take the models/ of this version")
    image_set = prepare(bundled.data, data_dir=data_dir, cache_dir=cache_dir)
    if image_set.fingerprint != model_folder_info(folder).facts.fingerprint:
        raise LabError(f"{data_dir}: is another MNIST than the judge's", "download it again")
    kept = cache_dir / "judges" / BUNDLED_SHA256[:12]  # so that it looks at the real images once
    kept.mkdir(parents=True, exist_ok=True)
    neighbours = bundled.evaluation.recall_neighbours
    return Court(judge=replace(found, folder=kept), image_set=image_set, fit=bundled.data.fit, neighbours=neighbours)


def judged_model(court: Court, source: ModelSource, count: int, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Generate `count` images, classes in turn, as the model's own settings say, and judge them.

    changes: `sampling.key=value` over these settings. Raises UsageError for others, and what sampling raises.
    """
    chosen = dict(map(parse_override, changes))
    if other := [key for key in chosen if not key.startswith("sampling.")]:
        raise UsageError(f"--set {other[0]}: only settings of the section sampling change how a model is judged")
    sampling = settings_from(with_overrides(source.settings.model_dump(mode="json"), chosen)).sampling
    model = source.load(device="auto")
    labels = asked_labels("balanced", court.image_set.train.labels, model.num_classes, count, SEED)
    request = request_of(sampling, labels, noise_rule=model.noise_rule, seed=SEED)
    generating_s = 0.0

    def batches() -> Iterator[np.ndarray]:
        nonlocal generating_s
        for part in batches_of(request):
            began = time.monotonic()
            images = sample(model, part)
            generating_s += time.monotonic() - began
            yield images

    figures = court.figures(batches(), labels)
    return {
        **figures,
        "step": model.step,
        "sampling": sampling.model_dump(mode="json"),
        "generating_s": round(generating_s, 2),
        "generating_device": device_label(model.device),
    }


def judged_npz(court: Court, path: Path) -> dict[str, Any]:
    """Judge `images` uint8 (N, h, w[, 1 or 3]) and `labels` (N,) of any origin. Raises LabError, one sentence."""
    try:
        arrays = arrays_in(path)
    except (OSError, LabError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path.name}: cannot be read: {words}", "save it with numpy.savez(images=, labels=)"
        ) from None
    classes = court.image_set.num_classes
    problem = npz_problem({name: arrays[name] for name in ("images", "labels") if name in arrays})
    if not problem and int(arrays["labels"].max()) >= classes:
        problem = f"'labels' must be 0 to {classes - 1}, got {arrays['labels'].max()}"
    if problem:
        raise UsageError(f"{path.name}: {problem}", "save it with numpy.savez(images=, labels=)")
    images, labels = arrays["images"], arrays["labels"].astype(np.int64)
    images = images[..., None] if images.ndim == 3 else images
    return court.figures((images[first : first + 500] for first in range(0, len(images), 500)), labels)


# -- results


def add_row(path: Path, court: Court, row: dict[str, Any]) -> dict[str, Any]:
    """Put a row into a result file, in the place of one of the same entry and seed. Returns the whole result.

    Raises UsageError when the file holds figures of another judge or dataset: they cannot stand in one table.
    """
    facts = court.facts()
    result: dict[str, Any] = {"format": FORMAT, "judge": facts, "rows": []}
    if path.exists():
        result = json.loads(path.read_text())
        if result["judge"] != facts:
            raise UsageError(f"{path.name}: was judged otherwise", "choose another --label")
    same = (row["entry"], row.get("seed"))
    rows = [each for each in result["rows"] if (each["entry"], each.get("seed")) != same]
    result = {**result, "machine": machine(), "rows": [*rows, row]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return result


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A Markdown table: per entry the mean of its rows, their range, and the worst."""
    lines = [
        f"| entry | N | {' | '.join(heading for _, heading, _, _ in FIGURES)} |",
        "|---" * (2 + len(FIGURES)) + "|",
    ]
    for entry in dict.fromkeys(row["entry"] for row in rows):
        own = [row for row in rows if row["entry"] == entry]
        for words, fold in (("mean", statistics.mean), ("least", min), ("most", max)):
            if len(own) == 1 and words != "mean":
                continue
            name = f"{entry}, {words} of {len(own)}" if len(own) > 1 else str(entry)
            cells = [
                f"{fold([row[key] for row in own]):.{digits}f}" if all(key in row for row in own) else "–"
                for key, _, digits, _ in FIGURES
            ]
            lines.append(f"| {name} | {own[0]['num_samples']:,} | {' | '.join(cells)} |")
        if len(own) > 1:
            worst = [
                str(worse(own, key=lambda row: row[key])["seed"]) if all(key in row for row in own) else "–"
                for key, _, _, worse in FIGURES
            ]
            lines.append(f"| {entry}, worst seed | {own[0]['num_samples']:,} | {' | '.join(worst)} |")
    return lines


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=[], metavar="PRESET[@CHECKOUT]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--dataset", default="mnist", help="also one that you imported (default: mnist)")
    parser.add_argument(
        "--samples", type=int, default=SAMPLES, metavar="N", help=f"images to judge (rule: {SAMPLES:,})"
    )
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--npz", type=Path, nargs="+", default=[], metavar="FILE", help="judge these samples")
    parser.add_argument("--judge-only", nargs="+", default=[], metavar="RUN", help="judge these runs or models")
    parser.add_argument("--gpu", action="store_true", help=f"train on CUDA, and time {MANY:,} images and a large U-Net")
    parser.add_argument(
        "--reference", type=float, metavar="SECONDS", help="train the reference project's settings so long"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep runs there (default: remove them)")
    parser.add_argument("--label", default="", help="added to the name of the result file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="another result file")
    options = parser.parse_args()
    if not (options.presets or options.npz or options.judge_only or options.reference):
        parser.error("give --presets, --npz, --judge-only or --reference")
    name = f"finish-line-{options.dataset}-{datetime.now(UTC):%Y-%m-%d}{options.label and '-' + options.label}.json"
    path = options.out or RESULTS / name
    site = read_site()[0]
    torch.set_num_threads(1)  # of judging: a second one loses where anything else runs
    try:
        if options.gpu:
            check_device("cuda")
            options.changes.append("machine.device=cuda")
        data_changes = [text for text in options.changes if text.startswith(("data.", "evaluation."))]
        court = open_court(options.dataset, data_changes, site.cache)
        print(f"judge {court.judge.hash[:12]}, right on {court.judge.accuracy:.2%} of {court.judge.heldout_count:,}")
        if options.samples <= len(court.image_set.train.labels):
            print(f"FD-judge of {options.samples:,} real images: {court.sample_bias(options.samples):.4f}", flush=True)
        for row in rows_of(options, court):
            result = add_row(path, court, row)
            print("\n".join(table([row])[2:]), flush=True)
    except LabError as error:
        raise SystemExit(f"finish_line: {error}") from None
    print("\n".join([*table(result["rows"]), f"kept in {path}"]))


def rows_of(options: argparse.Namespace, court: Court) -> Iterator[dict[str, Any]]:
    """One row after the other, as it is measured."""
    site = read_site()[0]
    for file in options.npz:
        yield {"entry": file.name, **judged_npz(court, file)}
    for text in options.judge_only:
        source = find_source(text, lambda: RunStore(site.runs), site.models)
        yield {"entry": source.id, **judged_model(court, source, options.samples, options.changes)}
    if options.reference:
        changes, share = reference_changes(options.reference)
        with workplace(options, REFERENCE, 0) as work:
            run, timed = trained(REFERENCE, 0, options.dataset, [*options.changes, *changes], work)
            figures = judged_model(court, RunSource(run), options.samples)
            phases = phases_of_training(run, timed)
        steps_s = sum(each.seconds for each in phases if each.name == "steps")
        yield {**timed, "entry": f"{REFERENCE}, {share:.3%}", "whole_recipe_s": steps_s / share, **figures}
        print(
            f"the steps took {steps_s:.0f} s; the whole recipe would take {steps_s / share / 3600:.1f} h (extrapolated)"
        )
    for seed in options.seeds:
        for entry in options.presets:
            with workplace(options, entry, seed) as work:
                run, timed = trained(entry, seed, options.dataset, options.changes, work)
                row = {**timed, **judged_model(court, RunSource(run), options.samples)}
                if "@" not in entry:  # another version's log says other things
                    row["phases"] = [asdict(each) for each in phases_of_training(run, timed)]
                if options.gpu:
                    many = judged_model(court, RunSource(run), MANY)
                    row["many"] = {key: many[key] for key in ("num_samples", "generating_s", "fd_judge")}
                    large = load_config(preset=entry.partition("@")[0], overrides={**LARGE, "machine.device": "cuda"})
                    row["large_unet"] = measured(large, side=8192, steps=20)
                yield row


@contextlib.contextmanager
def workplace(options: argparse.Namespace, entry: str, seed: int) -> Iterator[Path]:
    """An empty folder for one training, removed after it unless --keep names a place."""
    if options.keep:
        work = options.keep / f"{entry.replace('/', '_')}-{seed}"
        work.mkdir(parents=True)
        yield work
    else:
        with tempfile.TemporaryDirectory(prefix="finish-line-") as folder:
            yield Path(folder)


def reference_changes(seconds: float) -> tuple[list[str], float]:
    """(what to set so that both networks of the preset train that long, together; their share of its whole recipe).

    The same share of each network's steps, from the measured cost of some; the learning rates stay those of the whole.
    """
    settings = load_config(preset=REFERENCE)
    whole_s = sum(probe(settings, kind, steps=3, warmup=1).estimated_s for kind in ("vae", "unet"))
    share = min(1.0, seconds / whole_s)
    steps = {"train_vae": settings.train_vae.steps, "train_unet": settings.train_unet.steps}
    changes = [f"{section}.steps={max(1, round(share * count))}" for section, count in steps.items()]
    return [*changes, *(f"{name}={value}" for name, value in REFERENCE_SAMPLING.items())], share


if __name__ == "__main__":
    main()
