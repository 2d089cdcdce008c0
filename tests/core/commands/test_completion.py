"""What a shell proposes at the Tab key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.__main__ import main
from core.commands.completion import ASKED, SHELLS
from core.config.load import settings_from
from core.config.site import FOLDERS
from core.home import code_root
from core.runs.store import RunStore

ASK = """
import io, json, os, sys
from core.__main__ import build_parser
from core.commands.completion import complete
found = {}
for line in json.loads(sys.argv[1]):
    os.environ.update(COMP_LINE=line, COMP_POINT=str(len(line)))
    output = io.StringIO()
    try:
        complete(build_parser(), output, exit_method=sys.exit)
    except SystemExit as ended:
        found[line] = [ended.code, [word.strip() for word in output.getvalue().split("\\n") if word]]
print(json.dumps(found))
"""
FOLLOWS = {
    "latent-lab ra": [],
    "latent-lab tr": ["train", "trash"],
    "latent-lab train all --pres": ["--preset"],
    "latent-lab train all --preset ": ["quick", "minute", "color", "standard", "reference"],
    "latent-lab train all --set train_vae.warm": ["train_vae.warmup_steps="],
    "latent-lab runs --state fin": ["finished"],
    "latent-lab sample x --sampler unip": ["unipc"],
    "latent-lab export x out --sampler heu": [],  # not exported
    "latent-lab sample x --per-": ["--per-class"],  # not the old name
    "latent-lab show 20": ["RUN"],
    "latent-lab stop fir": ["first-try"],
    "latent-lab train unet --vae fir": ["first-try"],
    "latent-lab sample model:mnist": ["model:mnist-demo"],
}


def test_what_can_follow_what_is_typed(tmp_path: Path) -> None:
    """In a process of its own: argcomplete takes descriptor 9 for itself."""
    run = RunStore(tmp_path / "runs").create("vae", settings_from({}), name="first-try")
    folders = {variable: str(tmp_path / name) for variable, name in FOLDERS.items()}
    environment = {**os.environ, **folders, ASKED: "1", "_ARGCOMPLETE_IFS": "\n"}
    words = [sys.executable, "-c", ASK, json.dumps(list(FOLLOWS))]
    done = subprocess.run(words, cwd=code_root(), env=environment, capture_output=True, text=True, check=True)
    wanted = [[run.id if word == "RUN" else word for word in words] for words in FOLLOWS.values()]
    assert list(json.loads(done.stdout).values()) == [[0, words] for words in wanted]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "latent-lab" in capsys.readouterr().out


def test_an_unknown_shell_is_refused() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["completion", "cmd"])
    assert caught.value.code == 2
