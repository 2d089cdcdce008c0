"""One row above every page: the product, its pages in groups, the machine in three glyphs, and who is here."""

from __future__ import annotations

import urllib.parse

import streamlit as st

from core.config.load import read_site
from core.runs.provenance import current_user
from core.words import counted, size
from lab.frame.find import find
from lab.frame.live_fragment import live_part
from lab.frame.notices import failed_runs
from lab.frame.page_guard import back_to_right_page
from lab.frame.problems import problems_shown
from lab.frame.state import (
    GROUPS,
    NAME_LIMIT,
    PAGES,
    WHO_COOKIE,
    WHO_KEY,
    is_named,
    page_file,
    remembered_name,
    signed_in,
    typed_name,
    who,
)
from lab.services.room import MachineGlance, glance
from lab.words import escaped

PRODUCT = "Latent Diffusion Lab"
ATTRIBUTION = "Attribution only: anyone can type any name. It says who did what, and protects nothing."
_remember = st.components.v2.component(
    "lab_who",
    html="<span></span>",
    js="""export default function ({ data }) {
  if (data.who) document.cookie = `${data.cookie}=${data.who}; path=/; max-age=31536000; samesite=strict`
}""",
)


def header(here: str) -> None:
    """The row, with the page `here` of PAGES marked. Narrow windows fold the groups of pages into menus."""
    with st.container(key="lab-top", horizontal=True, vertical_alignment="center", gap=None):
        with st.container(key="lab-brand", width="content"):
            st.page_link(page_file("overview"), label=PRODUCT, icon=":material/blur_on:", width="content")
        for group, names in GROUPS.items():
            with st.container(key=f"lab-group-{group}", width="content", gap=None):
                st.caption(group)
                with st.container(horizontal=True, gap=None, width="content"):
                    for name in names:
                        _page_link(name, here)
        for group, names in GROUPS.items():
            key = f"lab-menu-{'here' if here in names else group}"
            with st.container(key=key, width="content"), st.popover(group, type="tertiary"):
                for name in names:
                    st.page_link(page_file(name), label=PAGES[name][0], icon=PAGES[name][1])
        with st.container(key="lab-find-place", width="content"):
            find()
        with st.container(key="lab-box", width="content", gap=None):
            _page_link("machine", here)
            top_line()


def _page_link(name: str, here: str) -> None:
    key = "lab-here" if name == here else f"lab-to-{name}"
    with st.container(key=key, width="content"):
        st.page_link(page_file(name), label=PAGES[name][0], width="content")


@live_part(every_s=5)
def top_line() -> None:
    """Devices busy or free, runs that wait, free disk, runs that failed meanwhile; and the name people see."""
    back_to_right_page()
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap=None):
        with problems_shown():
            _failed()
            _glyphs(glance())
        with st.popover(_label(), icon=":material/person:", type="tertiary"):
            _who()
    typed = st.session_state.get(WHO_KEY) or ""
    if typed and typed not in (remembered_name(), current_user()):
        _remember(data={"who": urllib.parse.quote(typed, safe=""), "cookie": WHO_COOKIE}, key="remember-who", height=0)


def open_to_all() -> None:
    """A line on every page where `site.open_without_login` lets people in whom nobody knows."""
    site, _ = read_site()
    if site.open_without_login and not site.has_login:
        st.caption(
            ":orange[:material/lock_open: Open without a login: whoever reaches this address can start, stop and "
            "delete runs.]"
        )


def _failed() -> None:
    """A link to what failed while this person was here, until they open it: a toast would lie over the page."""
    told = failed_runs()
    if told:
        words = escaped(told[-1].title, 24) if len(told) == 1 else counted(len(told), "failed run")
        query = {"run": told[0].run_id} if len(told) == 1 else {"show": "ended early"}
        page = page_file("runs")
        st.page_link(page, label=f":red[{words}]", icon=":material/error:", query_params=query, width="content")


def _glyphs(seen: MachineGlance) -> None:
    devices = f":{'green' if seen.room.free else 'blue'}[:material/memory: {seen.room.in_short}]"
    disk = f":material/hard_drive_2: {size(seen.disk_free)} free"
    words = [
        devices,
        f":material/low_priority: {seen.room.waiting} waiting",
        f":red[{disk}]" if seen.disk_is_short else disk,
    ]
    st.caption("&ensp;".join(words), help=escaped(seen.device_words, 400), width="content")


def _label() -> str:
    return escaped(who(), 24) if is_named() else ":orange[Who are you?]"


def _who() -> None:
    """Who signed in, and what they may do; else a name, with what it is worth."""
    if signed_in():
        st.markdown(f"Signed in as **{escaped(signed_in(), NAME_LIMIT)}**")
        account = f"Your runs belong to **{escaped(who(), NAME_LIMIT)}**. " if who() != signed_in() else ""
        admin = read_site()[0].is_admin(who())
        st.caption(
            account + ("You are an admin: you act on everyone's runs." if admin else "You act on your own runs.")
        )
        if st.user.get("is_logged_in"):
            st.button("Sign out", icon=":material/logout:", on_click=st.logout)
        return
    key = f"who-was-{typed_name()}"  # a name typed elsewhere makes a new field, which shows it
    with st.container(width=300):
        st.text_input(
            "Your name",
            value=typed_name(),
            key=key,
            max_chars=NAME_LIMIT,
            placeholder=current_user(),
            on_change=_take_name,
            args=(key,),
        )
        st.caption(f"{ATTRIBUTION} This browser remembers it.")


def _take_name(key: str) -> None:
    """Names are replaced, never emptied: a field that goes away reports '' in its last moment."""
    if st.session_state[key]:
        st.session_state[WHO_KEY] = st.session_state[key]
