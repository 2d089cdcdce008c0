"""Who may act on what belongs to whom: where people sign in, on their own, and admins on everything.

Without a login everybody may, and the events say who did. Asked where an act happens, for browser and command line.
"""

from __future__ import annotations

from core.config.load import read_site
from core.errors import ConfigError, NotAllowed, quoted
from core.runs.provenance import current_user


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person: the same account, or a login of it."""
    site, _ = read_site()
    return site.account_of(one) == site.account_of(other)


def may_act(owner: str, by: str) -> bool:
    """Whether `by` may change what belongs to `owner` ('' when nobody knows whose it is). Raises as `require_right`."""
    site, problem = read_site()
    if problem and not same_person(owner, by):
        raise ConfigError(problem)  # nobody knows who signs in and who is an admin
    return not site.has_login or (bool(by) and same_person(owner, by)) or site.is_admin(by)


def require_right(owner: str, by: str, act: str) -> None:
    """Raises NotAllowed unless `by` ('' for whoever runs this process) may act on what belongs to `owner`.

    act: what was asked for, as the sentence begins: 'stop run 2026…'. Raises ConfigError for what is another's while
    config.yaml is wrong.
    """
    by = by or current_user()
    if not may_act(owner, by):
        raise NotAllowed(
            f"{act}: it belongs to {quoted(owner) or 'nobody known'}, and {quoted(by)} acts on their own only",
            "ask them, or an admin of this lab",
        )
