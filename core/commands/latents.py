"""`latents RUN [--step N] [--json]`: is this VAE good enough to diffuse in, with its numbers."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import add_checkpoint_options, find_run, settings_of_run, site_of
from core.commands.progress import progress_bar
from core.commands.tables import table
from core.latent.inspection.overview import LatentOverview, read_overview
from core.latent.inspection.vae_source import FEW, MOST, LatentSubject, find_subject
from core.latent.inspection.verdict import figures, judge


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "latents",
        "Check whether a VAE is good enough to train a U-Net on.",
        ("latents RUN", "latents RUN --checkpoint 2000 --json"),
    )
    parser.add_argument("run", metavar="RUN", help="a VAE or U-Net run: id, name or path of its folder")
    add_checkpoint_options(parser, "--step")
    parser.add_argument(
        "--progress",
        action="store_true",
        help=f"print progress as lines on stderr (words, tab, 0 to 1), and store figures of {FEW:,} images early",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict and the figures of all held-out pictures, at most 10,000; stored in the cache."""
    source = find_run(arguments, arguments.run)
    settings, site = settings_of_run(arguments, source, ("machine",)), site_of(arguments)

    def about(limit: int) -> LatentSubject:
        return find_subject(
            source,
            step=arguments.checkpoint,
            weights=arguments.weights,
            data_dir=site.data,
            cache_dir=site.cache,
            limit=limit,
        )

    subject = about(MOST)
    found = read_overview(subject, site.cache)
    if found is None:
        from core.device import take_free_cores

        device = settings.machine.device
        take_free_cores(settings.machine.num_threads)
        if arguments.progress:
            few = about(FEW)
            if few.key != subject.key and read_overview(few, site.cache) is None:
                _make(few, device, site.cache, _tell)
            found = _make(subject, device, site.cache, _tell)
        else:
            with progress_bar("loading the VAE") as show:
                found = _make(subject, device, site.cache, show)
    verdict = judge(found)
    channels = [
        {
            "channel": index + 1,
            "mean": float(found.raw.mean[index]),
            "deviation": float(found.raw.deviation[index]),
            "skew": float(found.raw.skew[index]),
            "kurtosis": float(found.raw.kurtosis[index]),
            "kl": float(found.raw.kl[index]),
            "active": int(found.raw.active[index]),
        }
        for index in range(found.raw.num_channels)
    ]
    facts = {"run": source.id, "step": subject.step, "weights": subject.weights, "fingerprint": subject.fingerprint}
    ssim = None if math.isnan(found.mean_ssim) else found.mean_ssim
    heads = ["channel", "mean", "deviation", "skew", "kurtosis", "kl", "active"]
    parts = (
        f"{verdict.word}: {verdict.sentence}",
        table(["figure", "value", "better"], figures(found)),
        table(heads, [[row[name] for name in heads] for row in channels]),
        f"{len(found.labels):,} held-out images; channels as the encoder gives them, KL in nats per image",
    )
    answer(arguments, {**facts, **asdict(verdict), "ssim": ssim, "channels": channels}, "\n\n".join(parts))
    return 0


def _make(
    subject: LatentSubject, device: str, cache_dir: Path, progress: Callable[[str, float], None]
) -> LatentOverview:
    """Encode, then decode and measure, each a half of the progress."""
    from core.latent.inspection.opened_vae import open_subject
    from core.latent.inspection.quality import make_overview

    def half(first: float) -> Callable[[str, float], None]:
        return lambda text, fraction: progress(text, first + fraction / 2)

    study = open_subject(subject, device=device, cache_dir=cache_dir, progress=half(0.0))
    return make_overview(subject, study, cache_dir, progress=half(0.5))


def _tell(text: str, fraction: float) -> None:
    print(f"{text}\t{fraction:.3f}", file=sys.stderr, flush=True)
