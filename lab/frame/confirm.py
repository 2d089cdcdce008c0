"""Acting on what belongs to somebody else asks first; on one's own it does not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from core.errors import ConfigError
from core.runs.rights import may_act, require_right, same_person
from lab.frame.live_fragment import window
from lab.frame.problems import problems_shown
from lab.frame.state import NAME_LIMIT, WHO_KEY, is_named, who
from lab.words import escaped

_QUESTION = "confirm-question"


@dataclass(frozen=True, kw_only=True)
class _Question:
    """What stands in the dialog until somebody answers."""

    title: str
    owner: str
    verb: str
    action: Callable[[], None]
    ask_name: bool
    note: str = ""


def confirm_if_not_mine(owner: str, verb: str, action: Callable[[], None], *, what: str = "a run of") -> None:
    """Run `action` at once for what is this person's own; else open a dialog that names the owner, and run it on a yes.

    verb: what the button does, in plain words: 'stop', 'pause', 'move up'. what: the words between verb and owner, as
    in 'Stop a run of Ana?'. Who has not said a name yet is asked for it in the dialog, so `action` must call who()
    itself. A LabError of the action is told in one sentence where it ran; after a yes the page is drawn again, which
    closes the dialog. Where people sign in, what the person has no right to is refused in the same way.
    """
    if same_person(owner, who()):
        with problems_shown():
            action()
        return
    if not _is_allowed(owner, verb, what):
        return
    st.session_state[_QUESTION] = _Question(
        title=f"{_sentence(verb)} {what} {owner or 'someone'}?",
        owner=owner,
        verb=verb,
        action=action,
        ask_name=not is_named(),
    )
    st.rerun()


def confirm_for_good(
    owner: str, verb: str, action: Callable[[], None], *, what: str, name: str, loses: str = ""
) -> None:
    """As `confirm_if_not_mine`, for what cannot be brought back: one's own is asked for too.

    what: the kind of thing, as in 'Remove a model of Ana?'. name: what it is called, not escaped; '' for none.
    loses: what is lost in a sentence, '' when it is the thing itself.
    """
    if not _is_allowed(owner, verb, what):
        return
    whose = "yours" if same_person(owner, who()) else owner or "someone"
    st.session_state[_QUESTION] = _Question(
        title=f"{_sentence(verb)} {what} of {whose}?",
        owner=owner,
        verb=verb,
        action=action,
        ask_name=False,
        note=loses or f"This permanently deletes {f'**{escaped(name, 120)}**' if name else 'it'} for everyone.",
    )
    st.rerun()


def may_act_on(owner: str) -> bool:
    """Whether this person may act on what belongs to `owner`: a screen that does not offer the rest asks here."""
    with contextlib.suppress(ConfigError):  # the act itself says what is wrong
        return may_act(owner, who())
    return True


def _is_allowed(owner: str, verb: str, what: str) -> bool:
    """False, with one sentence, for what is another's where people sign in."""
    with problems_shown():
        require_right(owner, who(), f"{verb} {what} {owner or 'someone'}")
        return True
    return False


def open_question() -> None:
    """Show the dialog of a question that waits for its answer. Home.py calls it once for all pages.

    Not where the button is: Streamlit forgets a click in a dialog that a live part opened when that part is due too.
    """
    question = st.session_state.get(_QUESTION)
    if question is not None:
        window(escaped(question.title, 120), _ask, on_dismiss=_forget)(question)


def _ask(question: _Question) -> None:
    touched = f"This belongs to **{escaped(question.owner or 'an unknown person', 120)}**. "
    if question.note:
        st.markdown(question.note if same_person(question.owner, who()) else touched + question.note)
    else:
        st.markdown(f"{touched}The event log will name **{escaped(who(), NAME_LIMIT)}**.")
    if question.ask_name:
        st.text_input("Your name", key="confirm-who", max_chars=NAME_LIMIT, on_change=_remember_name)
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="confirm-no"):
            _forget()
            st.rerun()
        agreed = st.button(_sentence(question.verb), type="primary", key="confirm-yes")
    if agreed:
        _forget()
        with problems_shown():
            question.action()
            st.rerun()


def _forget() -> None:
    st.session_state.pop(_QUESTION, None)


def _remember_name() -> None:
    if st.session_state["confirm-who"]:
        st.session_state[WHO_KEY] = st.session_state["confirm-who"]


def _sentence(verb: str) -> str:
    return verb[:1].upper() + verb[1:]
