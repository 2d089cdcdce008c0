"""The film of learning: what is read from previews, what is left out, how large it gets, and its animation."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.__main__ import main
from core.errors import LabError
from core.runs import film as film_module
from core.runs.film import MAX_FRAMES, Film, read_film, thinned
from core.runs.film_export import animation, moment_in_words, moments
from core.runs.run import Run
from core.runs.store import RunStore
from tests.pages.run_folders import make_run, tiny_settings


def write(run: Run, step: int, *, frames: int = 3, labels: tuple[int, ...] = (0, 1, 0, 1), side: int = 8) -> None:
    """A preview whose pixels tell where they belong: 40 · frame + 10 · picture + step % 10."""
    count = len(labels)
    values = np.arange(frames)[:, None] * 40 + np.arange(count)[None] * 10 + step % 10
    path = np.broadcast_to(values[:, :, None, None, None], (frames, count, side, side, 1)).astype(np.uint8)
    arrays = (
        {"inputs": path[0], "reconstructions": path[0]}
        if run.info.kind == "vae"
        else {"noisy_images": path, "predicted_images": 255 - path, "timesteps": np.linspace(999.0, 0.0, frames)}
    )
    run.previews_dir.mkdir(exist_ok=True)
    np.savez_compressed(run.previews_dir / f"step-{step:08d}.npz", step=step, labels=np.array(labels), **arrays)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A U-Net run of 100 steps with previews of steps 0, 5 and 100."""
    made = RunStore(tmp_path / "runs").create("unet", tiny_settings(), name="learner", steps_total=100)
    for step in (0, 5, 100):
        write(made, step)
    return made


def value(film: Film, layer: str, time: int, frame: int, picture: int) -> int:
    return int(film.layers[layer][time, frame, picture, 0, 0, 0])


def test_every_picture_lies_at_its_training_time_and_denoising_step(run: Run) -> None:
    film = read_film(run)
    assert (film.steps, film.steps_total, film.timesteps) == ((0, 5, 100), 100, (999.0, 499.5, 0.0))
    assert (film.labels, film.layers["noisy_images"].shape) == ((0, 1), (3, 3, 2, 8, 8, 1))
    assert value(film, "noisy_images", 1, 2, 1) == 40 * 2 + 10 * 1 + 5
    assert value(film, "predicted_images", 1, 2, 1) == 255 - (40 * 2 + 10 * 1 + 5)
    assert moment_in_words(film, 1, 0) == "step 5 of 100 · t = 999"


def test_pictures_without_labels_are_shown_without_names(run: Run) -> None:
    for path in run.previews_dir.iterdir():
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name != "labels"}
        np.savez(path, **arrays)
    film = read_film(run)
    assert (film.labels, film.class_names) == ((0, 1, 2, 3), ())


def test_more_pictures_a_class_stand_in_rows_of_all_classes(run: Run) -> None:
    film = read_film(run, per_class=2)
    assert film.labels == (0, 1, 0, 1)
    assert [value(film, "noisy_images", 0, 0, picture) for picture in range(4)] == [0, 10, 20, 30]


def test_a_vae_has_one_frame_a_training_time(tmp_path: Path) -> None:
    vae = RunStore(tmp_path / "runs").create("vae", tiny_settings(), steps_total=100)
    write(vae, 0)
    write(vae, 100)
    film = read_film(vae)
    assert (film.denoises, len(film.timesteps), tuple(film.layers)) == (False, 1, ("inputs", "reconstructions"))
    assert moment_in_words(film, 1, 0) == "step 100 of 100"


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"PK\x03\x04 torn"),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: np.savez(path, noisy_images=np.array([object()]), allow_pickle=True),
        lambda path: np.savez(path, noisy_images=np.zeros((3, 4, 8, 8, 1)), labels=np.arange(4)),
        lambda path: np.savez(path, step=5),
    ],
    ids=["no archive", "torn", "a pickle", "floats", "empty"],
)
def test_a_damaged_preview_is_left_out_and_counted(run: Run, damage) -> None:  # type: ignore[no-untyped-def]
    damage(run.previews_dir / "step-00000005.npz")
    film = read_film(run)
    assert (film.steps, film.left_out) == ((0, 100), 1)


def test_when_the_newest_preview_is_damaged_the_film_ends_before_it(run: Run) -> None:
    (run.previews_dir / "step-00000100.npz").write_bytes(b"")
    film = read_film(run)
    assert (film.steps, film.left_out) == ((0, 5), 1)


def test_previews_of_another_shape_than_the_newest_are_left_out(run: Run) -> None:
    write(run, 5, frames=4)
    assert read_film(run).steps == (0, 100)


def test_a_run_without_previews_says_what_to_do(tmp_path: Path) -> None:
    empty = RunStore(tmp_path / "runs").create("unet", tiny_settings())
    with pytest.raises(LabError, match=r"no preview yet; let it train to its first preview"):
        read_film(empty)


def test_a_preview_that_unpacks_to_more_than_is_allowed_is_not_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(run, 5, side=64)
    monkeypatch.setattr(film_module, "MAX_FILE_BYTES", 3 * 4 * 32 * 32)
    assert read_film(run).steps == (0, 100)


def test_large_pictures_keep_their_training_times_and_lose_pixels(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_module, "MAX_LAYER_PIXELS", 3 * 3 * 2 * 4 * 4)  # room for half the side
    film = read_film(run)
    assert (film.steps, film.every, film.layers["noisy_images"].shape[3:5]) == ((0, 5, 100), 2, (4, 4))


def test_long_paths_are_thinned_out_with_both_ends_kept(run: Run) -> None:
    for step in (0, 5, 100):
        write(run, step, frames=60)
    film = read_film(run)
    assert len(film.timesteps) == MAX_FRAMES == film.layers["noisy_images"].shape[1]
    assert (film.timesteps[0], film.timesteps[-1]) == (999.0, 0.0)


@pytest.mark.parametrize(("count", "most", "kept"), [(3, 5, [0, 1, 2]), (10, 4, [0, 3, 6, 9]), (5, 1, [0])])
def test_thinning_keeps_the_ends(count: int, most: int, kept: list[int]) -> None:
    assert thinned(count, most) == kept


def test_the_animation_plays_the_axis_that_is_asked_for(run: Run) -> None:
    film = read_film(run)
    assert moments(film, "training") == [(0, 2), (1, 2), (2, 2)]
    assert moments(film, "denoising") == [(2, 0), (2, 1), (2, 2)]
    assert len(moments(film, "both")) == 9
    shown = Image.open(io.BytesIO(animation(film, axis="both")))
    assert (shown.format, shown.n_frames, shown.info["loop"]) == ("WEBP", 9, 0)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "format"), [("film.webp", "WEBP"), ("film.gif", "GIF")])
def test_the_command_writes_what_the_name_says(
    run: Run, tmp_path: Path, name: str, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["film", str(run.folder), str(tmp_path / name), "--axis", "training"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / name)
    assert Image.open(tmp_path / name).format == format


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["film.mp4"], "a film is written as .webp or .gif"),
        (["film.webp", "--per-class", "0"], "--per-class: expected 1 or more, got 0"),
    ],
)
def test_bad_usage_is_one_sentence_and_writes_nothing(
    run: Run, tmp_path: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["film", str(run.folder), str(tmp_path / arguments[0]), *arguments[1:]]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / arguments[0]).exists()


def test_a_comparison_has_no_film(tmp_path: Path) -> None:
    made = make_run(RunStore(tmp_path / "runs"), "vae")
    values = (made.folder / "run.json").read_text().replace('"vae"', '"comparison"')
    (made.folder / "run.json").write_text(values)
    with pytest.raises(LabError, match="has no previews"):
        read_film(Run(made.folder))
