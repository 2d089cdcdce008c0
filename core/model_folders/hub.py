"""An exported folder → a repository of a model hub, with the credentials that huggingface_hub finds by itself.

They come from HF_TOKEN or from the file that `hf auth login` writes. They are never printed, logged or kept by us, and
a message that holds them loses them. A repository that exists is never written to. No torch here.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import LabError, UsageError, quoted
from core.model_folders.model_facts import model_folder_info

DEFAULT_ENDPOINT = "https://huggingface.co"
MAX_REPO_ID = 96
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_REPO_ID = re.compile(rf"{_PART}/{_PART}")
_STATUS = {
    401: ("does not accept the credentials", "log in again with: hf auth login"),
    403: ("does not let these credentials write there", "use a token that may write, and a namespace of yours"),
    404: ("knows no such namespace", "give your own user name or an organization of yours"),
    409: ("has a repository of that name already, which stays as it is", "choose another name"),
    413: ("takes no files of that size", "ask there for more room"),
    429: ("asks to wait, there were too many requests", "try again later"),
}


class PushFailed(LabError):
    """The hub has nothing of it, or an empty repository that the sentence names."""


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """Where it lies now."""

    url: str
    is_private: bool


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, else huggingface.co."""
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or DEFAULT_ENDPOINT


def shown_endpoint() -> str:
    """The hub's address without the credentials that may stand in it: what may be shown and kept."""
    scheme, mark, rest = endpoint().rpartition("://")
    return f"{scheme}{mark}{rest.rsplit('@', 1)[-1]}"


def host() -> str:
    """The hub's name, as in 'huggingface.co', without credentials that stand in its address."""
    return quoted(shown_endpoint().split("://")[-1], 60)


def has_credentials() -> bool:
    """True when huggingface_hub finds a token. Asks nobody, so the hub may still refuse it."""
    return bool(_token())


def check_repo_id(repo_id: str, where: str = "--push") -> str:
    """The name as it came. where: what gave it. Raises UsageError for anything but NAMESPACE/NAME as hubs allow it."""
    if (
        not _REPO_ID.fullmatch(repo_id)
        or len(repo_id) > MAX_REPO_ID
        or "--" in repo_id
        or ".." in repo_id
        or repo_id.lower().endswith((".git", ".ipynb"))
    ):
        raise UsageError(
            f"{where}: '{quoted(repo_id, 100)}' is not a NAMESPACE/NAME of letters, digits, - . and _ (at most "
            f"{MAX_REPO_ID})",
            f"such as {where} ana/digits",
        )
    return repo_id


def push(folder: Path, repo_id: str, *, private: bool = False) -> Pushed:
    """Make the repository and put every file of an exported folder into it, as one commit.

    Raises UsageError for a malformed name, PushFailed in one sentence without credentials or network, and when the hub
    refuses; the folder stays as it is. A repository that was made and could not be filled is removed again.
    """
    check_repo_id(repo_id)
    model_folder_info(folder)
    token = _token()
    if not token:
        raise PushFailed(
            f"push: this machine has no credentials for {host()}; {quoted(folder)} stays",
            f"log in with 'hf auth login' or set HF_TOKEN, then: {_by_hand(folder, repo_id, private)}",
        )
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    api = HfApi(endpoint=endpoint(), token=token)
    is_made = False
    try:
        api.create_repo(repo_id, private=private, exist_ok=False)
        is_made = True
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Export of Latent Diffusion Lab")
    except Exception as error:  # requests, httpx, OSError: whatever the installed version raises
        left = is_made and not _removed(api, repo_id)
        rest = f"; an empty repository {repo_id} was left there" if left else ""
        what, hint = _reason(error, token)
        by_hand = "" if _status(error) == 409 else f", then: {_by_hand(folder, repo_id, private)}"
        raise PushFailed(f"push: {host()} {what}; {quoted(folder)} stays{rest}", hint + by_hand) from None
    return Pushed(url=f"{shown_endpoint()}/{repo_id}", is_private=private)


def _token() -> str:
    try:
        from huggingface_hub import get_token

        return get_token() or ""
    except Exception:  # an unreadable file, a failed exchange in CI
        return ""


def _removed(api: Any, repo_id: str) -> bool:
    with contextlib.suppress(Exception):
        api.delete_repo(repo_id)
        return True
    return False


def _by_hand(folder: Path, repo_id: str, private: bool) -> str:
    return f"hf upload {'--private ' if private else ''}{repo_id} {quoted(folder)}"


def _status(error: Exception) -> int | None:
    """The hub's answer, None when there was none."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _reason(error: Exception, token: str) -> tuple[str, str]:
    """(what the hub does, what to do about it), without the token and what else is secret in the hub's address."""
    status = _status(error)
    if status in _STATUS:
        return _STATUS[status]
    if status is not None and status >= 500:
        return f"failed (status {status})", "try again later"
    names = " ".join(kind.__name__ for kind in type(error).__mro__)
    if status is None and re.search("Connect|Timeout|Network|Transport|Offline", names):
        return "cannot be reached from here", "check the network, or push from another machine"
    first = (str(error).strip().splitlines() or [""])[0].replace(token, "…").replace(endpoint(), shown_endpoint())
    first = re.sub(r"//[^/@\s]+@", "//", first)
    return f"refused it ({type(error).__name__}: {quoted(first, 160)})", "see what the hub says"
