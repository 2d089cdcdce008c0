import pytest

from core.config.load import settings_from
from core.errors import DataUnavailable, RunBusy, RunNotFound, UsageError
from core.jobs.observed import observed_status
from core.jobs.service import delete_run, inherit, request_stop, start_training
from core.runs.run import ProcessIdentity, RunState, Status


def create_nothing_wrong(*arguments, **options):
    """The check that finds nothing."""


@pytest.fixture
def begin(store, make_settings):
    def begin(kind, **options):
        options = {"check": create_nothing_wrong, "detach": False, "store": store, "owner": "ana", **options}
        return start_training(kind, make_settings(), **options)

    return begin


@pytest.fixture
def vae(begin):
    run = begin("vae")[0]
    run.write_status(Status(state=RunState.FINISHED, step=3, steps_total=3))
    return run


def test_all_creates_a_vae_run_and_its_unet_run_with_names_that_differ(begin):
    vae, unet = begin("all", name="x")
    assert (vae.info.name, unet.info.name, unet.info.parents) == ("x (VAE)", "x", (vae.id,))


def test_what_the_check_refuses_creates_nothing(begin, store):
    def check(*arguments, **options):
        raise DataUnavailable("no such data")

    with pytest.raises(DataUnavailable):
        begin("all", check=check)
    assert store.list() == []


def test_a_unet_without_a_vae_is_refused_and_told_which_there_are(begin, vae):
    with pytest.raises(UsageError, match=f"use --vae with one of {vae.id}"):
        begin("unet")


def test_a_unet_without_any_vae_is_told_to_train_one(begin):
    with pytest.raises(UsageError, match="none is finished yet"):
        begin("unet")


@pytest.mark.parametrize("state", [RunState.STOPPED, RunState.FAILED, RunState.QUEUED])
def test_an_unfinished_vae_is_refused(begin, vae, state):
    vae.write_status(Status(state=state))
    with pytest.raises(RunBusy, match="not finished"):
        begin("unet", vae_run=vae.id)


def test_a_vae_run_that_does_not_exist_is_refused(begin, store):
    with pytest.raises(RunNotFound):
        begin("unet", vae_run="nope")


def test_a_unet_inherits_what_it_did_not_choose_itself(vae):
    other = settings_from({"data": {"name": "digits"}, "unet": {"dropout": 0.1}})
    merged = inherit(other, vae, ["unet.dropout"])
    assert (merged.data.name, merged.unet.dropout) == ("mnist", 0.1)


@pytest.mark.parametrize("name", ["data.name", "data"])
def test_a_contradiction_that_was_chosen_is_refused(vae, name):
    with pytest.raises(UsageError, match="was trained with"):
        inherit(settings_from({"data": {"name": "digits"}}), vae, [name])


def test_a_choice_that_agrees_is_no_contradiction(vae):
    assert inherit(settings_from({}), vae, ["data.name"]).data == vae.settings.data


def test_a_run_just_created_is_believed_to_be_queued(begin):
    assert observed_status(begin("vae")[0]).state is RunState.QUEUED


@pytest.mark.parametrize(("asked", "state"), [(False, RunState.INTERRUPTED), (True, RunState.STOPPED)])
def test_a_run_that_nobody_ever_started_is_not_queued_for_ever(begin, store, monkeypatch, asked, state):
    run = begin("vae")[0]
    if asked:
        request_stop(store, run.id, by="bo")
    monkeypatch.setattr("core.jobs.observed.LAUNCH_GRACE_S", 0.0)
    assert observed_status(run).state is state


def test_an_interrupted_run_can_be_deleted(begin, store, monkeypatch):
    run = begin("vae")[0]
    monkeypatch.setattr("core.jobs.observed.LAUNCH_GRACE_S", 0.0)
    delete_run(store, run.id)
    assert store.list() == []


def test_another_boot_means_interrupted(vae):
    vae.write_status(
        Status(state=RunState.RUNNING, process=ProcessIdentity(boot_id="another", pid=1, start_ticks=1), step=3)
    )
    status = observed_status(vae)
    assert status.state is RunState.INTERRUPTED
    assert status.reason.startswith("the machine was restarted")
