"""Adding a set: from a file of one's own computer or from a path on this machine, read by a limited process."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import streamlit as st

from core.config.site import typed_path
from core.data.importing.import_set import COLORS, Seen, suggested_name
from core.data.imports import Imported
from core.data.limits import LIMITS
from core.data.reader.reading_of_set import AUTO, BIT_DEPTHS, Answers
from core.errors import LabError, Unanswered
from lab.data import data_import_service
from lab.data.data_view import reading_table
from lab.data.gallery import Row, Shown, gallery
from lab.frame.problems import problems_shown
from lab.frame.state import who
from lab.frame.task_progress import outcome, result_once
from lab.services import datasets
from lab.services.background import own_key
from lab.widgets.choice import choose
from lab.words import capitalized, escaped, plain, sentence

Given = tuple[tuple[str, ...], str, Answers]  # ids of uploads, a path, what was said of them
LOOKED = "import-looked"  # (Given, what was seen or why nothing was): the last look of this session
AGAIN = "import-look-again"
EXAMPLE = "For example `birds/owl/1.png`, `birds/owl/2.png` and `birds/robin/1.png`: two classes, named owl and robin."


def add_a_set(chosen: str) -> None:
    """The form, progress of one's own import, and how the last one ended. chosen: the set below, another one closes it.

    A link with `?add=1` opens it.
    """
    _show(result_once(own_key(data_import_service.WHAT, who()), "Importing"))
    with st.expander(
        "Import your own images",
        icon=":material/upload:",
        expanded=datasets.ADD in st.query_params,
        key=f"add-{chosen}",
    ):
        _form()


def _form() -> None:
    st.markdown(
        "A folder or zip of images, **one directory per class** or with a table of labels, or a file of arrays. "
        "Everyone on this server can train on it.",
        help=EXAMPLE,
    )
    with st.form("import", border=False):
        left, right = st.columns(2)
        uploads = left.file_uploader(
            "A file from your computer",
            accept_multiple_files=True,
            key="import-file",
            help="A .zip of images, or arrays: .npz, Parquet, a CSV of pixels. Choose .npy or IDX files together: "
            "images and labels.",
        )
        path = left.text_input(
            "or a folder or file on this machine", key="import-path", max_chars=1000, placeholder="path"
        )
        name = right.text_input(
            "Name",
            key="import-name",
            max_chars=40,
            placeholder="from the file's name",
            help="Lowercase letters, digits, - and _. The settings use it as data.name.",
        )
        title = right.text_input("Title", key="import-title", max_chars=80, placeholder="optional")
        licence = right.text_input("License", key="import-licence", max_chars=200, placeholder="e.g. CC0 or MIT")
        color = choose(
            "Color",
            COLORS,
            key="import-color",
            cell=right,
            in_url=False,
            help="native refuses a mixture of gray and color images; gray and rgb convert all of them",
        )
        answers = _answers()
        given: Given = (tuple(each.file_id for each in uploads), path.strip(), answers)
        found = _found(given)
        with st.container(horizontal=True):
            looks = st.form_submit_button("Look at it first", icon=":material/visibility:")
            pressed = st.form_submit_button("Import", icon=":material/upload:", disabled=not isinstance(found, Seen))
    files = [(each.name, each.getbuffer()) for each in uploads]
    if (looks or pressed) and not files and not path.strip():
        st.error("Choose a file, or give a path.", icon=":material/error:")
    elif pressed and isinstance(found, Seen):
        with problems_shown():
            source = typed_path(path)
            data_import_service.begin_import(
                name=name.strip() or suggested_name(files[0][0] if files else source.name),
                title=title,
                licence=licence,
                color=color,
                imported_by=who(),
                uploads=files,
                answers=answers,
                source=source,
            )
            del st.session_state[LOOKED]
            st.rerun()
    elif looks or st.session_state.pop(AGAIN, False):
        st.session_state[LOOKED] = given, _look(path, files, answers)
        st.rerun()
    elif isinstance(found, Seen):
        seen(found)
    elif isinstance(found, Unanswered):
        _question(found)
    elif found is not None:
        st.error(sentence(found), icon=":material/error:")
    elif LOOKED in st.session_state:
        st.warning("This has changed since you looked at it. Press *Look at it first*.", icon=":material/warning:")
    st.caption(
        f"At most {LIMITS.entries:,} files, {LIMITS.total_bytes / 1e9:.0f} GB unpacked, "
        f"{LIMITS.picture_pixels / 1e6:.0f} megapixels per image. A damaged file stops the import, and "
        "nothing of it stays."
    )


def _found(given: Given) -> Seen | LabError | None:
    """What this session saw when it looked at the same, or why it could not; None when it has not looked."""
    looked, found = st.session_state.get(LOOKED, (None, None))
    return found if looked == given else None


def _look(path: str, files: Sequence[tuple[str, memoryview]], answers: Answers) -> Seen | LabError:
    try:
        work = data_import_service.begin_look(source=typed_path(path), uploads=files, answers=answers, by=who())
        found: Seen = outcome(work, "Looking at it")
        return found
    except LabError as error:
        return error


def _question(asked: Unanswered) -> None:
    """What must be said before an import, and the button that says yes."""

    def take_it_so() -> None:
        st.session_state[f"import-{asked.option.replace('_', '-')}"] = asked.value
        st.session_state[AGAIN] = True

    st.warning(f"{escaped(capitalized(asked.message), 600)}. Is that right?", icon=":material/help:")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Yes, take it so", key="import-yes", on_click=take_it_so)
        st.caption(f"If not, say it under *How to read it*, as {asked.option.replace('_', '-')}, and look again.")


def _answers() -> Answers:
    """What somebody says about the set instead of leaving it to the reader."""
    with st.popover("How to read it", help="Leave these as they are; a question names the one that answers it."):
        cells = st.columns(2)
        said = {
            "classes": cells[0].text_input("classes", placeholder=AUTO, key="import-classes", max_chars=4),
            "split": cells[0].text_input("split", placeholder=AUTO, key="import-split", max_chars=400),
            "labels_from": cells[1].text_input(
                "labels-from", placeholder=AUTO, key="import-labels-from", max_chars=400
            ),
            "bit_depth": cells[1].selectbox("bit-depth", BIT_DEPTHS, key="import-bit-depth"),
        }
    return Answers(**{name: str(value).strip() or AUTO for name, value in said.items()})


def seen(found: Seen) -> None:
    """What an import would store: the reading, and an image of each class. Nothing is stored yet."""
    reading = found.reading
    with st.container(border=True, key="import-reading"):
        st.markdown("**This is what an import would store.** Press *Import* if it is right.")
        reading_table(reading)
        rows = []
        for number, (name, data) in enumerate(found.images):
            picture = Shown(src=f"data:image/png;base64,{base64.b64encode(data).decode()}", width=48, title=plain(name))
            rows.append(Row(label=name, pictures=(picture,), note=f"{reading.counts_train[number]:,} images"))
        gallery(rows, key="import-gallery")


def remove_a_set(name: str) -> None:
    """The question that an imported set is removed with, and its answer."""
    with st.popover("Delete this dataset", icon=":material/delete:"):
        st.markdown(
            f"This permanently deletes **{escaped(name)}** and its images for everyone. Runs trained on it can still "
            "generate, but cannot be resumed or evaluated."
        )
        agreed = st.button("Delete permanently", type="primary", key="remove-set-yes")
        if agreed:
            with problems_shown():
                data_import_service.remove(name, who())
                st.query_params.pop("set", None)
                st.session_state.pop("pick-set", None)
                st.rerun()


def _show(found: Imported | None) -> None:
    """Go to a set that has just been imported."""
    if found is None:
        return
    st.session_state["pick-set-told"] = None
    st.query_params["set"] = found.name
    st.query_params.pop(datasets.ADD, None)
    st.toast(f"{escaped(found.title)}: {found.train_count:,} images imported", icon=":material/check:")
    st.rerun()
