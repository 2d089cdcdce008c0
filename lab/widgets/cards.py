"""Cards of which one is chosen, named in the URL: what each option is stands on its card, not behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import streamlit as st

from lab.widgets.component import component
from lab.words import plain

LINE_LIMIT = 160
_component = component(__file__, "lab_cards", '<fieldset class="cards"></fieldset>')


@dataclass(frozen=True, kw_only=True)
class Card:
    """One option. lines: what is known about it, plain text. src: address of an image strip, or ''."""

    key: str
    title: str
    lines: tuple[str, ...] = ()
    src: str = ""


def chosen_card(param: str, keys: Sequence[str], default: str, *, returned: bool) -> str:
    """What the link names as `param`, else what was chosen before, else `default`.

    returned: the person comes back to the page, so an address without `param` asks for nothing; while they stay, it
    means that the browser went back to the default.
    """
    wanted, state = st.query_params.get(param, ""), f"card-{param}"
    if wanted != st.session_state.get(f"{state}-shown", "") and (wanted or not returned):
        st.session_state[state] = wanted or default
    chosen = str(st.session_state.get(state, default))
    chosen = chosen if chosen in keys else default
    shown = "" if chosen == default else chosen
    if shown != wanted:
        if shown:
            st.query_params[param] = shown
        else:
            st.query_params.pop(param, None)
    st.session_state[f"{state}-shown"] = shown
    return chosen


def cards(
    label: str, options: Sequence[Card], chosen: str, param: str, *, more: Sequence[Card] = (), more_label: str = ""
) -> None:
    """Draw them with `chosen` marked; another choice draws the page again. more: behind a fold called `more_label`."""

    def shown(card: Card) -> dict[str, object]:
        lines = [plain(line, LINE_LIMIT) for line in card.lines]
        return {**asdict(card), "title": plain(card.title, 80), "lines": lines}

    data = {
        "label": label,
        "chosen": chosen,
        "cards": [shown(card) for card in options],
        "more": [shown(card) for card in more],
        "more_label": more_label,
    }
    asked = _component(data=data, key=f"cards-{param}", on_chosen_change=lambda: None).chosen
    if asked != chosen and asked in {card.key for card in (*options, *more)}:
        st.session_state[f"card-{param}"] = asked
        st.rerun()
