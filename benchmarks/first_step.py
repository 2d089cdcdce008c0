"""From `train all` on an empty lab to the first step of each network: `python -m benchmarks.first_step OLD NEW`.

Both checkouts in turn, --rounds times: fresh runs and cache folders, scikit-learn's digits, networks so small that
nearly all of the time is starts. Seconds from the command to the VAE's first step, from the VAE's last word to the
U-Net's first step, and to the end of the command; a step is seen in metrics.jsonl.
Results: benchmarks/results/first-step-<date>.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import keep
from benchmarks.server import end_supervisor

TINY = {
    "data.name": "digits",
    "data.image_size": 16,
    "vae.block_out_channels": "[8,8]",
    "unet.block_out_channels": "[8,8]",
    "train_vae.steps": 3,
    "train_unet.steps": 3,
    "logging.log_every_steps": 1,
    "logging.num_previews": 0,
    "logging.validation_images": 16,
    "machine.device": "cpu",
}
PATIENCE_S = 300.0


def is_there(pattern: str, words: str, folder: Path) -> bool:
    """Whether a file of that pattern has something in it, these words among it."""
    texts = (path.read_text() for path in folder.glob(pattern))
    return any(text and words in text for text in texts)


def measure(checkout: Path) -> dict[str, float]:
    """One command, from outside."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = {f"LAB_{each.upper()}": str(folder / each) for each in ("runs", "cache", "data", "models")}
        environment = {**os.environ, **folders, "PYTHONPATH": str(checkout)}
        options = [word for setting, value in TINY.items() for word in ("--set", f"{setting}={value}")]
        began = time.monotonic()
        command = [sys.executable, "-m", "core", "train", "all", *options]
        with subprocess.Popen(
            command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            seen: dict[str, float] = {}
            marks = {
                "vae": ("runs/*-vae-*/metrics.jsonl", ""),
                "vae_end": ("runs/*-vae-*/events.jsonl", '"finished"'),
                "unet": ("runs/*-unet-*/metrics.jsonl", ""),
            }
            while child.poll() is None:
                for mark, (pattern, words) in marks.items():
                    if mark not in seen and is_there(pattern, words, folder):
                        seen[mark] = time.monotonic()
                if time.monotonic() - began > PATIENCE_S:
                    child.kill()
                time.sleep(0.02)
        ended = time.monotonic()
        end_supervisor(folder / "runs")
    if child.returncode or len(seen) < len(marks):
        raise RuntimeError(f"{checkout}: the command ended with {child.returncode} after {sorted(seen)}")
    return {
        "to VAE's first step": seen["vae"] - began,
        "VAE's end to U-Net's first step": seen["unet"] - seen["vae_end"],
        "whole command": ended - began,
    }


def main() -> None:
    """Measure in turn and keep medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {str(each): [] for each in options.checkouts}
    for _ in range(options.rounds):
        for checkout in options.checkouts:
            rows[str(checkout)].append(found := measure(checkout.resolve()))
            print(f"{checkout}: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()), flush=True)
    medians = {
        name: {what: round(statistics.median(row[what] for row in found), 2) for what in found[0]}
        for name, found in rows.items()
    }
    keep("first-step", {"median_s": medians, "rounds": rows})


if __name__ == "__main__":
    main()
