"""Do two revisions compute the same, bit for bit, on this machine? Tiny trainings, a resumed run and generated images.

`python -m benchmarks.same_numbers OLD NEW`, two checkouts. Each trains a VAE and a U-Net on digits (24 and 40 steps,
one thread, float32), generates 20 images with the U-Net, and resumes the stopped runs of `tests/fixtures/runs-57d6eac`
for 20 steps. New runs follow the first version of each rule of `core/rules.py`. Prints a hash per result for both and
ends with 1 where one differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FIXTURE = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "runs-57d6eac"
PROGRAM = """
import hashlib, json, pathlib, shutil, sys
import torch
torch.set_num_threads(1)
from core.config.load import load_config
from core.rules import Rules
from core.runs.store import RunStore
from core.sampling.load import load_model
from core.sampling.request import SampleRequest
from core.sampling.steps import sample
from core.training import train_unet, train_vae

work, fixture = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
shutil.copytree(fixture / "runs", work / "runs")
store = RunStore(work / "runs")
folders = dict(data_dir=work / "data", cache_dir=work / "cache", store_root=store.root)
tiny = {
    "data.name": "digits", "data.image_size": 16, "vae.block_out_channels": [8, 8], "unet.block_out_channels": [8, 16],
    "train_vae.steps": 24, "train_vae.batch_size": 16, "train_unet.steps": 40, "train_unet.batch_size": 16,
    "train_unet.gradient_accumulation_steps": 2, "logging.save_every_steps": 20, "logging.num_previews": 2,
    "logging.preview_images": 4, "logging.preview_inference_steps": 2, "logging.validation_images": 32,
    "machine.device": "cpu", "machine.mixed_precision": "no", "machine.num_threads": 1,
}

def train(run, until=None):
    done = [run.status().step]
    def on_step(*_, **__):
        done[0] += 1
    module = train_vae if run.info.kind == "vae" else train_unet
    module.train(run, should_stop=lambda: until is not None and done[0] >= until, on_step=on_step, **folders)

def weights(run):
    newest = max(run.checkpoints_dir.iterdir())
    found = hashlib.sha256()
    for path in sorted(newest.rglob("*.safetensors")):
        found.update(path.read_bytes())
    return found.hexdigest()

settings = load_config(overrides=tiny)
vae = store.create("vae", settings, rules=Rules())
train(vae)
unet = store.create("unet", settings, parents=(vae.id,), rules=Rules())
train(unet)
labels = tuple(range(10)) * 2
request = SampleRequest(labels=labels, num_inference_steps=4, sampler="unipc", guidance_scale=1.5, seed=1, noise_rule=1)
found = {"VAE": weights(vae), "U-Net": weights(unet)}
found["images"] = hashlib.sha256(sample(load_model(unet, device="cpu"), request).tobytes()).hexdigest()
for run_id in json.loads((fixture / "expected.json").read_text()):
    run = store.get(run_id)
    first = run.status().step + 1
    train(run, first + 19)
    lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["step"] >= first and "loss" in line][:20]
    found[f"resumed {run.info.kind}"] = hashlib.sha256(json.dumps(losses).encode()).hexdigest()
print(json.dumps(found))
"""


def numbers_of(checkout: Path) -> dict[str, str]:
    """Result → hash, computed by the code of that checkout."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, folder, str(FIXTURE)],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Compare two checkouts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    arguments = parser.parse_args()
    old, new = numbers_of(arguments.old.resolve()), numbers_of(arguments.new.resolve())
    for name, before in old.items():
        print(f"{name:14} {before[:16]} {new[name][:16]} {'same' if new[name] == before else 'DIFFERENT'}")
    return int(old != new)


if __name__ == "__main__":
    sys.exit(main())
