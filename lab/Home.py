"""The lab in the browser, `streamlit run lab/Home.py`: its door when the server imports this file, and the frame around
every screen (navigation, title) when it draws a page."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


def main() -> None:
    """Draw the navigation and the chosen screen."""
    from lab.frame.confirm import open_question
    from lab.frame.gate import let_in
    from lab.frame.header import header, open_to_all
    from lab.frame.live_fragment import begin_page
    from lab.frame.notices import notices
    from lab.frame.page_guard import remember_page
    from lab.frame.state import PAGES, forget_endless_numbers
    from lab.frame.tab_title import tab_title
    from lab.frame.theme import follow_theme
    from lab.generate.ahead import generate_ahead

    st.set_page_config(page_icon=str(ROOT / "lab" / "icon.png"), layout="wide")
    pages = [
        st.Page(ROOT / "pages" / f"{name}.py", title=title, icon=icon, url_path=name, default=name == "overview")
        for name, (title, icon) in PAGES.items()
    ]
    for style in ("app.css", "app_dark.css") if st.context.theme.type == "dark" else ("app.css",):
        st.html(ROOT / "lab" / "frame" / style)
    if not let_in():
        st.navigation(pages, position="hidden")
        return
    begin_page()
    generate_ahead()
    chosen = st.navigation(pages, position="hidden")
    forget_endless_numbers()
    here = chosen.url_path or "overview"
    remember_page(here)
    tab_title(chosen.title)
    follow_theme()
    header(here)
    open_to_all()
    open_question()
    chosen.run()
    notices()  # last: a notice of an earlier part would take the place of the window that the page opened


if __name__ == "__main__":  # Streamlit draws a page
    main()
else:  # the server starts
    from core.startup import check_start

    check_start()

    from core.compute.questions import LOOK_AT_LATENTS
    from core.home import fix_home, python_path
    from core.machine.heap import return_freed_memory
    from lab.frame.door import browser_opened, door
    from lab.frame.plotly_script import plotly_route
    from lab.services.computing import warm

    return_freed_memory()
    fix_home()
    os.environ["PYTHONPATH"] = python_path(ROOT)  # processes that a screen starts find core/ from any directory
    routes = [plotly_route(st.get_option("server.baseUrlPath"))]
    app = st.App(__file__, middleware=door(), lifespan=browser_opened, routes=routes)
    warm(LOOK_AT_LATENTS)  # PyTorch and diffusers take seconds to import: while the browser still loads the page
