"""A question to the process that computes, and what it says while it works. Never imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

Request = ParamSpec("Request")
Answer_co = TypeVar("Answer_co", covariant=True)


@dataclass(frozen=True)
class Question(Generic[Request, Answer_co]):
    """A function of another process: its module, which may import PyTorch, and its name there.

    It is called with a `Tell` and the request, and returns the answer. Request and answer are pickled, so their classes
    live in light modules.
    """

    module: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a computation is: its stage in words, a fraction from 0 to 1, and what there is to see already."""

    stage: str
    fraction: float
    look: Any = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The last record of a computation."""

    value: Any


class Tell(Protocol):
    """What a computation says while it works."""

    def __call__(self, stage: str, fraction: float, look: Any = None) -> None:
        """Raises HungUp once nobody listens any more."""

    def is_cancelled(self) -> bool:
        """Asked between two steps: whether nobody listens any more."""
