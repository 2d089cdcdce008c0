"""What a model folder of ours says about itself (lab.json), and which such folders there are. Never imports torch."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from core import reading, rules
from core.config.frozen import frozen_from
from core.config.schema import Section, Settings
from core.config.site import LONGEST_LOGIN
from core.config.strict_yaml import parse_yaml
from core.errors import ConfigError, LabError, UsageError, quoted
from core.home import PROGRAM, code_root
from core.model_folders.model_files import MAX_TEXT_BYTES, ModelRefused
from core.runs.store import MAX_NAME_LENGTH
from core.typed_paths import elsewhere

FORMAT = 1  # of lab.json
LAB_FILE = "lab.json"
SETTINGS_FILE = "lab/config.yaml"
VAE_FILE = "lab/vae.safetensors"
JUDGE_FOLDER = "lab/judge"
CARD_FILE = "README.md"
GRID_FILE = "grid.png"
IMPORT_FILE = "import.json"
MAX_NAME = 120
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
MAX_CLASSES = 1000
MAX_CLASS_NAME = 200
PREFIX = "model:"
DEMO = "models/mnist-demo"

logger = logging.getLogger(__name__)
Name = Annotated[str, Field(min_length=1, max_length=MAX_CLASS_NAME)]
Words = Annotated[str, Field(max_length=500)]


class FileFact(Section):
    """Size and sha256 of one file of the folder."""

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class LabFacts(Section):
    """lab.json: what plain diffusers has no place for. shift and scale (c,): scaling of the unfolded VAE's latents.

    report: the newest evaluation (fields of `core.evaluation.report.Report`) or None. fingerprint: of the dataset, ''
    when unknown. trained_on: device and seconds of the U-Net's training in words, '' when unknown. stock: it came from
    plain diffusers, and its networks and scheduler are what their own configurations say.
    """

    format_version: int = FORMAT
    title: str = Field(max_length=MAX_NAME_LENGTH)
    run_id: Words
    step: int = Field(ge=0)
    weights: Literal["ema", "raw"]
    class_names: tuple[Name, ...] = Field(min_length=1, max_length=MAX_CLASSES)
    data_set: Words
    data_title: Words
    fingerprint: Words
    channels: Literal[1, 3]
    shift: tuple[float, ...] = Field(min_length=1, max_length=64)
    scale: tuple[float, ...] = Field(min_length=1, max_length=64)
    licence: Words
    created_at: Words
    revision: Words = ""
    trained_on: Words = ""
    versions: dict[str, Words] = Field(default_factory=dict, max_length=50)
    report: dict[str, Any] | None = None
    stock: bool = False
    files: dict[str, FileFact] = Field(max_length=64)

    @field_validator("class_names", "title", "data_title", "licence")
    @classmethod
    def printable(cls, value: Any) -> Any:
        """Refuse control characters, which could move a terminal's cursor."""
        for text in (value,) if isinstance(value, str) else value:
            if not text.isprintable():
                raise ValueError(f"'{quoted(text, 40)}' has characters that cannot be printed")
        return value


@dataclass(frozen=True, kw_only=True)
class ModelFolderInfo:
    """A model folder as lists show it. `id` is what stands for it where a run's id would: 'model:mnist-demo'.

    owner: who imported it, '' when nobody knows; imported_at: ISO 8601, or ''.
    """

    path: Path
    facts: LabFacts
    owner: str = ""
    imported_at: str = ""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def id(self) -> str:
        """'model:' and the folder's name."""
        return PREFIX + self.path.name

    @property
    def title(self) -> str:
        """What a person called it, or the folder's name."""
        return self.facts.title or self.path.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.facts.class_names

    @property
    def has_judge(self) -> bool:
        """True when class probabilities work without the dataset."""
        return f"{JUDGE_FOLDER}/judge.json" in self.facts.files

    def settings(self) -> Settings:
        """The settings it was trained with. Raises ModelRefused when they cannot be read."""
        return parse_settings(_small_file(self.path / SETTINGS_FILE))


def check_folder_name(name: str) -> str:
    """The name as it came. Raises UsageError, with one that would do."""
    if not FOLDER_NAME.fullmatch(name) or name.endswith("."):
        close = folder_name_like(name)
        raise UsageError(
            f"name: '{quoted(name)}' is not made of letters, digits, - . and _ (at most 60)",
            f"'{close}' would do" if close else "give one such as digits",
        )
    return name


def folder_name_like(text: str) -> str:
    """A folder's name made of any text; '' when nothing of it can be kept."""
    close = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60].rstrip("-._")
    return close if FOLDER_NAME.fullmatch(close) else ""


def list_model_folders(models_dir: Path) -> list[ModelFolderInfo]:
    """Our own model folders under `models_dir`, and the bundled demo, by name. Folders that are none are left out."""
    folders = sorted(models_dir.iterdir()) if models_dir.is_dir() else []
    demo = code_root() / DEMO
    if demo.name not in (folder.name for folder in folders):
        folders.append(demo)
    found = []
    for folder in folders:
        if not (folder / LAB_FILE).is_file() or folder.name.startswith("."):
            continue
        try:
            found.append(model_folder_info(folder))
        except LabError as error:
            logger.warning("%s is left out: %s", folder.name, error)
    return sorted(found, key=lambda info: info.name)


def find_model_folder(models_dir: Path, reference: str) -> ModelFolderInfo:
    """The folder that 'model:NAME' (or NAME) stands for. Raises UsageError when there is none of that name."""
    wanted = reference.removeprefix(PREFIX)
    known = list_model_folders(models_dir)
    for info in known:
        if info.name == wanted:
            return info
    names = ", ".join(info.name for info in known[:10]) or "none yet"
    raise UsageError(f"model '{quoted(wanted)}': is not in the models folder", f"there is: {quoted(names, 300)}")


def as_called(folder: Path) -> Path:
    """The whole path of a folder under the name that it was given; `resolve` would take that of what a link names."""
    return Path(os.path.abspath(folder))  # noqa: PTH100 - see above


def is_demo(info: ModelFolderInfo) -> bool:
    """True for the model that comes with the lab."""
    demo = code_root() / DEMO
    return info.name == demo.name and info.path.resolve() == demo.resolve()


def is_model_folder(folder: Path) -> bool:
    """True for a folder that says it holds a model, ours or plain diffusers."""
    return (folder / LAB_FILE).is_file() or (folder / "model_index.json").is_file()


def model_folder_info(folder: Path) -> ModelFolderInfo:
    """The facts of one folder of ours; opens no weights. Raises ModelRefused in one sentence.

    It is called as the folder is called, also where that is a link to another one.
    """
    path = as_called(folder)
    if not (path / LAB_FILE).is_file() and (path / "model_index.json").is_file():
        raise ModelRefused(
            f"{quoted(folder.name)}: is a plain diffusers folder without {LAB_FILE}",
            f"import it first: {PROGRAM} import-model FOLDER",
        )
    owner, imported_at = _who_imported(path)
    return ModelFolderInfo(
        path=path, facts=parse_facts(_small_file(path / LAB_FILE)), owner=owner, imported_at=imported_at
    )


def _who_imported(path: Path) -> tuple[str, str]:
    """(owner, when) as the import wrote them down; empty for a folder that was put there by hand."""
    try:
        facts = reading.json_object(_small_file(path / IMPORT_FILE), IMPORT_FILE)
        found = owner, when = facts["imported_by"], facts["imported_at"]
        if not all(isinstance(text, str) and len(text) <= LONGEST_LOGIN and text.isprintable() for text in found):
            raise ValueError("it names no person")
    except (LabError, ValueError, KeyError, TypeError, RecursionError):
        return "", ""
    return owner, when


def parse_facts(data: bytes) -> LabFacts:
    """lab.json. Raises ModelRefused for anything unknown, missing, too long or unprintable."""
    try:
        reading.json_object(data, LAB_FILE)
        facts = LabFacts.model_validate_json(data)
        if facts.format_version != FORMAT:
            words = reading.newer(facts.format_version, FORMAT) or "is of a format that is not known"
            raise ModelRefused(f"{LAB_FILE}: {words}", "update this lab")
        if words := rules.flaw(facts.versions):
            raise ModelRefused(f"{LAB_FILE}: {words}", "update this lab")
        return facts
    except reading.Unreadable as error:
        raise ModelRefused(error.message) from None
    except ValidationError as error:
        with contextlib.suppress(reading.Unreadable):
            number = reading.json_object(data, LAB_FILE).get("format_version", FORMAT)
            if words := reading.newer(number, FORMAT) if isinstance(number, int) else "":
                raise ModelRefused(f"{LAB_FILE}: {words}", "update this lab") from None
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelRefused(f"{LAB_FILE}: {quoted(where)}: {quoted(first['msg'], 160)}") from None


def parse_settings(data: bytes) -> Settings:
    """lab/config.yaml; data.path, which a stranger may have written, leads nowhere. Raises ModelRefused."""
    try:
        settings = frozen_from(parse_yaml(data.decode(), SETTINGS_FILE)).to_act_on()
        path = settings.data.path and elsewhere(settings.data.path)
        return settings.model_copy(update={"data": settings.data.model_copy(update={"path": path})})
    except (ConfigError, ValueError) as error:
        raise ModelRefused(f"{SETTINGS_FILE}: {quoted(error, 200)}") from None


def _small_file(path: Path) -> bytes:
    try:
        if path.is_symlink():
            raise ModelRefused(f"{quoted(path.name)}: is a link", "give a folder made by export")
        return reading.read_bytes(path, limit=MAX_TEXT_BYTES)
    except reading.Unreadable as error:
        raise ModelRefused(error.message, "give a folder made by export") from None
    except OSError as error:
        raise ModelRefused(f"{quoted(path.name)}: cannot be read: {error.strerror}") from None
