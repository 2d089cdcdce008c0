"""House rules, each with a planted fault that must be caught: imports go down, light rooms stay light,
the engine does not know the screen."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "core.errors": 0,
    "core.atomic": 0,
    "core.mosaic": 0,
    "core.config": 1,
    "core.runs": 2,
    "core.seeding": 3,
    "core.device": 3,
    "core.data": 3,
    "core.diffusion": 3,
    "core.models": 3,
    "core.latent": 4,
    "core.sampling": 5,
    "core.latent.study": 5,
    "core.latent.quality": 5,
    "core.evaluation": 6,
    "core.training": 7,
    "core.jobs": 8,
    "core.commands": 9,
    "core.__main__": 9,
    "lab": 10,
    "pages": 11,
}
HEAVY = ("torch", "torchvision", "diffusers", "accelerate", "torchmetrics")
LIGHT = (
    "core.errors",
    "core.atomic",
    "core.mosaic",
    "core.seeding",
    "core.config",
    "core.runs",
    "core.data.catalog",
    "core.data.arrays",
    "core.data.imports",
    "core.data.import_set",
    "core.data.import_child",
    "core.data.overview",
    "core.training.learning_rate",
    "core.latent.subject",
    "core.latent.likeness",
    "core.latent.plain_vae",
    "core.latent.first_look",
    "core.data.limited_child",
    "core.sampling.exports",
    "core.sampling.hub",
    "core.sampling.import_model",
    "core.sampling.import_child",
    "core.sampling.model_files",
    "core.sampling.model_zip",
    "core.sampling.model_facts",
    "core.sampling.model_card",
    "core.sampling.stock_layout",
    "core.latent.statistics",
    "core.latent.overview",
    "core.latent.verdict",
    "core.jobs",
    "core.commands",
    "core.__main__",
    "lab",
    "pages",
)
NOT_LIGHT = ("core.runs.checkpoints",)


def sources() -> list[Path]:
    return [path for folder in ("core", "lab", "pages") for path in sorted((ROOT / folder).rglob("*.py"))]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(source)
    nodes: list[ast.AST] = list(ast.walk(tree))
    if top_level_only:
        nodes = []
        for node in tree.body:
            guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            if not guarded and not isinstance(node, ast.FunctionDef | ast.ClassDef):
                nodes += list(ast.walk(node))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def floor_of(module: str) -> int | None:
    matches = [room for room in FLOORS if module == room or module.startswith(room + ".")]
    return FLOORS[max(matches, key=len)] if matches else None


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2]) if module.startswith("core.") else module.split(".")[0]


def upward_imports(module: str, source: str) -> list[str]:
    own = floor_of(module)
    if own is None:
        return []
    bad = []
    for name in imports(source):
        floor = floor_of(name)
        if floor is not None and package_of(name) != package_of(module) and floor > own:
            bad.append(name)
    return bad


def heavy_imports(module: str, source: str) -> list[str]:
    light = any(module == room or module.startswith(room + ".") for room in LIGHT) and module not in NOT_LIGHT
    names = imports(source, top_level_only=True) if light else set()
    return sorted(name for name in names if name.split(".")[0] in HEAVY or name in NOT_LIGHT)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    assert upward_imports(module_of(path), path.read_text()) == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_light_rooms_import_nothing_heavy(path: Path) -> None:
    assert heavy_imports(module_of(path), path.read_text()) == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_does_not_know_the_screen(path: Path) -> None:
    if path.is_relative_to(ROOT / "core"):
        assert [name for name in imports(path.read_text()) if name.split(".")[0] in ("streamlit", "lab", "pages")] == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_room_is_named_for_nothing(path: Path) -> None:
    assert path.stem not in ("utils", "helpers", "common", "misc")


def test_planted_upward_import_is_caught() -> None:
    assert upward_imports("core.data.batches", "from core.training.loop import train_steps") != []


def test_planted_import_inside_a_function_is_caught() -> None:
    assert upward_imports("core.config.load", "def f():\n    import core.jobs.worker") == ["core.jobs.worker"]


@pytest.mark.parametrize(
    "source", ["import torch", "from diffusers import UNet2DModel", "try:\n    import torch\nexcept ImportError: pass"]
)
def test_planted_heavy_import_in_a_light_room_is_caught(source: str) -> None:
    assert heavy_imports("pages.runs", source) != []


def test_a_heavy_import_inside_a_function_is_allowed_in_a_light_room() -> None:
    assert heavy_imports("lab.services.models", "def f():\n    import torch") == []


def test_core_works_with_streamlit_blocked() -> None:
    program = (
        "import sys; sys.modules['streamlit'] = None\n"
        "import core.sampling.trajectory, core.training.train_unet, core.training.train_vae, core.evaluation.evaluate\n"
        "import core.jobs.worker, core.__main__\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_light_rooms_leave_torch_alone_when_imported() -> None:
    program = (
        "import sys, core.jobs.service, core.__main__, core.data.catalog, core.data.arrays, core.runs.store\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
