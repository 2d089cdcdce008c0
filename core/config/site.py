"""What belongs to this installation and is never written into a run: slots, trash, webhook, people and folders.

`load.py` reads the section `site` of config.yaml; the variables of FOLDERS override its folders.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from core.config.schema import Section
from core.errors import ConfigError
from core.home import lab_home

FOLDERS = {  # environment variable → setting
    "LAB_RUNS": "runs",
    "LAB_DATA": "data",
    "LAB_CACHE": "cache",
    "LAB_IMPORTS": "imports",
    "LAB_MODELS": "models",
    "LAB_GALLERY": "gallery",
}
ONCE_IN_MACHINE = ("slots_per_gpu", "cpu_slots", "foreign_memory_mb", "trash_days", "webhook_url")


def is_site_setting(name: str) -> bool:
    """Whether a dotted name, old or new, is of the site. `paths` and `site` alone are too."""
    section, _, key = name.partition(".")
    return section in ("site", "paths") or (section == "machine" and key in ONCE_IN_MACHINE)


def typed_path(text: str) -> Path:
    """What somebody typed as a path: '~' is a home folder, where there is such a user."""
    path = Path(text.strip())
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def resolve_path(text: str) -> Path:
    """A path of the settings as an absolute path; relative ones start at the lab's home."""
    path = typed_path(text)
    return path if path.is_absolute() else lab_home() / path


def _folder(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value).strip():
        raise ValueError(f"should name a folder, got {value!r}")
    return resolve_path(str(value))


def _login(text: str) -> str:
    """A login or an account of config.yaml, as it is compared. Raises ValueError."""
    text = text.strip()
    if not text or len(text) > LONGEST_LOGIN or not text.isprintable():
        raise ValueError(f"should be a login of 1 to {LONGEST_LOGIN} printable characters, got {text!r}")
    return as_compared(text)


def as_compared(login: str) -> str:
    """A login as it is compared: a mail address in lower case, by ASCII only, or U+212A would pass for the letter k."""
    return login.translate(_LOWER) if "@" in login else login


LONGEST_LOGIN = 254
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
Folder = Annotated[Path, BeforeValidator(_folder)]
Login = Annotated[str, AfterValidator(_login)]
Directive = Annotated[str, Field(pattern=r"^--[a-z][a-z-]*(=[^\x00-\x1f]*)?$", max_length=500)]
PARTITION, ACCOUNT = r"^[\w.,-]*$", r"^[\w.-]*$"  # as Slurm names them
HostName = Annotated[str, Field(pattern=r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=253)]


class SlurmSettings(Section):
    """How runs are submitted where site.engine is slurm: options of sbatch. Empty or 0: what Slurm does without it."""

    partition: str = Field("", pattern=PARTITION, description="Slurm partition of the runs.")
    account: str = Field("", pattern=ACCOUNT, description="Slurm account that the runs are charged to.")
    qos: str = Field("", pattern=ACCOUNT, description="Slurm quality of service of the runs.")
    gpus: int = Field(1, ge=0, le=64, description="GPUs per node for a run; one that shall train on the CPU gets none.")
    nodes: int = Field(1, ge=1, le=1024, description="Nodes for a run; its processes share each batch.")
    time_limit: str = Field(
        "",
        pattern=r"^(\d+(:\d\d){0,2}|\d+-\d+(:\d\d){0,2})?$",
        description="Time limit of a job as Slurm writes it, e.g. 4:00:00; a longer run continues in the next job.",
    )
    save_ahead_s: int = Field(
        120, ge=10, le=65535, description="Seconds before the time limit at which a run saves and is queued again."
    )
    directives: tuple[Directive, ...] = Field(
        (), description="More options of sbatch, e.g. [--constraint=a100, --mem=32G]."
    )


class SiteSettings(Section):
    """The section `site`. Folders are absolute; in config.yaml, relative ones start at the lab's home."""

    model_config = ConfigDict(validate_default=True)

    engine: Literal["local", "slurm"] = Field(
        "local", description="What runs the runs: this machine's own queue, or the Slurm of a cluster."
    )
    slurm: SlurmSettings = Field(default_factory=SlurmSettings)
    slots_per_gpu: int = Field(1, ge=1, le=16, description="Runs at a time on one GPU.")
    cpu_slots: int = Field(1, ge=1, le=64, description="Runs at a time on the CPU.")
    queue_order: Literal["fair", "first_come"] = Field(
        "fair", description="Who goes next within a priority: whoever used least lately, or whoever came first."
    )
    share_half_life_days: float = Field(
        7.0, ge=0.1, le=90.0, description="Days after which a person's use of the machine counts half."
    )
    preemptible: bool = Field(
        False, description="Runs may be saved and queued again for others, unless their own request says otherwise."
    )
    preempt_every_minutes: float = Field(
        10.0, ge=0.1, le=1440.0, description="Minutes between two interruptions of one run, at least."
    )
    foreign_memory_mb: float = Field(
        1000.0, ge=1.0, description="A GPU on which others hold more megabytes than this is left alone."
    )
    trash_days: float = Field(7.0, ge=0.0, le=3650.0, description="Days a deleted run can be brought back.")
    disk_quota_gb: float = Field(
        0.0, ge=0.0, le=1e9, description="Gigabytes that a person's runs and trash may fill; 0 for no limit."
    )
    compute_memory_gb: float = Field(
        0.0,
        ge=0.0,
        le=1e6,
        description="Gigabytes in which the process that computes for screens works; 0 for half of what there is.",
    )
    webhook_url: str = Field(
        "", pattern=r"^(https?://\S+)?$", description="Gets a JSON message when a run ends or diverges."
    )
    allowed_hosts: tuple[HostName, ...] = Field(
        (), description="Names the lab answers to beside localhost and numeric addresses; `*.name` for all below."
    )
    open_without_login: bool = Field(
        False, description="Open beyond this machine although nobody signs in; every page then says so."
    )
    members: tuple[Login, ...] = Field(
        (), description="Logins that may enter, or `*@domain`; required with OIDC. Empty: all that the proxy lets in."
    )
    admins: tuple[Login, ...] = Field((), description="Logins or accounts that act on everyone's runs.")
    people: dict[Login, Login] = Field(
        {}, description="Which login is which account: what both start belongs to the account."
    )
    login_secret_file: Folder | None = Field(
        None, description="File with the secret that the proxy sends as X-Lab-Secret; a login header needs it."
    )
    runs: Folder = Field(Path("runs"), description="Run folders.")
    group: str = Field(
        "",
        max_length=64,
        description="Unix group that shares the run folders; empty: a setgid folder says it itself.",
    )
    data: Folder = Field(Path("data"), description="Datasets as torchvision stores them; may be read-only.")
    cache: Folder = Field(Path("cache"), description="Arrays, latents and judges; can be deleted at any time.")
    imports: Folder = Field(Path("imports"), description="Imported datasets.")
    models: Folder = Field(Path("models"), description="Model folders; the bundled demo is always listed too.")
    data_roots: tuple[Folder, ...] = Field(
        (), description="Folders that a path typed in a browser may lead to, links included; none for anywhere."
    )
    gallery: Folder = Field(Path("gallery"), description="Images that people saved, for everyone on this server.")

    @property
    def has_login(self) -> bool:
        """Whether people sign in here. Then they act on their own runs only, and admins on all."""
        return bool(self.members) or self.login_secret_file is not None

    def account_of(self, name: str) -> str:
        """The account that a login stands for; any other name is itself. Mail addresses compare in lower case."""
        name = as_compared(name)
        return self.people.get(name, name)

    def is_admin(self, name: str) -> bool:
        """Whether this login or account acts on everybody's runs."""
        return any(self.account_of(name) == self.account_of(admin) for admin in self.admins)

    def admits(self, login: str) -> bool:
        """Whether this login is listed, by itself or by `*@domain`."""
        login = as_compared(login)
        return any(login == each or ("@" in login and f"*@{login.rpartition('@')[2]}" == each) for each in self.members)

    def is_member(self, name: str) -> bool:
        """Whether this login, or a login of this account, may enter. True for everybody without a list of members."""
        logins = [name, *(login for login, account in self.people.items() if account == as_compared(name))]
        return not self.members or any(map(self.admits, logins))

    def environment(self) -> dict[str, str]:
        """The folders as LAB_* variables, for a process that works for this installation."""
        return {variable: str(getattr(self, name)) for variable, name in FOLDERS.items()}


def with_new_names(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Settings with the site's moved from their old names (`paths.runs`, `machine.cpu_slots`) into the section `site`.

    Returns (all settings, the old names that were used). Raises ConfigError for a setting given under both names.
    """
    kept, machine = dict(values), values.get("machine")
    moved: dict[str, Any] = {}
    if "paths" in values:
        folders = kept.pop("paths")
        if folders is not None and not isinstance(folders, Mapping):
            raise ConfigError("paths: expected a section with settings", "write the folders into the section site")
        moved.update({f"paths.{name}": value for name, value in (folders or {}).items()})
    if isinstance(machine, Mapping):
        moved.update({f"machine.{name}": machine[name] for name in ONCE_IN_MACHINE if name in machine})
        kept["machine"] = {name: value for name, value in machine.items() if name not in ONCE_IN_MACHINE}
    if not moved:
        return kept, []
    site = kept.get("site") or {}
    if not isinstance(site, Mapping):
        return kept, []  # refused when it is checked
    both = [name for name in moved if name.partition(".")[2] in site]
    if both:
        raise ConfigError(f"{both[0]}: is also given as site.{both[0].partition('.')[2]}", "keep the latter")
    kept["site"] = {**site, **{name.partition(".")[2]: value for name, value in moved.items()}}
    return kept, list(moved)
