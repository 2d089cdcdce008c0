"""The pictures of the README, from the real app: `python -m benchmarks.pictures [FOLDER] [--lab FOLDER]`

Trains one small pair on the digits of scikit-learn (about a minute on a quiet core), serves the lab that holds it, and
photographs its pages in Chromium. Overview shows an empty lab, Generate the bundled demo. Writes FOLDER/<page>.png and
FOLDER/scrubber-and-film.webp, an animation of both sliders. FOLDER is docs/figures by default. With --lab, the lab's
folders stay there, and a finished pair in them is not trained again.
Screenshots of every page, state, width and theme: `python -m benchmarks.screens`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.server import IDLE, ROOT, Server, chromium, end_supervisor, served, window
from benchmarks.states import FOLDERS
from core.runs.run import Run
from core.runs.store import RunStore

FIGURES = ROOT / "docs" / "figures"
HEIGHTS = {
    "overview": 900,
    "train": 1010,
    "run": 1000,
    "evaluate": 860,
    "generate": 860,
    "machine": 480,
}  # no other processes on it
HEIGHT = 760
COLORS = 200  # of a PNG's palette
ANIMATION = "scrubber-and-film.webp"
WIDE, HIGH, MARGIN = 820, 540, 24  # of the animation: the images and the sliders
FRAME_MS, LAST_MS = 160, 1400
MOST_BYTES = 1_500_000
DATA = "digits"
SETTINGS = {
    "data.name": DATA,
    "data.image_size": 16,
    "vae.block_out_channels": "[8,16]",
    "train_vae.steps": 500,
    "train_unet.steps": 1000,
    "train_unet.batch_size": 64,
    "logging.num_previews": 40,
}
DEMO = "model:mnist-demo"


def photograph(page: Any, address: str, path: Path) -> None:
    """One PNG of the top of a page, once it stands still."""
    page.set_viewport_size({"width": 1280, "height": HEIGHTS.get(path.stem, HEIGHT)})
    page.goto(address)
    stand_still(page)
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    few = taken.quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)  # keeps the color of few words
    few.save(path, optimize=True)
    print(f"{path} ({path.stat().st_size / 1000:.0f} kB)", flush=True)


def stand_still(page: Any) -> None:
    """Wait until the page is drawn and nothing on it works or waits."""
    page.wait_for_selector("h1")
    page.wait_for_selector(IDLE)
    page.wait_for_function("() => !document.querySelector('[data-testid=stSpinner], [data-testid=stProgress]')")
    page.wait_for_timeout(2500)  # charts follow a moment later
    page.wait_for_selector(IDLE)


def moved(page: Any, part: Any, name: str, places: range) -> Iterator[Image.Image]:
    """The part of a page at each of these places of the slider with this name."""
    slider = part.get_by_label(name, exact=True)
    for place in places:
        slider.evaluate(
            "(range, place) => { range.value = place; range.dispatchEvent(new Event('input', { bubbles: true })) }",
            place,
        )
        page.wait_for_timeout(60)
        yield Image.open(io.BytesIO(part.screenshot())).convert("RGB")


def last_place(part: Any, name: str) -> int:
    """The largest place of a slider."""
    return int(part.get_by_label(name, exact=True).get_attribute("max"))


def animate(page: Any, server: str, run: Run, path: Path) -> None:
    """The scrubber of the demo from noise to image, then the film of a training."""
    page.set_viewport_size({"width": 1280, "height": 1500})  # so tall that nothing scrolls under the header
    page.goto(f"{server}/generate?run={DEMO}&steps=20")
    part = page.locator('[data-testid="scrubber"][data-ready="1"]').first
    part.wait_for()
    stand_still(page)
    frames = list(moved(page, part, "Denoising step", range(last_place(part, "Denoising step") + 1)))
    turns = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    page.set_viewport_size({"width": 900, "height": 1200})  # the film as large as the scrubber
    page.goto(f"{server}/generate?view=Film&run={run.id}")
    part = page.locator('[data-testid="film"][data-ready="1"]').first
    part.wait_for()
    stand_still(page)
    training = list(moved(page, part, "Training step", range(last_place(part, "Training step") + 1)))
    turns += [FRAME_MS] * (len(training) - 1) + [LAST_MS]
    frames += training
    canvas = []
    for frame in frames:
        inner = WIDE - 2 * MARGIN
        scaled = frame.resize((inner, round(frame.height * inner / frame.width)), Image.Resampling.BOX)
        ground = Image.new("RGB", (WIDE, HIGH), "white")
        ground.paste(scaled.crop((0, 0, inner, min(scaled.height, HIGH - MARGIN))), (MARGIN, MARGIN))
        canvas.append(ground)
    canvas[0].save(path, save_all=True, append_images=canvas[1:], duration=turns, loop=0, quality=70, method=4)
    taken = path.stat().st_size
    print(f"{path}: {len(canvas)} frames, {taken / 1000:.0f} kB", flush=True)
    if taken > MOST_BYTES:
        raise SystemExit(f"{path} is larger than {MOST_BYTES:,} bytes")


def trained(store: RunStore, environment: dict[str, str]) -> list[Run]:
    """[VAE, U-Net], both finished; trained first where there are none."""
    found = finished(store)
    if not found:
        words = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
        command = [sys.executable, "-m", "core", "train", "all", "--preset", "quick", "--name", "first try", *words]
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
        found = finished(store)
        subprocess.run(
            [sys.executable, "-m", "core", "evaluate", found[-1].id],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return found


def finished(store: RunStore) -> list[Run]:
    """The newest finished U-Net behind its VAE, or nothing."""
    for run in store.list():
        if run.info.kind == "unet" and run.status().state == "finished":
            return [store.get(run.info.parents[0]), run]
    return []


@contextlib.contextmanager
def lab(folder: Path | None) -> Iterator[Path]:
    """A folder for the lab's runs and caches; a temporary one unless there is a wish."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="lab-pictures-") as name:
        yield Path(name)


def main() -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=FIGURES, metavar="FOLDER")
    parser.add_argument("--lab", type=Path, metavar="FOLDER", help="where the lab's folders stay")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with lab(options.lab) as folder:
        own = {f"LAB_{each.upper()}": str(folder / each) for each in FOLDERS}
        environment = {**os.environ, **own, "LAB_USER": "ana", "PYTHONPATH": str(ROOT)}
        store, server = RunStore(folder / "runs"), Server(folder, environment)
        try:
            vae, unet = trained(store, environment)
            pages = {
                "train": f"train?data={DATA}",
                "run": f"runs?run={unet.id}",
                "data": f"data?set={DATA}",
                "schedulers": "schedulers",
                "latents": f"latents?run={vae.id}",
                "evaluate": f"evaluate?run={unet.id}",
                "machine": "machine",
                "generate": f"generate?run={DEMO}&steps=10",
            }
            with chromium() as browser, window(browser) as page:
                with served({**environment, "LAB_RUNS": str(folder / "no-runs")}) as empty:
                    photograph(page, empty.address, options.folder / "overview.png")
                server.start()
                for name, path in pages.items():
                    photograph(page, f"{server.address}/{path}", options.folder / f"{name}.png")
                animate(page, server.address, unet, options.folder / ANIMATION)
        finally:
            server.kill()
            end_supervisor(store.root)


if __name__ == "__main__":
    main()
