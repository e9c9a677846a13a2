"""The power fails while a run of the web UI works on the default instance, and comes back."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from orchestration.instance.runs import GONE
from orchestration.settings import PROJECT_ROOT, Settings
from tests.jobs import published, small_seeds
from tests.listening import children
from tests.receivers import Webhook, free_port
from tests.team import RUN_SECONDS, START_SECONDS, Team

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# What an operator waits for at most: the monitoring looks every 30 seconds, and so does the sensor.
MINUTES = 3 * 60.0


def begin(team: Team, port: int) -> subprocess.Popen:
    """`orewatch dev`, as a person starts it."""
    with (team.folder / "dev.said").open("ab") as said:
        team.running["dev"] = subprocess.Popen(
            [Path(sys.executable).parent / "orewatch", "dev", "--port", str(port)],
            cwd=PROJECT_ROOT,
            env=team.environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return team.running["dev"]


def cut(process: subprocess.Popen) -> None:
    """Nothing of it has time to do anything."""
    for pid in [process.pid, *children(process.pid)]:
        os.kill(pid, signal.SIGKILL)
    process.wait()


def test_a_run_that_died_with_the_machine_is_failed_and_repeated_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home", seeds=small_seeds(tmp_path / "seeds", "SIL", "SLV"))
    port = free_port()
    with Webhook() as hook:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "OREWATCH_"))},
            "OREWATCH_HOME": str(settings.home),
            "OREWATCH_SEEDS": str(settings.seeds),
            "OREWATCH_ALERTS": f"desk={hook.url}",
            "OREWATCH_ALERT_TIMEOUT_SECONDS": "45",
            "DAGSTER_WEBSERVER_PORT": str(port),
        }
        team = Team(tmp_path, environment, {})
        process = begin(team, port)
        try:
            run_id = team.until("the web UI answers", lambda: launched(team), START_SECONDS)
            monkeypatch.setenv("DAGSTER_HOME", str(settings.paths.dagster))
            with dg.DagsterInstance.get() as instance:

                def status(run: str) -> dg.DagsterRunStatus:
                    found = instance.get_run_by_id(run)
                    assert found is not None
                    return found.status

                def works() -> bool:
                    begun = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
                    return "dbt_models" in {entry.step_key for entry in begun}

                team.until("its run builds", works)
                cut(process)
                assert status(run_id) is dg.DagsterRunStatus.STARTED
                process = begin(team, port)
                team.until(
                    "its death is noticed",
                    lambda: status(run_id) is dg.DagsterRunStatus.FAILURE,
                    START_SECONDS + MINUTES,
                )
                (said,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
                assert GONE in said.message

                def again() -> str | None:
                    found = instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run_id}))
                    return found[0].run_id if found else None

                repeated = team.until("it is repeated", again, MINUTES)
                team.until("it ends", lambda: status(repeated) is dg.DagsterRunStatus.SUCCESS, RUN_SECONDS)
                team.until("it is told", lambda: f"data|run|{run_id}" in hook.ids or None, MINUTES)
                assert len(instance.get_runs()) == 2
        finally:
            cut(process)
    assert published(settings, "select count(*) as n from daily_bars")[0]["n"] > 1000


def launched(team: Team) -> str | None:
    """The id of a run of everything, once there is somebody to ask for it."""
    try:
        return team.launch()
    except (AssertionError, TypeError):
        return None
