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
    if problem and not owner == by == current_user():
        raise ConfigError(problem)  # nobody knows who signs in, who is whom and who is an admin
    return not site.has_login or (bool(by) and same_person(owner, by)) or site.is_admin(by)


def require_member(by: str, act: str) -> None:
    """Raises NotAllowed where `by` was taken out of `site.members`. This process's own account is no login.

    by: '' for whoever runs this process. act: as `require_right`.
    """
    site, _ = read_site()
    if by and not site.is_member(by) and by != current_user():
        raise NotAllowed(f"{act}: {quoted(by)} is not a member of this lab", "ask one of its admins to add you")


def require_right(owner: str, by: str, act: str) -> None:
    """Raises NotAllowed unless `by` ('' for whoever runs this process) is a member, and may act on what is `owner`'s.

    act: what was asked for, as the sentence begins: 'stop run 2026…'. Raises ConfigError while config.yaml
    is wrong, for all that does not belong to the account of this process.
    """
    by = by or current_user()
    if not may_act(owner, by):
        raise NotAllowed(
            f"{act}: it belongs to {quoted(owner) or 'nobody known'}, and {quoted(by)} acts on their own only",
            "ask them, or an admin of this lab",
        )
    require_member(by, act)
