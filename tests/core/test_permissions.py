"""What the system refuses is told by its cause: whose it is, what this account may not do, and what helps."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from core.permissions import account_name, refusal


def refused(path: Path, number: int = errno.EACCES) -> str:
    found = refusal(OSError(number, os.strerror(number), str(path)), path)
    assert found is not None
    return str(found)


def test_another_error_is_not_told_as_one_of_permissions(tmp_path: Path) -> None:
    assert refusal(FileNotFoundError(errno.ENOENT, "", str(tmp_path)), tmp_path) is None


def test_a_file_system_that_can_only_be_read_says_so(tmp_path: Path) -> None:
    assert refused(tmp_path, errno.EROFS) == (
        f"{tmp_path}: lies on a file system that can only be read; name another folder"
    )


def test_the_owner_of_the_folder_is_named(tmp_path: Path) -> None:
    me = account_name(os.geteuid())
    words = refused(tmp_path / "run" / "file.json")
    assert words.startswith(f"{tmp_path}: {me} may not write there: it belongs to {me} and to ")
    assert words.endswith(f"(drwx------); chmod u+rwx {tmp_path}")


def test_a_number_without_a_name_is_told_as_it_is() -> None:
    assert account_name(61_001) == "account 61001"


def test_an_error_that_names_no_file_is_about_what_was_acted_on(tmp_path: Path) -> None:
    found = refusal(PermissionError(errno.EPERM, "not permitted"), tmp_path / "run")
    assert found is not None and found.message.startswith(f"{tmp_path}: ")
