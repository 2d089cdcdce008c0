"""The same folder through `data`, `import-data`, a training and the Data page: one answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.config.schema import DataSettings
from core.data.arrays import prepare
from core.data.reader.reading_of_set import reading_from, reading_lines
from core.errors import Unanswered
from lab.words import escaped
from tests.core.data.test_reader import FOLDERS, tree
from tests.pages.conftest import OpenPage
from tests.pages.test_data import press, words

CASES = {
    "split": ["a", "b"],
    "leftovers": ["a", "b"],
    "a test split of thumbnails alone": ["a", "b"],
    "asked": "named like parts of a split",
}


@pytest.mark.slow
@pytest.mark.usefixtures("known_digits")
@pytest.mark.parametrize("case", CASES)
def test_four_doors_give_one_answer(
    case: str, open_page: OpenPage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, expected = tree(tmp_path / "set", FOLDERS[case]), CASES[case]
    settings = DataSettings(name="image_folder", path=str(root), image_size=8)
    folders = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache"}

    def said(*command: str) -> Any:
        main([*command, "--json"])
        return json.loads(capsys.readouterr().out)

    answers = [said("data", str(root)), said("import-data", str(root), "--name", "mine")]
    app = open_page("data", add="1")
    app.text_input(key="import-path").input(str(root))
    press(app, "Look at it first")
    assert not app.exception and not app.error
    if isinstance(expected, str):
        sentences = [answer["error"].partition("set: ")[2] for answer in answers]
        assert len(set(sentences)) == 1 and expected in sentences[0]
        assert expected in app.warning[0].value
        with pytest.raises(Unanswered, match=expected):
            prepare(settings, **folders)
        return
    readings = [reading_from(answer["reading"]) for answer in answers]
    assert readings[0] == readings[1] and list(readings[0].class_names) == expected
    shown = words(app)
    for what, text in reading_lines(readings[0]):
        assert f"**{what}:** {escaped(text, 400)}" in shown
    trained = prepare(settings, **folders)
    assert trained.class_names == readings[0].class_names
    counts = sum((*readings[0].counts_train, *readings[0].counts_heldout))
    assert len(trained.train.labels) + len(trained.heldout.labels) == counts
