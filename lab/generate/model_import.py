"""Imported models: added from a zip on one's own computer, or a folder or zip on this server, and removed again."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.config.site import typed_path
from core.home import PROGRAM
from core.model_folders.model_facts import ModelFolderInfo
from core.words import ago
from lab.frame.confirm import confirm_for_good
from lab.frame.problems import problems_shown
from lab.frame.state import who
from lab.frame.task_progress import result_once
from lab.generate.model_import_service import WHAT, begin_model_import, imported_models, remove_model
from lab.services import background
from lab.words import escaped, exactly

OPEN = "add-model"  # the query parameter: whether the form is open


def add_a_model() -> None:
    """The form, how one's own import is getting on, how the last one ended, and what was imported so far."""
    mine = background.own_key(WHAT, who())
    is_busy = background.find(mine) is not None
    with st.expander(
        "Imported models",
        icon=":material/deployed_code:",
        expanded=is_busy,
        key=OPEN,
        on_change="rerun",
        bind="query-params",
    ) as box:
        _show(result_once(mine, "Importing"))
        if not box.open:
            return
        st.markdown(
            f"Import a folder or zip made by `{PROGRAM} export`, or a diffusers `DiTPipeline`. Safetensors only.",
            help="The pipeline must use a `UNet2DModel`. No code of the folder is run.",
        )
        with st.form("import-model", border=False):
            left, right = st.columns(2)
            upload = left.file_uploader("A .zip file on your computer", type=("zip",), key="model-file")
            path = left.text_input(
                "or a folder or .zip on this server", key="model-path", max_chars=1000, placeholder="path"
            )
            name = right.text_input("Name", key="model-name", max_chars=60, placeholder="optional")
            data = right.text_input(
                "Trained on",
                key="model-data",
                max_chars=60,
                placeholder="optional, e.g. mnist",
                help="The dataset, needed to evaluate a diffusers folder. Exported folders record it.",
            )
            pressed = st.form_submit_button("Import", icon=":material/upload:")
        if pressed and upload is None and not path.strip():
            st.error("Choose a file, or give a path.", icon=":material/error:")
        elif pressed:
            with problems_shown():
                begin_model_import(
                    source=typed_path(path),
                    name=name.strip(),
                    data_set=data.strip(),
                    imported_by=who(),
                    upload=(upload.name, upload.getbuffer()) if upload is not None else None,
                )
                st.rerun()
        for info in imported_models():
            _line(info)


def _line(info: ModelFolderInfo) -> None:
    """One imported model: what it is, whose, and a way to be rid of it."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        data = info.facts.data_title or info.facts.data_set or "unrecorded dataset"
        by = f"imported by {escaped(info.owner, 60)}" if info.owner else "copied by hand"
        when = info.imported_at or info.facts.created_at
        st.markdown(
            f"**{escaped(info.title, 60)}** · {escaped(info.name, 60)} · {escaped(data, 60)} · {by}, "
            f"{escaped(ago(when))}",
            help=exactly(when) or None,
        )
        if st.button("Remove", key=f"model-remove-{info.name}", icon=":material/delete:", type="tertiary"):
            confirm_for_good(info.owner, "remove", partial(_remove, info.id), what="a model", name=info.title)


def _remove(model_id: str) -> None:
    """And leave it, where it was chosen."""
    remove_model(model_id, who())
    if st.query_params.get("run") == model_id:
        st.query_params.pop("run", None)


def _show(found: ModelFolderInfo | None) -> None:
    """Choose a model that has just been imported."""
    if found is None:
        return
    st.query_params["run"] = found.id
    st.toast(f"{escaped(found.title)} imported", icon=":material/check:")
    st.rerun()
