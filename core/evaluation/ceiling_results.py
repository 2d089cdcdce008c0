"""The VAE ceiling as it is kept in a run: what pictures are worth after the VAE alone. Never imports torch.

`<run>/ceiling/step-<step>-<hash of what decides it>.json`. No U-Net on this VAE can be expected to do better, so an
evaluation shows it beside its own figures.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from core import reading
from core.config.schema import LabelChoice
from core.errors import CheckpointError, RunNotFound, UsageError
from core.runs.facts import codec_facts
from core.runs.listing import list_checkpoints
from core.runs.results import ResultKind
from core.runs.run import Run

FORMAT_VERSION = 1
FOLDER = "ceiling"
WEIGHTS = "diffusion_pytorch_model.safetensors"
LEAST_PICTURES, MOST_PICTURES = 20, 100_000


@dataclass(frozen=True, kw_only=True)
class ProbeScore:
    """A linear probe: `correct` of `num_test` held-out pictures after learning from `num_train` training pictures of
    `num_inputs` numbers each; 95 % Wilson interval, 0 to 1."""

    num_train: int
    num_test: int
    num_inputs: int
    correct: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """Held-out pictures through encoder and decoder, measured as generated ones are.

    The judge sees pictures decoded from posterior samples, which is what a U-Net learns; psnr and ssim are those of the
    posterior means, as on the Latents page. labels: which classes an evaluation of num_asked images asks for; None in
    files of version 0.2.0 and before, which chose without regard to labels and showed means to the judge too.
    Shares are 0 to 1, psnr in dB; *_error are standard errors over pictures. FD compares only between reports of one
    judge_hash. real_accuracy: the judge on the same pictures, untouched. probe_samples: on posterior samples, which is
    what a U-Net learns from; probe_means: on the noise-free means; probe_pixels: on the pictures themselves.
    """

    key: str
    created_at: str
    run_id: str
    step: int
    vae_hash: str
    data_set: str
    fingerprint: str
    num_pictures: int
    num_classes: int
    judge_hash: str
    judge_accuracy: float
    judge_epochs: int
    class_accuracy: float
    class_accuracy_low: float
    class_accuracy_high: float
    real_accuracy: float
    fd_judge: float
    fd_reference_count: int
    fd_floor: float
    fd_floor_count: int
    precision: float
    recall: float
    neighbours: int
    precision_recall_count: int
    psnr: float
    psnr_error: float
    ssim: float | None
    ssim_error: float | None
    probe_samples: ProbeScore
    probe_means: ProbeScore
    probe_pixels: ProbeScore
    elapsed_s: float
    device: str
    labels: LabelChoice | None = None
    num_asked: int = 0

    def decoded_in_words(self) -> str:
        """Which pictures the judge saw."""
        if self.labels is None:
            return "held out; real → encoder (posterior mean) → decoder; measured the old way"
        classes = "as often as in the training images" if self.labels == "proportions" else "balanced"
        few = "" if self.num_pictures == self.num_asked else f", of {self.num_asked:,} asked: some classes have fewer"
        return f"held out, classes {classes}{few}; real → encoder (posterior sample) → decoder"


CEILINGS = ResultKind(title="VAE ceiling", record=Ceiling, format=FORMAT_VERSION)


@dataclass(frozen=True, kw_only=True)
class CeilingSubject:
    """Which VAE a ceiling is of: the step of its training and the sha256 of its weights file."""

    step: int
    vae_hash: str


def check_count(num_pictures: int) -> None:
    """Raises UsageError for a count outside the bounds."""
    if not LEAST_PICTURES <= num_pictures <= MOST_PICTURES:
        raise UsageError(f"ceiling: {LEAST_PICTURES} to {MOST_PICTURES:,} images, got {num_pictures:,}")


def subject_of(run: Run, step: int | None = None) -> CeilingSubject:
    """The averaged VAE weights of a VAE run's checkpoint (newest by default), or a U-Net run's own copy.

    Opens no weights. Raises UsageError for a comparison, CheckpointError where there is no VAE or a file is damaged.
    """
    if not run.kind.vae:
        raise UsageError(f"{run.id}: is a {run.kind.noun} and has no VAE", "name a VAE or U-Net run")
    try:
        if run.kind.vae == "copy":
            facts = codec_facts(run)
            found = CeilingSubject(step=facts.vae_step, vae_hash=facts.sha256)
            if step not in (None, found.step):
                raise CheckpointError(f"{run.id}: its VAE is of step {found.step:,}, not of {step:,}")
            return found
        kept = [info for info in list_checkpoints(run) if step in (None, info.step)]
        if not kept:
            raise CheckpointError(
                f"{run.id}: has no checkpoint" + (" yet" if step is None else f" of step {step:,}"),
                "let it train until its first save" if step is None else "name one that is kept",
            )
        files = reading.read_object(kept[-1].path / "manifest.json")["files"]
        return CeilingSubject(step=kept[-1].step, vae_hash=str(files[f"vae_ema/{WEIGHTS}"]["sha256"]))
    except FileNotFoundError:
        raise CheckpointError(f"{run.id}: has no VAE yet", "let it train until its first save") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{run.id}: its VAE cannot be read ({type(error).__name__}: {error})") from None


def key_of(
    *, vae_hash: str, fingerprint: str, num_pictures: int, labels: LabelChoice, judge_epochs: int, neighbours: int
) -> str:
    """Hash of what decides a ceiling."""
    decides = [FORMAT_VERSION, vae_hash, fingerprint, num_pictures, labels, judge_epochs, neighbours]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]


def keep(run: Run, found: Ceiling) -> Path | None:
    """Keep it durably in the run. Where the folder cannot be written, the log says so; None then."""
    return CEILINGS.keep(run.folder / FOLDER / f"step-{found.step:08d}-{found.key}.json", found)


def list_ceilings(run: Run) -> list[Ceiling]:
    """What is kept in the run, the most pictures first, then the newest; files that are no ceilings are left out."""
    found, _ = CEILINGS.read_all((run.folder / FOLDER).glob("step-*.json"))
    return sorted(found, key=lambda each: (each.num_pictures, each.created_at), reverse=True)


def ceiling_for(
    run: Run,
    *,
    judge_hash: str | None = None,
    step: int | None = None,
    num_pictures: int = 0,
    labels: LabelChoice | None = None,
) -> Ceiling | None:
    """The known ceiling of a run's VAE, from its own folder or that of the VAE run it was trained on.

    Matched by the hash of the weights, not by names; with judge_hash only one whose FD compares. Of several the one of
    the number of images and the labels of an evaluation, where given, else that of the most images. None where there
    is none, or where the run names no VAE yet.
    """
    try:
        subject = subject_of(run, step)
        parents = [Run(run.folder.parent / name) for name in run.info.parents if Path(name).name == name]
    except (CheckpointError, UsageError, RunNotFound):
        return None
    fitting = [
        found
        for place in (run, *parents)
        for found in list_ceilings(place)
        if found.vae_hash == subject.vae_hash and judge_hash in (None, found.judge_hash)
    ]

    def fitness(found: Ceiling) -> tuple[bool, bool, bool, int]:
        same_labels = labels in (None, found.labels)
        return found.labels is not None, same_labels, found.num_asked == num_pictures, found.num_pictures

    return max(fitting, key=fitness, default=None)


def ceiling_rows(found: Ceiling) -> list[tuple[str, str, str]]:
    """It as (metric, value, note) for a table, the most telling first."""
    interval = f"95 % interval {found.class_accuracy_low:.2%} to {found.class_accuracy_high:.2%}"
    against = f"{found.precision_recall_count:,} against as many real, k = {found.neighbours}"
    learned = f"learned from {found.probe_samples.num_train:,} training images"
    rows = [
        ("images (N)", f"{found.num_pictures:,}", found.decoded_in_words()),
        ("class accuracy", f"{found.class_accuracy:.2%}", f"{interval}; untouched {found.real_accuracy:.2%}"),
        ("FD-judge", f"{found.fd_judge:.4g}", f"lower is better; {found.fd_reference_count:,} training images"),
        ("FD-judge floor", f"{found.fd_floor:.4g}", f"{found.fd_floor_count:,} real ones against the same"),
        ("precision", f"{found.precision:.3f}", f"share that looks real; {against}"),
        ("recall", f"{found.recall:.3f}", f"share of real variety that is reached; {against}"),
        ("PSNR", f"{found.psnr:.2f} dB", f"± {2 * found.psnr_error:.2f} (2 standard errors); posterior means"),
    ]
    if found.ssim is not None and found.ssim_error is not None:
        rows.append(("SSIM", f"{found.ssim:.4f}", f"± {2 * found.ssim_error:.4f} (2 standard errors); posterior means"))
    for name, probe, what in (
        ("linear probe, samples", found.probe_samples, "posterior samples, what a U-Net learns from"),
        ("linear probe, means", found.probe_means, "posterior means, without their noise"),
        ("linear probe, pixels", found.probe_pixels, "the images themselves"),
    ):
        note = f"{probe.low:.1%} to {probe.high:.1%}; {probe.correct:,} of {probe.num_test:,}; {what}; {learned}"
        rows.append((name, f"{probe.accuracy:.2%}", note))
    rows += [
        ("judge", found.judge_hash[:12], f"right on {found.judge_accuracy:.2%} of the held-out images"),
        ("VAE", found.vae_hash[:12], f"{found.run_id}, step {found.step:,}, {found.data_set}"),
        ("time", f"{found.elapsed_s:.1f} s", found.device),
    ]
    return rows


def ceiling_row(found: Ceiling, num_samples: int = 0, labels: LabelChoice | None = None) -> tuple[str, str, str]:
    """The ceiling as one line of the table of an evaluation of `num_samples` images with these labels."""
    note = f"class accuracy / FD-judge of {found.num_pictures:,} held-out images through this VAE; recall "
    note += f"{found.recall:.3f}"
    if found.labels is None:
        note += "; measured the old way, from posterior means"
    elif num_samples and (found.num_asked, found.labels) != (num_samples, labels):
        note += "; of another number of images or other labels, so its FD does not compare"
    return ("VAE ceiling", f"{found.class_accuracy:.2%} / {found.fd_judge:.4g}", note)


def in_words(found: Ceiling) -> str:
    """What the ceiling says, in a sentence or two."""
    lost = found.real_accuracy - found.class_accuracy
    better = found.probe_samples.low > found.probe_pixels.high
    worse = found.probe_samples.high < found.probe_pixels.low
    compared = "better than" if better else "worse than" if worse else "as well as"
    words = (
        f"Through this VAE {found.class_accuracy:.1%} of real images keep their class "
        f"({max(0.0, lost) * 100:.1f} points are lost), at FD-judge {found.fd_judge:.3g} over a floor of "
        f"{found.fd_floor:.3g}. A linear classifier reads its latents {compared} the pixels "
        f"({found.probe_samples.accuracy:.1%} against {found.probe_pixels.accuracy:.1%})."
    )
    if found.probe_means.low - found.probe_samples.high > 0.1:
        words += (
            f" The means alone would give {found.probe_means.accuracy:.1%}: the class drowns in the posterior's own "
            "noise, so the KL weight is too high."
        )
    return words
