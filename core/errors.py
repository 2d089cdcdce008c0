"""The only errors a person sees: one sentence saying where, what is wrong, got what, and what to do."""

from __future__ import annotations

import copy
import errno
from typing import Self

MAX_QUOTED = 80


def quoted(value: object, limit: int = MAX_QUOTED) -> str:
    """What somebody typed or a file held, as an error may repeat it: printable, and not endless."""
    text = str(value)
    printable = "".join(character if character.isprintable() else "?" for character in text[: limit + 1])
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"


def is_full_gpu(error: BaseException) -> bool:
    """True when a GPU had no room: for a tensor, or already for its context, which CUDA tells with another class."""
    if isinstance(error, NoRoomOnGpu) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()


_FULL_DISK_WORDS = ("no space left on device", "disk quota exceeded", "database or disk is full", "(os error 28)")


def is_full_disk(error: BaseException | None) -> bool:
    """True when a write failed because the disk or the quota is full, however a library tells it, or behind `error`."""
    for _ in range(20):  # errors that name each other as their cause
        if error is None:
            return False
        is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if is_full or isinstance(error, StorageFull) or any(words in str(error).lower() for words in _FULL_DISK_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


class LabError(Exception):
    """A problem that is told to the user as one sentence, with an optional hint; never with a stack trace."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def reworded(self, message: str) -> Self:
        """The same problem in other words."""
        found = copy.copy(self)
        found.message = message
        return found


class UsageError(LabError):
    """The request itself is wrong (a setting, an option, a label): exit code 2, nothing was created."""

    exit_code = 2


class Unanswered(UsageError):
    """A question about somebody's images: `--option value` says yes to what they would be taken as."""

    def __init__(self, message: str, hint: str = "", *, option: str = "", value: str = "") -> None:
        super().__init__(message, hint)
        self.option, self.value = option, value


class NoRoomOnGpu(UsageError, RuntimeError):
    """What was asked for does not fit into what is free on the GPU now; the CPU may have room."""


class ConfigError(UsageError):
    """A configuration that cannot be read, is out of bounds, or asks for an impossible pair."""


class NotAllowed(LabError):
    """The person may not do this here: it is another's, and people sign in."""


class DataUnavailable(LabError):
    """A dataset that is not on this machine and cannot be fetched, or that cannot be read."""


class RunNotFound(LabError):
    """No run of that id in the runs folder."""


class RunBusy(LabError):
    """The run (or its device) is in use by another process."""


class CheckpointError(LabError):
    """No checkpoint of the run can be read and verified."""


class NonFiniteError(LabError):
    """The loss or the gradient was NaN or infinite for too many steps in a row."""


class RankLost(Exception):
    """Another process of the same training has ended before its time; that one knows why, or nobody does."""


class StorageFull(LabError):
    """The disk or the quota is full."""

    exit_code = errno.ENOSPC  # 28, of commands and trainings
