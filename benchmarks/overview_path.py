"""The images of the path that Overview shows in an empty lab: `LAB_DATA=... python -m benchmarks.overview_path`

One held-out MNIST image of a 7 goes through the bundled demo model: encoded, noised, denoised as a 7, decoded. The
result belongs to the repository (lab/overview/path.npz); a test compares it with the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from core.compute.answers.judges import images_of
from core.config.load import read_site
from core.data.batches import images_to_model
from core.model_folders.sources import source_named
from core.runs.store import RunStore
from core.sampling.load import LoadedModel
from core.sampling.request import Start, request_of
from core.sampling.steps import sample_steps
from lab.overview.image_path import PATH_FILE

DIGIT, START_STEP, SEED = 7, 3, 2


def path_of(model: LoadedModel, image: np.ndarray) -> dict[str, Any]:
    """image (H, W, 1) uint8 → every stage by its name: images (H, W, 1) uint8, latents (c, h, w) float32."""
    pixels = images_to_model(torch.from_numpy(image[None]))
    with torch.no_grad():
        posterior = model.codec.vae.encode(pixels).latent_dist  # sampled, as the U-Net learns it
        raw_latents = posterior.sample(torch.Generator().manual_seed(SEED))
        start = Start(at=START_STEP, latents=model.codec.scaling.normalize(raw_latents))
        request = request_of(model.settings.sampling, [DIGIT], noise_rule=model.noise_rule, seed=SEED)
        steps = list(sample_steps(model, request, start=start))
    clean = steps[-1].next_latents
    latents = {"latent": start.latents, "noisy_latent": steps[0].noisy_latents, "clean_latent": clean}
    stages = {name: value[0].float().cpu().numpy() for name, value in latents.items()}
    return {"image": image, **stages, "generated": model.codec.decode_to_uint8(clean)[0]}


def main() -> None:
    """Make the file again."""
    site, _ = read_site()
    source = source_named("model:mnist-demo", RunStore(site.runs), site.models)
    heldout = images_of(source, site).heldout
    image = np.asarray(heldout.images[np.flatnonzero(heldout.labels == DIGIT)[0]])
    np.savez_compressed(PATH_FILE, **path_of(source.load(device="cpu"), image))
    print(f"{PATH_FILE}: {PATH_FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
