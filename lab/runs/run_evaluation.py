"""What a run is worth, as it was measured: its newest evaluation beside the ceiling of its VAE, or that alone."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.evaluation.ceiling_results import ceiling_for, ceiling_rows, in_words
from core.evaluation.report import list_reports, report_rows, unreadable_results
from core.home import PROGRAM
from core.words import ago
from lab.frame.state import page_file
from lab.services.runs import RunView
from lab.words import escaped, plain


def run_evaluation(view: RunView) -> None:
    """A table of figures; of a VAE its ceiling; where there is neither, the way to one."""
    run = view.run
    reports = list_reports(run) if run.kind.generates else []
    ceiling = ceiling_for(run, judge_hash=reports[0].judge_hash if reports else None)
    if reports:
        st.caption(f"Evaluated {ago(reports[0].created_at)}, the newest of {len(reports)}.")
        _table(report_rows(reports[0], ceiling))
    elif run.kind.generates:
        st.caption(f"Not evaluated yet: {PROGRAM} evaluate {plain(run.id)}")
    if ceiling is not None:
        st.markdown(f"**VAE ceiling.** {escaped(in_words(ceiling), 500)}")
        if not reports:
            _table(ceiling_rows(ceiling))
        st.caption(
            "Real pictures through the VAE alone: no U-Net on it can be expected to do better. A U-Net far below it "
            "can still learn; one at it needs a better VAE (arXiv 2112.10752, section 4.1)."
        )
    else:
        st.caption("The ceiling of its VAE was not measured" + (" with this judge." if reports else "."))
    for problem in unreadable_results(run):
        st.caption(escaped(problem, 300))
    st.page_link(
        page_file("latents"),
        label="Look inside its latents",
        icon=":material/grid_view:",
        query_params={"run": view.id, "view": "Ceiling"},
    )


def _table(rows: list[tuple[str, str, str]]) -> None:
    st.dataframe(pd.DataFrame(rows, columns=["metric", "value", "note"]), hide_index=True, width="stretch")
