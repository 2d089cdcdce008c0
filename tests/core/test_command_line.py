"""`python -m core` as a person meets it: tiny models on the offline digits; processes where the process matters."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from core.__main__ import COMMANDS, main
from core.home import code_root
from core.machine.attempts import living_stat
from core.machine.processes import is_alive
from core.runs.listing import list_checkpoints
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore
from tests import forked
from tests.endings import end_lab
from tests.models import brief_judges
from tests.supervisor_thread import SupervisorThread

pytestmark = pytest.mark.slow

TINY = {
    "data.name": "digits",
    "data.image_size": 16,
    "vae.block_out_channels": "[8, 16]",
    "unet.block_out_channels": "[8, 16]",
    "unet.norm_num_groups": 4,
    "train_vae.steps": 12,
    "train_unet.steps": 12,
    "train_vae.batch_size": 16,
    "train_unet.batch_size": 16,
    "logging.save_every_steps": 4,
    "logging.num_previews": 2,
    "logging.preview_images": 4,
    "logging.preview_inference_steps": 3,
    "logging.validation_images": 32,
    "machine.num_threads": 1,
    "machine.device": "cpu",
}
TINY_OPTIONS = [text for name, value in TINY.items() for text in ("--set", f"{name}={value}")]


class Lab:
    """A lab in a folder of its own, driven by the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = RunStore(folder / "runs")
        self.thread = None
        self.environment = {
            **os.environ,
            "LAB_RUNS": str(self.store.root),
            "LAB_DATA": str(folder / "data"),
            "LAB_CACHE": str(folder / "cache"),
            "LAB_USER": "ana",
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *words):
        """The command as a person starts it; its supervisor and trainings are started by exec too."""
        return subprocess.Popen(
            [sys.executable, "-m", "core", *map(str, words)],
            cwd=code_root(),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words):
        """The command in this process, which has PyTorch already: what it printed, and its exit code.

        What it trains is forked from a process that has PyTorch, too.
        """
        if words[0] in ("train", "resume") and self.thread is None:
            self.thread = SupervisorThread(self.store, forked.command("-m", "core.jobs.worker"))
        output, errors = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            try:
                code = main([str(word) for word in words])
            except SystemExit as ended:
                code = ended.code
        return subprocess.CompletedProcess(words, code, output.getvalue(), errors.getvalue())

    def wait_for(self, condition):
        """What the condition says once it says anything."""
        deadline = time.monotonic() + 300
        while not (found := condition()):
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.05)
        return found

    def close(self):
        shims = [] if self.thread is None else self.thread.close()
        end_lab(self.store)
        for shim in shims:
            shim.wait()


@pytest.fixture
def lab(tmp_path, forks):
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, forks):
    """A lab with a VAE and a U-Net run, both finished; tests only read it."""
    lab = Lab(tmp_path_factory.mktemp("trained"))
    done = lab("train", "all", "--name", "tiny", *TINY_OPTIONS)
    assert done.returncode == 0, done.stderr
    lab.ids = done.stdout.split()
    yield lab
    lab.close()


def one_sentence(done, code):
    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["runs"], ["runs", "--json"], ["show", "x"]])
def test_light_commands_never_load_torch(lab, words):
    code = (
        "import sys, runpy\nsys.argv = ['core', *sys.argv[1:]]\n"
        "try:\n    runpy.run_module('core', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'diffusers', 'accelerate', 'streamlit'} & sys.modules.keys()\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=code_root(), env=lab.environment)
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["stop", "delete"])
def test_stopping_and_deleting_never_load_torch(lab, command, monkeypatch):
    from core.config.load import settings_from

    run = lab.store.create("vae", settings_from({}))
    run.write_status(Status(state=RunState.FINISHED))
    code = (
        f"import sys\nfrom core.__main__ import main\nmain([{command!r}, {run.id!r}])\nsys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=code_root(), env=lab.environment)
    assert done.returncode == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command.replace("_", "-"), "--help"])
    assert caught.value.code == 0
    assert "--set" in capsys.readouterr().out or command in ("self_test", "import_data")  # read none


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("train unet", 2, "needs a finished VAE run"),
        ("train unet --vae nope", 1, "run 'nope' does not exist"),
        ("train all --set data.name=mnsit", 2, "did you mean mnist"),
        ("train all --set data.name=mnist --set data.download=false", 1, "there now: digits"),
        ("train all --set train_vae.stepz=3", 2, "did you mean steps"),
        ("train all --set train_vae.steps=0", 2, "greater than or equal to 1"),
        ("train all --set diffusion.prediction_type=epsilon", 2, "impossible"),
        ("train vae --vae x", 2, "leave it out"),
        ("train vae --preset quik", 2, "did you mean quick"),
        ("train vae --config /nowhere.yaml", 2, "cannot be read"),
        ("train vae --set data.name=digits --set machine.device=cuda:99", 2, "machine.device"),
        ("show ../../etc", 1, "does not exist"),
        ("stop nope", 1, "does not exist"),
        ("resume nope", 1, "does not exist"),
        ("resume nope --set train_vae.steps=9", 2, "continues with its own settings, got train_vae.steps"),
        ("resume nope --preset quick", 2, "python -m core branch nope"),
        ("delete nope", 1, "does not exist"),
        ("sample nope", 1, "does not exist"),
        ("evaluate nope", 1, "does not exist"),
    ],
)
def test_bad_input_is_one_sentence_and_creates_nothing(lab, words, code, sentence):
    assert sentence in one_sentence(lab(*words.split()), code)
    assert lab.store.list() == []


def test_bad_usage_exits_2():
    with pytest.raises(SystemExit) as caught:
        main(["train", "everything"])
    assert caught.value.code == 2


def test_training_prints_the_ids_first_and_finishes_both(trained):
    vae, unet = (trained.store.get(run_id) for run_id in trained.ids)
    assert (vae.info.kind, unet.info.kind) == ("vae", "unet")
    assert unet.info.parents == (vae.id,)
    assert {run.status().state for run in (vae, unet)} == {RunState.FINISHED}
    assert "finished" in unet.log_path.read_text()


def test_runs_as_json_is_the_documented_array(trained):
    rows = json.loads(trained("runs", "--json").stdout)
    assert [row["id"] for row in rows] == trained.ids[::-1]
    keys = {"id", "kind", "name", "state", "step", "steps_total", "owner", "created_at", "parents"}
    assert rows[0].keys() == keys | {"problem"}
    assert (rows[0]["name"], rows[0]["owner"], rows[0]["state"]) == ("tiny", "ana", "finished")


def test_runs_and_show_are_readable(trained):
    assert "12/12" in trained("runs").stdout
    text = trained("show", "tiny").stdout
    assert "Checkpoints" in text
    assert "12 of 12" in text


def test_show_as_json_adds_settings_metrics_and_checkpoints(trained):
    details = json.loads(trained("show", "tiny", "--json").stdout)
    assert details["settings"]["data"]["name"] == "digits"
    assert details["metrics"]["step"] == 12
    assert details["checkpoints"][-1]["step"] == 12


def test_sampling_writes_pictures_a_grid_and_the_request(trained, tmp_path):
    words = ["sample", "tiny", "--labels", "3,5-6", "--per-label", 4, "--steps", 3, "--seed", 7]
    done = trained(*words, "--guidance-scale", 2.0, "--sampler", "euler", "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    arrays = np.load(tmp_path / "a" / "samples.npz")
    assert (arrays["images"].shape, arrays["images"].dtype) == ((12, 16, 16, 1), np.uint8)
    assert (arrays["labels"].tolist(), arrays["labels"].dtype) == ([3] * 4 + [5] * 4 + [6] * 4, np.int64)
    request = json.loads((tmp_path / "a" / "request.json").read_text())
    assert (request["sampler"], request["guidance_scale"], request["seed"], request["step"]) == ("euler", 2.0, 7, 12)
    assert Image.open(tmp_path / "a" / "grid.png").size == (4 * 65 - 1, 3 * 65 - 1)


def test_sampling_twice_with_one_seed_gives_identical_pictures(trained, tmp_path):
    words = ["sample", "tiny", "--labels", "0-9", "--per-label", 2, "--steps", 3, "--seed", 1]
    [trained(*words, "--out", tmp_path / name) for name in ("a", "b")]
    first, second = (np.load(tmp_path / name / "samples.npz")["images"] for name in ("a", "b"))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--labels", "10"], "outside the classes 0 to 9"),
        (["--labels", "cat"], "is not a class"),
        (["--sampler", "ddim"], "cannot sample flow matching"),
        (["--sampler", "unipcc"], "sampling.sampler"),
        (["--set", "unet.dropout=0.5"], "cannot be changed now"),
        (["--seed", "-1"], "sampling.seed"),
    ],
)
def test_a_wrong_sampling_request_makes_no_folder(trained, tmp_path, options, sentence):
    assert sentence in one_sentence(trained("sample", "tiny", "--out", tmp_path / "out", *options), 2)
    assert not (tmp_path / "out").exists()


def test_pictures_come_from_unet_runs_only(trained):
    assert "is a VAE run" in one_sentence(trained("sample", trained.ids[0]), 2)


def test_a_run_folder_is_sampled_wherever_it_lies(trained, tmp_path):
    copy = tmp_path / "copied"
    subprocess.run(["cp", "-r", trained.store.get("tiny").folder, copy], check=True)
    done = trained("sample", copy, "--per-label", 1, "--steps", 2)
    assert done.returncode == 0, done.stderr
    assert len(list((copy / "samples").iterdir())) == 1


def test_a_unet_takes_data_and_vae_from_its_vae_run(trained):
    sizes = ["--set", "unet.block_out_channels=[8, 16]", "--set", "unet.norm_num_groups=4"]
    words = ["train", "unet", "--vae", trained.ids[0], *sizes, "--set", "train_unet.steps=2"]
    done = trained(*words, "--set", "logging.num_previews=0", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["state"], row["reason"]) == ("finished", "")
    settings = trained.store.get(row["id"]).settings
    assert (settings.data.name, settings.vae.block_out_channels) == ("digits", (8, 16))
    trained("delete", row["id"])


def test_what_is_written_is_answered_as_json_and_its_progress_moves_no_cursor(trained, tmp_path):
    film, model = tmp_path / "film.webp", tmp_path / "model"
    done = [trained("film", "tiny", film, "--json"), trained("export", "tiny", model, "--json")]
    assert [json.loads(each.stdout) for each in done] == [
        {"path": str(film), "run": trained.ids[1]},
        {"path": str(model), "run": trained.ids[1], "step": 12, "weights": "ema", "url": None},
    ]
    assert film.is_file() and (model / "model_index.json").is_file()
    assert not any("\r" in each.stderr for each in done)


@pytest.mark.parametrize("option", ["data.name=mnist", "vae.latent_channels=8"])
def test_a_unet_that_contradicts_its_vae_run_is_refused(trained, option):
    done = trained("train", "unet", "--vae", trained.ids[0], *TINY_OPTIONS, "--set", option)
    assert "was trained with" in one_sentence(done, 2)


def test_evaluation_prints_a_table_and_keeps_a_report(trained):
    with brief_judges(min_steps=30):
        words = ("--level", "release", "--samples", 20, "--set", "evaluation.judge_epochs=1")
        done = trained("evaluate", "tiny", *words)
    assert done.returncode == 0, done.stderr
    assert "class accuracy" in done.stdout and "3 seeds: class accuracy" in done.stdout
    paths = sorted(trained.store.get("tiny").evaluations_dir.glob("*.json"))
    reports = [json.loads(path.read_text()) for path in paths]
    assert [(report["num_samples"], report["seed"]) for report in reports] == [(20, 0), (20, 1), (20, 2)]


def test_doctor_says_what_works(lab):
    done = lab("doctor")
    assert "digits" in done.stdout
    assert "ok    torch" in done.stdout


def test_ctrl_c_saves_and_ends_stopped_and_resume_finishes(lab):
    process = lab.start("train", "vae", *TINY_OPTIONS, "--set", "train_vae.steps=100000")
    run = lab.store.get(process.stdout.readline().strip())
    lab.wait_for(lambda: run.status().step > 5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    status = run.status()
    assert status.state is RunState.STOPPED
    assert f"{run.id} is stopped (stopped by ana (Ctrl-C) at step {status.step:,}" in errors
    assert (run.checkpoints_dir / f"step-{status.step:08d}").is_dir()


def test_detached_training_is_watched_stopped_resumed_and_deleted_from_outside(lab):
    endless = ["--set", "train_vae.steps=100000", "--set", "logging.save_every_steps=1000"]
    done = lab("train", "all", "--detach", *TINY_OPTIONS, *endless)
    assert done.returncode == 0, done.stderr
    vae, unet = (lab.store.get(run_id) for run_id in done.stdout.split())
    lab.wait_for(lambda: vae.status().step > 5)
    assert "is being worked on; stop it first" in one_sentence(lab("delete", vae.id), 1)
    assert "is already queued" in one_sentence(lab("resume", unet.id, "--detach"), 1)
    stopped = lab("stop", vae.id)
    assert (stopped.returncode, vae.status().state) == (0, RunState.STOPPED)
    assert "is stopped (stopped by ana at step" in stopped.stdout
    lab.wait_for(lambda: unet.status().state is RunState.STOPPED)
    step = vae.status().step
    vae.config_path.write_text(vae.config_path.read_text().replace("steps: 100000", f"steps: {step + 8}"))
    assert lab("resume", unet.id).returncode == 0
    assert (vae.status().state, unet.status().state) == (RunState.FINISHED, RunState.FINISHED)
    resumed = [event for event in vae.events() if event["event"] == "resumed"]
    assert resumed[0]["from_step"] == step
    assert lab("delete", unet.id).returncode == 0
    assert lab("delete", vae.id).returncode == 0
    assert json.loads(lab("runs", "--json").stdout) == []


def weights_of(run: Run) -> dict[str, str]:
    """sha256 of the last checkpoint's weights, averages and optimizer state."""
    folder = max(run.checkpoints_dir.glob("step-*"))
    files = json.loads((folder / "manifest.json").read_text())["files"]
    return {name: facts["sha256"] for name, facts in files.items() if name.endswith(".safetensors")}


def steps_saved(*runs: Run) -> int:
    """Steps of the newest checkpoints, added up."""
    return sum(max((info.step for info in list_checkpoints(run)), default=0) for run in runs)


def deaths_of(run: Run) -> int:
    """How often it was queued again by itself."""
    return [event["event"] for event in run.events()].count("queued")


def is_over(run: Run) -> bool:
    return not run.status().state.is_active


def halted_in_its_work(*runs: Run) -> Run | None:
    """The first of these runs whose process lives; it stands still and has not said yet how it ends. None: none."""
    for run in runs:
        if is_over(run) or not is_alive(process := run.status().process):
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGSTOP)
            while (stat := living_stat(process.pid)) and stat[0] != "T":
                time.sleep(0.001)
            if stat and not is_over(run):
                return run
            os.kill(process.pid, signal.SIGCONT)
    return None


def test_a_run_killed_again_and_again_ends_bit_equal_to_one_never_killed(lab, trained):
    """kill -9 at random moments of a VAE and its U-Net: at most one save interval is repeated, metrics only grow."""
    num_kills = int(os.environ.get("LAB_KILLS", "2"))
    steps = max(12, 6 * num_kills)
    longer = [*TINY_OPTIONS, "--set", f"train_vae.steps={steps}", "--set", f"train_unet.steps={steps}"]
    reference = trained.ids if steps == 12 else trained("train", "all", *longer).stdout.split()
    vae, unet = (lab.store.get(run_id) for run_id in lab("train", "all", "--detach", *longer).stdout.split())
    random, kills = np.random.default_rng(0), 0
    for target in np.sort(random.uniform(0, 2 * steps - 8, num_kills)):
        lab.wait_for(lambda target=target: steps_saved(vae, unet) >= target - 4)
        time.sleep(random.uniform(0, 0.1))  # also between saves, and while one is written
        victim = lab.wait_for(lambda: halted_in_its_work(vae, unet) or is_over(unet))
        if victim is True:  # all was done before
            break
        before, deaths = steps_saved(vae, unet), deaths_of(victim)
        os.kill(victim.status().process.pid, signal.SIGKILL)
        kills += 1
        lab.wait_for(lambda victim=victim, deaths=deaths: deaths_of(victim) > deaths)
        assert steps_saved(vae, unet) >= before
    lab.wait_for(lambda: is_over(unet))
    assert unet.status().state is RunState.FINISHED
    told = [event["event"] for run in (vae, unet) for event in run.events()]
    assert told.count("queued") == kills > 0
    for run, other in zip((vae, unet), reference, strict=True):
        assert weights_of(run) == weights_of(trained.store.get(other))
        logged = [json.loads(line)["step"] for line in run.metrics_path.read_text().splitlines()]
        assert logged == sorted(set(logged))
        assert all(event["from_step"] % 4 == 0 for event in run.events() if event["event"] == "resumed")
