"""Types for the values of files that somebody else may have written: what is out of bounds never reaches arithmetic.

`core.reading` refuses what no value may be (NaN, a number beyond 64 bits, endless nesting); a record
says with these what each of its own may be.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

WORD = re.compile(r"[a-z][a-z0-9_-]{0,39}")  # a kind or a state, known here or not
FIRST_YEAR, LAST_YEAR = 1970, 2999

Word = Annotated[str, Field(pattern=rf"^{WORD.pattern}$")]
Count = Annotated[int, Field(ge=0, lt=10**15)]
Figure = Annotated[float, Field(ge=0, lt=1e15, allow_inf_nan=False)]  # seconds, bytes, speeds
Number = Annotated[float, Field(gt=-1e15, lt=1e15, allow_inf_nan=False)]
Pid = Annotated[int, Field(gt=0, lt=2**31)]
Stamp = Annotated[float, Field(ge=0, lt=3e10, allow_inf_nan=False)]  # seconds since 1970


def instant(iso: object) -> datetime | None:
    """The moment that a text names, UTC where it says no zone; None for anything else, and for one that no run saw."""
    try:
        found = datetime.fromisoformat(iso) if isinstance(iso, str) else None
    except ValueError:
        return None
    if found is None or not FIRST_YEAR <= found.year <= LAST_YEAR:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def age_s(iso: object, now: datetime | None = None) -> float | None:
    """Seconds since the moment that a text names; None where it names none."""
    found = instant(iso)
    return None if found is None else ((now or datetime.now(UTC)) - found).total_seconds()
