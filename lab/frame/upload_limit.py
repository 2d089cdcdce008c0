"""How much uploads may fill: Streamlit keeps every file that is sent to it in the server's memory while its session
lives, also those that no page asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from core.machine.memory import read_memory
from core.words import size

MOST_OF_ONE, MOST_IN_ALL = 500_000_000, 2_000_000_000
SHARE_OF_MEMORY = 0.25  # of the machine's, where that is less than MOST_IN_ALL
BYTES_PER_FILE = 16 * 1024  # more than what an empty one takes
INSTEAD = "name a path on the server instead, or try again when others are done"


class UploadLimit:
    """Counts what uploads take: the files that Streamlit holds now, and the bytes that are on their way.

    held: session → bytes of its files. of_one, in_all: bytes that one session, and all of them together, may fill.
    """

    def __init__(self, held: Callable[[], Mapping[str, int]], *, of_one: int, in_all: int) -> None:
        self.held = held
        self.of_one, self.in_all = of_one, in_all
        self.arriving: Counter[str] = Counter()

    def refusal(self, session: str, more: int = 0) -> str:
        """Why this session may not send so many bytes more, in one sentence, or ''."""
        held = self.held()
        if held.get(session, 0) + self.arriving[session] + more > self.of_one:
            return f"The uploads of one session may fill {size(self.of_one)}: remove one, or {INSTEAD}."
        if sum(held.values()) + self.arriving.total() + more > self.in_all:
            return f"All uploads together may fill {size(self.in_all)} of this server: {INSTEAD}."
        return ""

    async def watch(self, session: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an upload on, or answer 413 as soon as it is too much, whatever length it says it has."""
        declared = dict(scope["headers"]).get(b"content-length", b"")
        words = self.refusal(session, int(declared) if declared.isdigit() and len(declared) < 20 else 0)
        answered, received = False, 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            arrived = len(message.get("body", b""))
            self.arriving[session] += arrived
            received += arrived
            if too_much := self.refusal(session):
                raise _TooMuch(too_much)
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            if not words:
                await app(scope, counted, noted)
        except _TooMuch as refused:
            words = str(refused)
        finally:
            self.arriving[session] -= received
            self.arriving += Counter()  # forgets whoever sends nothing now
        if words and not answered:
            await PlainTextResponse(words, 413)(scope, receive, send)


class _TooMuch(Exception):
    """Ends an upload from inside whatever reads it."""


def held_by_streamlit() -> dict[str, int]:
    """Session → bytes of the files that this server keeps for it."""
    files = runtime.get_instance().uploaded_file_mgr if runtime.exists() else None
    if not isinstance(files, MemoryUploadedFileManager):
        return {}
    return {
        session: sum(len(file.data) + BYTES_PER_FILE for file in list(kept.values()))
        for session, kept in list(files.file_storage.items())
    }


def usual_limit() -> UploadLimit:
    """The limit of this machine."""
    in_all = min(MOST_IN_ALL, int(read_memory().total * SHARE_OF_MEMORY))
    return UploadLimit(held_by_streamlit, of_one=min(MOST_OF_ONE, in_all), in_all=in_all)
