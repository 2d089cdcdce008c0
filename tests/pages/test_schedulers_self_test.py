"""The self-test's view: curves of what is offered, reasons of what is refused."""

from __future__ import annotations

import pytest

from lab.schedulers import self_test_service
from tests.pages.conftest import OpenPage


@pytest.mark.parametrize(("schedule", "refused"), [("flow", "cannot sample flow matching"), ("cosine", "diverges")])
def test_every_offered_sampler_has_a_row_and_the_others_a_reason(
    schedule: str, refused: str, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test_service, "PATHS", 64)
    monkeypatch.setattr(self_test_service, "RANDOM_PATHS", 1024)
    app = open_page("schedulers", view="Self-test", **{"test-schedule": schedule})
    assert not app.exception
    table = app.dataframe[0].value
    expected = {"euler", "dpmpp_2m", "unipc", "heun"} if schedule == "flow" else {"ddpm", "lms", "deis", "unipc"}
    assert expected <= set(table["sampler"])
    assert ("heun" in set(table["sampler"])) is (schedule == "flow")
    errors = table.set_index("sampler")
    assert float(errors.loc["unipc", "50 steps"]) < float(errors.loc["euler", "50 steps"])
    assert any(refused in element.value for element in app.markdown)
