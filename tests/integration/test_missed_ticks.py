"""Dagster's own scheduler with the clock moved: off over a weekend, a holiday and both changes of the clock."""

import datetime as dt
import logging
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from orchestration.instance.instance import opened_instance
from orchestration.settings import NEW_YORK, PROJECT_ROOT, load_settings
from tests.jobs import small_seeds

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceProcessContext]:
    """The code location in a code server, as the daemon has it; its schedule is on by itself."""
    folder = tmp_path_factory.mktemp("missed_ticks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OREWATCH_SOURCE", "yahoo")
        patch.setenv("OREWATCH_HOME", str(folder / "home"))
        patch.setenv("OREWATCH_SEEDS", str(small_seeds(folder / "seeds", "SIL")))
        patch.delenv("DAGSTER_HOME", raising=False)
        target = ModuleTarget("orchestration.definitions", None, str(PROJECT_ROOT), "orewatch")
        with (
            opened_instance(load_settings().paths) as instance,
            create_test_daemon_workspace_context(target, instance) as context,
        ):
            yield context


def asked_for(workspace: WorkspaceProcessContext, *moments: str) -> list[tuple[str, str]]:
    """A daemon that begins at the first moment, New York, and looks at each; the runs that it has asked for since.

    Each with the hour for which it was asked for, and its session.
    """
    instance = workspace.instance
    known = {run.run_id for run in instance.get_runs()}
    iteration_times: dict = {}
    for moment in moments:
        now = dt.datetime.fromisoformat(moment).replace(tzinfo=NEW_YORK).astimezone(dt.UTC)
        with freeze_time(now):
            errors = launch_scheduled_runs(workspace, logging.getLogger(__name__), now, iteration_times)
            assert [error for error in errors if error] == []
    new = [run for run in instance.get_runs() if run.run_id not in known]
    return sorted((run.tags["dagster/run_key"], run.tags["session_date"]) for run in new)


@pytest.mark.parametrize(
    ("on", "back", "asked"),
    [
        ("2026-01-30 17:00", "2026-02-01 10:00", ("refresh-2026-01-30-2026-01-31-2100", "2026-01-30")),
        ("2026-04-02 17:00", "2026-04-05 10:00", ("refresh-2026-04-02-2026-04-04-2100", "2026-04-02")),
        ("2026-10-30 17:00", "2026-11-01 01:30", ("refresh-2026-10-30-2026-10-31-2100", "2026-10-30")),
        ("2027-03-12 17:00", "2027-03-14 03:30", ("refresh-2027-03-12-2027-03-13-2100", "2027-03-12")),
    ],
    ids=["weekend", "Good Friday", "the clock goes back", "the clock goes ahead"],
)
def test_what_a_daemon_has_missed_is_made_up_for_when_it_is_back(
    on: str, back: str, asked: tuple[str, str], workspace: WorkspaceProcessContext
) -> None:
    day = dt.date.fromisoformat(back[:10])
    asked_for(workspace, on)  # it was on, and is switched off before the evening
    for old in workspace.instance.get_runs():
        workspace.instance.delete_run(old.run_id)
    assert asked_for(workspace, back, f"{day} 17:00") == [asked]
    # The next tick finds it on its way.
    assert asked_for(workspace, f"{day} 17:29", f"{day} 17:31") == []
    (tick, *_) = workspace.instance.get_ticks(*schedule(workspace), limit=1)
    assert "is being refreshed by run" in (tick.tick_data.skip_reason or "")
    (run,) = workspace.instance.get_runs()
    assert run.status is dg.DagsterRunStatus.QUEUED


def schedule(workspace: WorkspaceProcessContext) -> tuple[str, str]:
    """By what the instance knows the schedule."""
    (state,) = workspace.instance.all_instigator_state()
    return state.instigator_origin_id, state.selector_id
