"""House rules, each with a planted fault that must be caught: imports go down, nothing goes round in a circle, light
rooms stay light, screens reach nothing heavy, the engine does not know the screen."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS: tuple[tuple[str, ...], ...] = (  # from the ground up; a module belongs to the longest name that fits
    (
        "core.errors",
        "core.atomic",
        "core.mosaic",
        "core.startup",
        "core.version",
        "core.home",
        "core.values",
        "core.compute.question",
    ),
    ("core.reading", "core.permissions", "core.rules", "core.words", "core.csv_text", "core.diffusion.sampler_table"),
    ("core.bounded_cache", "core.leftovers", "core.bound_child", "core.diffusers_parts", "core.seeding"),
    ("core.config",),
    ("core.runs", "core.limited_child", "core.typed_paths"),
    ("core.device", "core.machine", "core.diffusion", "core.models", "core.data"),
    ("core.data.importing", "core.latent", "core.weighing"),
    ("core.latent.inspection",),
    ("core.sampling",),
    ("core.model_folders", "core.training"),
    ("core.evaluation",),
    ("core.comparison",),
    ("core.handround",),
    ("core.compute.answers",),
    ("core.jobs", "core.compute"),
    ("core.commands", "core.api"),
    ("core.__main__",),
    ("lab.words",),
    ("lab.services",),
    ("lab.widgets",),
    ("lab.frame",),
    ("lab.data", "lab.evaluate", "lab.generate", "lab.latents", "lab.machine", "lab.schedulers", "lab.train"),
    ("lab.runs", "lab.overview"),
    ("lab.compare",),
    ("lab.Home", "pages"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = ("torch", "torchvision", "diffusers", "accelerate", "torchmetrics")
LIGHT = (  # with whatever they import at their top level
    *FLOORS[0],
    *FLOORS[1],
    *("core.config", "core.runs", "core.limited_child", "core.typed_paths", "core.bounded_cache", "core.leftovers"),
    *("core.seeding", "core.machine", "core.jobs", "core.commands", "core.__main__", "core.compute"),
    *("core.data.importing", "core.model_folders.import_child", "core.handround"),
)
NOT_LIGHT = ("core.runs.checkpoints", "core.compute.answers")
Sources = Mapping[str, str]


@cache
def sources() -> Sources:
    """Module → source of all that the product is made of."""
    found = {}
    for folder in ("core", "lab", "pages"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


@cache
def imported(source: str, *, top_level_only: bool = False) -> frozenset[str]:
    """Names that a module imports: `a.b` and, for `from a import b`, `a` and `a.b`."""
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
    return frozenset(found)


def modules_imported(source: str, known: Iterable[str]) -> set[str]:
    """The modules among `known` that the source imports; a package only when nothing inside it is meant."""
    names = imported(source) & set(known)
    return {name for name in names if not any(other.startswith(name + ".") for other in names)}


def room_of(module: str) -> str | None:
    """The room that a module lies in: the longest that fits."""
    fits = [room for room in FLOOR_OF if module == room or module.startswith(room + ".")]
    return max(fits, key=len) if fits else None


def upward_imports(found: Sources) -> list[str]:
    """'a → b' for every import of a room that is not below the importer's own."""
    bad = []
    for module, source in found.items():
        own = room_of(module)
        for name in sorted(modules_imported(source, {*sources(), *found})):
            room = room_of(name)
            if own and room and room != own and FLOOR_OF[room] >= FLOOR_OF[own] and name not in ("core", "lab"):
                bad.append(f"{module} → {name}")
    return bad


def circles(found: Sources) -> list[str]:
    """Modules that can reach themselves by imports."""
    below = {module: modules_imported(source, found) - {module} for module, source in found.items()}
    reach = {module: set(names) for module, names in below.items()}
    changed = True
    while changed:
        changed = False
        for names in reach.values():
            more = set().union(*(reach[name] for name in names)) - names
            names |= more
            changed |= bool(more)
    return sorted(module for module, names in reach.items() if module in names)


def lies_in(module: str, rooms: Iterable[str]) -> bool:
    """Whether one of the rooms is the module or holds it."""
    return any(module == room or module.startswith(room + ".") for room in rooms)


def with_packages(names: Iterable[str]) -> set[str]:
    """The names and every package on the way to them, which are imported first."""
    return {name.rsplit(".", up)[0] for name in names for up in range(name.count(".") + 1)}


def ways_to_heavy(found: Sources) -> dict[str, str]:
    """Module → 'b → c → torch', by which imports it reaches something heavy when it is imported itself."""
    known = {**sources(), **found}
    below = {module: sorted(with_packages(imported(known[module], top_level_only=True))) for module in known}
    ways = dict.fromkeys(HEAVY, "")
    changed = True
    while changed:
        changed = False
        for module in below.keys() - ways.keys():
            if name := next((name for name in below[module] if name in ways), None):
                ways[module], changed = f" → {name}{ways[name]}", True
    return ways


def heavy_imports(found: Sources) -> list[str]:
    """'a → b → torch' for every module of a light room that reaches something heavy when it is imported."""
    ways = ways_to_heavy(found)
    light = [module for module in found if lies_in(module, LIGHT) and not lies_in(module, NOT_LIGHT)]
    return [module + ways[module] for module in light if module in ways]


def heavy_screens(found: Sources) -> list[str]:
    """'a → b → torch' for every import of a screen, also inside a function, that reaches something heavy."""
    ways = ways_to_heavy(found)
    return [
        f"{module} → {name}{ways[name]}"
        for module, source in found.items()
        if module.split(".")[0] in ("lab", "pages")
        for name in sorted(with_packages(imported(source)) & ways.keys())
    ]


def screens_in_core(found: Sources) -> list[str]:
    """'a → streamlit' for every module of core that knows the screen."""
    return [
        f"{module} → {name}"
        for module, source in found.items()
        if module.split(".")[0] == "core"
        for name in sorted(imported(source))
        if name.split(".")[0] in ("streamlit", "lab", "pages")
    ]


def rooms_named_for_nothing(found: Sources) -> list[str]:
    """Modules called utils and the like."""
    return [module for module in found if module.split(".")[-1] in ("utils", "helpers", "common", "misc")]


def homeless(found: Sources) -> list[str]:
    """Modules that no floor names."""
    return [module for module in found if room_of(module) is None and module not in ("core", "lab")]


def strays(found: Sources) -> list[str]:
    """Modules that import diffusers past the one that spares what nobody needs."""
    names = {module: {name.partition(".")[0] for name in imported(source)} for module, source in found.items()}
    return [module for module, roots in names.items() if "diffusers" in roots and module != "core.diffusers_parts"]


@pytest.mark.parametrize(
    "check",
    [strays, upward_imports, circles, heavy_imports, heavy_screens, screens_in_core, rooms_named_for_nothing, homeless],
)
def test_the_house_keeps_its_rule(check: object) -> None:
    assert check(sources()) == []  # type: ignore[operator]


@pytest.mark.parametrize(
    ("check", "planted"),
    [
        (upward_imports, {"core.data.batches": "from core.training.loop import train_steps"}),
        (upward_imports, {"core.config.load": "def f():\n    import core.jobs.worker"}),
        (upward_imports, {"core.data.catalog": "from core.data.importing import limits"}),
        (upward_imports, {"lab.widgets.strip": "from lab.frame import confirm"}),
        (upward_imports, {"lab.latents.map": "from lab.generate import branch"}),
        (circles, {"core.runs.a": "from core.runs import b", "core.runs.b": "import core.runs.a"}),
        (circles, {"lab.a": "def f():\n    from lab.b import x", "lab.b": "import lab.c", "lab.c": "import lab.a"}),
        (heavy_screens, {"pages.runs": "import torch"}),
        (heavy_screens, {"lab.runs.x": "def f():\n    from diffusers import UNet2DModel"}),
        (heavy_screens, {"lab.train.x": "def f():\n    from core.training.probe import probe"}),
        (heavy_screens, {"lab.latents.x": "from core.data.y import z", "core.data.y": "import core.data.batches"}),
        (heavy_screens, {"lab.x": "from core.compute.answers import drawing"}),
        (heavy_imports, {"core.jobs.x": "from core.words import y", "core.words": "from torch import nn"}),
        (heavy_imports, {"core.jobs.x": "try:\n    import torch\nexcept ImportError: pass"}),
        (heavy_imports, {"core.runs.store": "from core.runs.checkpoints import load_newest"}),
        (screens_in_core, {"core.jobs.service": "def f():\n    import streamlit"}),
        (rooms_named_for_nothing, {"core.data.utils": ""}),
        (homeless, {"core.attic.box": ""}),
        (strays, {"core.models.dit": "def f():\n    from diffusers.models import DiTTransformer2DModel"}),
    ],
)
def test_a_planted_fault_is_caught(check: object, planted: Sources) -> None:
    assert check(planted) != []  # type: ignore[operator]


def test_a_heavy_import_inside_a_function_is_allowed_in_a_light_room() -> None:
    assert heavy_imports({"core.jobs.service": "def f():\n    import torch"}) == []


def test_core_is_imported_without_streamlit() -> None:
    """In a process of its own: what is forked for tests may have Streamlit."""
    program = (
        "import sys, core.sampling.trajectory, core.training.train_unet, core.evaluation.evaluate, core.jobs.worker\n"
        "assert not {'streamlit', 'lab', 'pages'} & {name.partition('.')[0] for name in sys.modules}\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_light_rooms_leave_torch_alone_when_imported() -> None:
    program = (
        "import sys, core.jobs.service, core.__main__, core.data.catalog, core.data.arrays, core.runs.store\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_every_module_or_function_that_is_named_as_text_exists() -> None:
    found = re.findall(r'"((?:core|lab)\.[a-z_]+\.[a-z_.]+)"', "\n".join(sources().values()))
    assert "core.jobs.worker" in found
    functions = [name.rpartition(".") for name in found if name not in sources()]
    assert [name for name in functions if f"\ndef {name[2]}(" not in sources().get(name[0], "")] == []
