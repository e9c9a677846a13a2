"""Dagster for a team, for real: the processes of `deploy/Procfile` on Debian's PostgreSQL, without containers.

One story, lived once and then looked at from several sides. The schedule fires, on a simulated 30 January 2026. In the
middle of that run the code server is told to end, as a restart does, and while it waits for the run somebody asks for
another. The next code server lives on 2 February; it is killed, with its run. A third one ends the story.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from dagster._core.events.log import EventLogEntry
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus

from orchestration.alerts.outbox import journal
from orchestration.instance.instance import GONE
from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.signals.new_events import new_events
from tests.deployment import health_check, team_environment
from tests.jobs import published, small_seeds
from tests.listening import LOOPBACK, children, listening
from tests.postgres_server import PASSWORD, PostgresServer, postgres_server
from tests.receivers import Webhook, free_port
from tests.team import RUN_SECONDS, START_SECONDS, Team

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SCHEDULE, SENSOR = "refresh_after_close", "alerts"
ROLE = "dagster"  # and its database
FIRST_EVENING, NEXT_EVENING = "2026-01-30", "2026-02-02"

# Silver fell further on Monday; a fund of miners did not fall as much.
RULES = "daily,all,,return_1d,1,0.03,\n"


@dataclass
class Story:
    """What was there at the end.

    Attributes:
        folder: everything that was written.
        settings: of the home.
        runs: all runs, by id.
        scheduled: the run of the first evening, during which the code server was told to end.
        asked_for: the run that was asked for meanwhile, and killed with the second code server.
        repeated: the run in its place.
        logs: the events of each run.
        ticks: of the schedule and of the sensor, by name.
        ended: exit code of the code server that was told to end, and the state of its run at that moment.
        last_restart: when the third code server was started, seconds since 1970.
        told: event ids that the channel was sent, in order, repeats included.
        owed: what the journal says of the deliveries, by channel and state.
        listening: where the processes listened.
        health: exit codes of the health checks.
        stored: rows of Dagster's tables that hold the password.
    """

    folder: Path
    settings: Settings
    runs: dict[str, dg.DagsterRun]
    scheduled: str
    asked_for: str
    repeated: str
    logs: dict[str, list[EventLogEntry]]
    ticks: dict[str, list[InstigatorTick]]
    ended: tuple[int, dg.DagsterRunStatus]
    last_restart: float
    told: list[str]
    owed: dict[tuple[str, str], int]
    listening: set[str]
    health: dict[str, int]
    stored: int


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    pytest.importorskip("dagster_postgres")
    folder = tmp_path_factory.mktemp("team")
    seeds = small_seeds(folder / "seeds", "SLV", "SIL", rules=RULES)
    with postgres_server() as server, Webhook() as hook, pytest.MonkeyPatch.context() as here:
        server.create_role(ROLE)
        server.rows(f"create database {ROLE} owner {ROLE}")
        of_others = ("DAGSTER_", "MAKE", "MFLAGS")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(of_others)},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT_ROOT),
            **team_environment(),
            "DAGSTER_HOME": str(folder / "instance"),
            "DAGSTER_GRPC_PORT": str(free_port()),
            "DAGSTER_WEBSERVER_PORT": str(free_port()),
            "DAGSTER_POSTGRES_PORT": str(server.port),
            "DAGSTER_POSTGRES_PASSWORD": PASSWORD,
        }
        settings = {
            "OREWATCH_SOURCE": "sample",
            "OREWATCH_HOME": str(folder / "home"),
            "OREWATCH_SEEDS": str(seeds),
            "OREWATCH_ALERTS": f"desk={hook.url}",
            "OREWATCH_ALERT_TIMEOUT_SECONDS": "45",
        }
        team = Team(folder, environment, settings)
        team.release()
        for name, value in environment.items():
            here.setenv(name, value)
        with dg.DagsterInstance.get() as instance:
            try:
                yield _lived(team, instance, server, hook)
            finally:
                team.stop()


def _lived(team: Team, instance: dg.DagsterInstance, server: PostgresServer, hook: Webhook) -> Story:
    settings = Settings(source="sample", home=team.folder / "home", seeds=team.folder / "seeds")

    def run_with(**tags: str) -> str | None:
        found = instance.get_runs(dg.RunsFilter(tags={key.replace("__", "/"): tag for key, tag in tags.items()}))
        return found[0].run_id if found else None

    def builds(run_id: str) -> bool:
        begun = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
        return "dbt_models" in {entry.step_key for entry in begun}

    def status(run_id: str) -> dg.DagsterRunStatus:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def ticks(name: str) -> list[InstigatorTick]:
        (state,) = [state for state in instance.all_instigator_state() if state.instigator_name == name]
        return list(instance.get_ticks(state.instigator_origin_id, state.selector_id))

    def nothing_is_owed() -> bool:
        with journal(settings.paths.alerts) as notes:
            return ("desk", "pending") not in notes.counts()

    # All at once, in no order that would suit them.
    for name in ("daemon", "webserver", "code-server"):
        team.start(name)
    schedule = team.until("the schedule is on", lambda: team.switch_on(SCHEDULE), START_SECONDS)
    scheduled = team.until("the schedule fires", lambda: run_with(dagster__schedule_name=SCHEDULE))
    team.until("its run builds", lambda: builds(scheduled))

    first = team.running["code-server"]
    addresses = listening([pid for process in team.running.values() for pid in children(process.pid)])
    first.terminate()
    asked_for = team.launch(session_date=NEXT_EVENING)
    exit_code = first.wait(RUN_SECONDS)
    ended = (exit_code, status(scheduled))

    second = team.start("code-server", OREWATCH_AS_OF=NEXT_EVENING)
    # Not in the middle of a delivery: whether that has arrived nobody could know, and it would be repeated.
    team.until("the run that was asked for builds", lambda: builds(asked_for) and nothing_is_owed())
    # Or the next minute may take the evening for failed before the daemon repeats the run.
    team.switch_off(schedule)
    team.kill("code-server")
    assert second.returncode == -signal.SIGKILL

    last_restart = time.time()
    team.start("code-server", OREWATCH_AS_OF=NEXT_EVENING)
    team.until("its death is noticed", lambda: status(asked_for) is dg.DagsterRunStatus.FAILURE)
    repeated = team.until("it is repeated", lambda: run_with(dagster__parent_run_id=asked_for))
    team.until("the schedule is on again", lambda: team.switch_on(SCHEDULE))
    team.until("the repeated run has ended", lambda: status(repeated) is dg.DagsterRunStatus.SUCCESS)

    def looked_at() -> bool:
        with journal(settings.paths.alerts) as notes:
            return not notes.unknown([repeated])

    team.until("all is told", lambda: looked_at() and nothing_is_owed())
    team.until(
        "the schedule goes on",
        lambda: any(t.timestamp > last_restart and t.status is TickStatus.SKIPPED for t in ticks(SCHEDULE)),
    )
    # Whatever is told or run twice would be by now.
    count = len([t for t in ticks(SENSOR) if t.is_completed])
    team.until("the sensor has looked once more", lambda: len([t for t in ticks(SENSOR) if t.is_completed]) > count)
    health = {
        name: subprocess.run(
            health_check(name), env=team.environment, cwd=PROJECT_ROOT, capture_output=True, timeout=START_SECONDS
        ).returncode
        for name in team.running
    }
    with journal(settings.paths.alerts) as notes:
        owed = notes.counts()
    runs = {run.run_id: run for run in instance.get_runs()}
    return Story(
        team.folder,
        settings,
        runs,
        scheduled,
        asked_for,
        repeated,
        {run_id: list(instance.all_logs(run_id)) for run_id in runs},
        {name: ticks(name) for name in (SCHEDULE, SENSOR)},
        ended,
        last_restart,
        hook.ids,
        owed,
        addresses,
        health,
        _rows_with_the_password(server),
    )


def _rows_with_the_password(server: PostgresServer) -> int:
    tables = server.rows("select tablename from pg_tables where schemaname = 'public'", database=ROLE)
    assert {"runs", "event_logs", "job_ticks"} <= {name for (name,) in tables}
    forms = " or ".join(f"strpos(t::text, '{form}') > 0" for form in _forms_of_the_password())
    counts = [f'(select count(*) from "{name}" as t where {forms})' for (name,) in tables]  # noqa: S608
    ((found,),) = server.rows(f"select {' + '.join(counts)}", database=ROLE)
    return found


def _forms_of_the_password() -> tuple[str, ...]:
    """As it is and in a URL; its beginning, which looks the same in JSON."""
    return PASSWORD[:7], quote(PASSWORD[:7])


def events(story: Story, run_id: str, kind: dg.DagsterEventType) -> list[EventLogEntry]:
    return [e for e in story.logs[run_id] if e.dagster_event and e.dagster_event_type is kind]


def steps(story: Story, run_id: str, kind: dg.DagsterEventType) -> Counter[str | None]:
    return Counter(entry.step_key for entry in events(story, run_id, kind))


def test_the_schedule_fires_once_for_an_evening(story: Story) -> None:
    run = story.runs[story.scheduled]
    assert run.tags["session_date"] == FIRST_EVENING
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert [run_id for tick in story.ticks[SCHEDULE] for run_id in tick.run_ids] == [story.scheduled]


def test_nothing_ran_but_what_was_asked_for(story: Story) -> None:
    assert set(story.runs) == {story.scheduled, story.asked_for, story.repeated}


def test_a_restart_waits_for_the_run_that_is_on_its_way(story: Story) -> None:
    assert story.ended == (0, dg.DagsterRunStatus.SUCCESS)
    kinds = dg.DagsterEventType
    assert len(events(story, story.scheduled, kinds.RUN_START)) == 1
    assert len(events(story, story.scheduled, kinds.RUN_SUCCESS)) == 1
    begun = steps(story, story.scheduled, kinds.STEP_START)
    assert set(begun.values()) == {1}
    assert begun == steps(story, story.scheduled, kinds.STEP_SUCCESS)
    assert "market_checks" in begun


def test_a_run_that_was_asked_for_meanwhile_waits_in_the_queue(story: Story) -> None:
    said = [entry.message for entry in story.logs[story.asked_for]]
    assert any("re-submitting the run into the queue" in text for text in said)
    assert len(events(story, story.asked_for, dg.DagsterEventType.RUN_START)) == 1


def test_a_run_that_dies_with_its_code_server_is_repeated(story: Story) -> None:
    dead, repeated = story.runs[story.asked_for], story.runs[story.repeated]
    assert dead.status is dg.DagsterRunStatus.FAILURE
    (failure,) = events(story, story.asked_for, dg.DagsterEventType.RUN_FAILURE)
    assert GONE in failure.message
    assert repeated.status is dg.DagsterRunStatus.SUCCESS
    assert repeated.tags["session_date"] == NEXT_EVENING
    # What had been done was not done again, and nothing was left out.
    done = steps(story, story.asked_for, dg.DagsterEventType.STEP_SUCCESS)
    done += steps(story, story.repeated, dg.DagsterEventType.STEP_SUCCESS)
    assert done == steps(story, story.scheduled, dg.DagsterEventType.STEP_SUCCESS)
    latest = published(story.settings, "select symbol, max(session_date)::varchar as day from daily_bars group by all")
    assert {row["symbol"]: row["day"] for row in latest} == {"SLV": NEXT_EVENING, "SIL": NEXT_EVENING}


def test_ticks_are_not_lost(story: Story) -> None:
    for name, ticks in story.ticks.items():
        assert max(Counter(tick.timestamp for tick in ticks).values()) == 1, name
        # One that met no code server is tried again, until the next is due; nothing else went wrong.
        failed = [str(tick.error) for tick in ticks if tick.status is TickStatus.FAILURE]
        assert [error for error in failed if "Unable to reach the user code server" not in error] == [], name
    on_again = [tick.status for tick in story.ticks[SCHEDULE] if tick.timestamp > story.last_restart]
    assert TickStatus.SKIPPED in on_again
    assert TickStatus.FAILURE not in on_again


def test_the_sensor_tells_each_event_once(story: Story) -> None:
    assert max(Counter(story.told).values()) == 1
    assert story.owed == {("desk", "sent"): len(story.told)}
    moves = {f"{symbol}|{day}|move" for symbol, day in (("SLV", FIRST_EVENING), ("SIL", FIRST_EVENING))}
    assert moves | {f"SLV|{NEXT_EVENING}|move"} <= set(story.told)
    assert {
        f"{row['symbol']}|{row['session_date']}|move" for row in new_events(story.settings.paths).rows["move"]
    } <= set(story.told)
    assert [event_id for event_id in story.told if event_id.startswith("data|run|")] == [f"data|run|{story.asked_for}"]


def test_everything_listens_on_the_loopback_interface(story: Story) -> None:
    assert len(story.listening) >= 2
    assert all(address.startswith(LOOPBACK) for address in story.listening), story.listening


def test_the_health_checks_of_the_containers(story: Story) -> None:
    assert story.health == {"code-server": 0, "webserver": 0, "daemon": 0}


def test_the_password_is_nowhere(story: Story) -> None:
    files = [path for path in story.folder.rglob("*") if path.is_file()]
    assert story.folder / "instance" / "dagster.yaml" in files
    for form in _forms_of_the_password():
        assert [path for path in files if form.encode() in path.read_bytes()] == []
    assert story.stored == 0
