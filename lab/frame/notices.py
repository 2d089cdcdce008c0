"""On every page: tells when a run ends or diverges, also by the browser's own notifications, and when you were here."""

from __future__ import annotations

import time

import streamlit as st

from core.errors import LabError
from lab.frame.live_fragment import live_part
from lab.frame.notifications import Notice, Seen, happened, look, since_last_visit
from lab.frame.page_guard import back_to_right_page
from lab.frame.state import selected_run, who
from lab.services import run_actions
from lab.services.notes import notes_of
from lab.services.runs import RunView, list_views
from lab.words import escaped

TICK_S = 5.0
COOKIE = "lab-seen"
KEPT_S = 30.0
_SEEN, _SINCE, _TOLD, _FAILED = "notices-seen", "notices-since", "notices-told", "notices-failed"

# The browser's part: remembers the visit, and shows what the server tells while nobody looks at the page. A tag is
# shown once, whichever tab shows it.
_teller = st.components.v2.component(
    "lab_notices",
    html="<span></span>",
    js="""const shown = new Set()
export default function ({ data }) {
  if (!document.hidden) document.cookie = `${data.cookie}=${data.seen}; path=/; max-age=31536000; samesite=strict`
  const wanted = 'Notification' in window && Notification.permission === 'granted'
    && localStorage.getItem('lab-notify') === 'on'
  for (const { tag, title, body, run } of data.notices) {
    if (shown.has(tag)) continue
    shown.add(tag)
    if (!wanted || (!document.hidden && document.hasFocus())) continue
    const told = new Notification(title, { body, tag })
    told.onclick = () => { window.focus(); location.assign(new URL('runs?run=' + encodeURIComponent(run), location)) }
  }
}""",
)
_button = st.components.v2.component(
    "lab_notify",
    html="<button type='button'></button><small></small>",
    css="""
:host { font-family: var(--st-font); }
button {
  font: inherit; font-size: 0.875rem; padding: 0.3rem 0.7rem; cursor: pointer; color: var(--st-text-color);
  background: transparent; border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
}
button:hover { border-color: var(--st-primary-color); }
button[aria-pressed="true"] { background: var(--st-secondary-background-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
small { color: var(--st-gray-text-color, gray); }
""",
    js="""export default function ({ parentElement }) {
  const button = parentElement.querySelector('button')
  const words = parentElement.querySelector('small')
  const can = 'Notification' in window && window.isSecureContext
  const granted = () => can && Notification.permission === 'granted'
  const on = () => granted() && localStorage.getItem('lab-notify') === 'on'
  const draw = () => {
    const blocked = can && Notification.permission === 'denied'
    button.hidden = !can || blocked
    button.textContent = on() ? '\\u2713 You will be notified' : 'Notify me'
    button.setAttribute('aria-pressed', String(on()))
    button.title = on() ? 'Click to end the notifications' : 'A notification of this browser when a run of yours, '
      + 'a favourite, or the run you look at ends or diverges'
    words.textContent = blocked ? 'Notifications of this page are blocked in the browser.' : ''
  }
  button.onclick = async () => {
    if (on()) localStorage.setItem('lab-notify', 'off')
    else {
      if (!granted()) await Notification.requestPermission()
      localStorage.setItem('lab-notify', granted() ? 'on' : 'off')
    }
    draw()
  }
  draw()
}""",
)


@live_part(every_s=TICK_S)
def notices() -> None:
    """Compare the runs with the last look of this tab; what ended or diverges is told once."""
    back_to_right_page()
    now_s = time.time()
    since_s = since_here(now_s)
    try:
        views = list_views(comparisons=True)
        before: dict[str, Seen] | None = st.session_state.get(_SEEN)
        # a pause looks like a stop until the process is gone and the supervisor has written why
        live = {entry.run.id for entry in run_actions.queue() if not entry.place}
        ending = {view.id for view in views if not view.is_active and view.id in live}
        told = [] if before is None else _wanted(happened(before, views, ending), views)
        st.session_state[_SEEN] = look(views, ending)
    except LabError:  # the page itself says it
        told = []
    for notice in told:
        icon = ":material/error:" if notice.bad else ":material/notifications:"
        st.toast(escaped(notice.words, 240), icon=icon, duration="long")
    st.session_state[_FAILED] = [*failed_runs(), *(notice for notice in told if notice.bad)]
    kept: list[tuple[float, Notice]] = st.session_state.get(_TOLD, [])
    kept = [(at, notice) for at, notice in kept if now_s - at < KEPT_S] + [(now_s, notice) for notice in told]
    st.session_state[_TOLD] = kept
    _teller(
        data={
            "cookie": COOKIE,
            "seen": f"{since_s:.0f}~{now_s // 60 * 60:.0f}",
            "notices": [
                {"tag": notice.tag, "title": notice.title[:120], "body": notice.words[:300], "run": notice.run_id}
                for _, notice in kept
            ],
        },
        key="lab-notices",
        height=0,
    )


def failed_runs() -> list[Notice]:
    """What failed or diverged while this person was here, oldest first, without the runs that they opened since."""
    told: list[Notice] = st.session_state.get(_FAILED, [])
    st.session_state[_FAILED] = told = [notice for notice in told if notice.run_id != selected_run()]
    return told


def since_here(now_s: float | None = None) -> float:
    """When this person's visit before this one ended, in seconds since 1970; 0.0 when this is the first."""
    if _SINCE not in st.session_state:
        cookie = st.context.cookies.get(COOKIE, "")
        st.session_state[_SINCE] = since_last_visit(str(cookie), time.time() if now_s is None else now_s)
    return float(st.session_state[_SINCE])


def notify_button() -> None:
    """'Notify me': asks the browser for its permission, only when clicked."""
    _button(key="lab-notify", height="content", width="content")


def _wanted(told: list[Notice], views: list[RunView]) -> list[Notice]:
    """Of what happened, what this person hears: of their own runs, their favourites, and the one they look at."""
    if not told:
        return []
    me, here = who(), selected_run()
    known = {view.id: view for view in views}

    def concerns(view: RunView) -> bool:
        return view.id == here or view.run.info.owner == me or me in notes_of(view.run).favourite_of

    return [notice for notice in told if concerns(known[notice.run_id])]
