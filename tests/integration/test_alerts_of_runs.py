"""Alerts of the real job: from the sensor and from the command line, each event once whoever comes first."""

import datetime as dt
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from orchestration.alerts.deliver import open_journal, tell
from orchestration.alerts.outbox import journal
from orchestration.build import build_definitions
from orchestration.cli.refresh import run_refresh
from orchestration.duckdb_io import rows
from orchestration.ingest.assets import RefreshConfig
from orchestration.instance.instance import opened_instance
from orchestration.settings import NEW_YORK, Settings
from orchestration.signals.new_events import new_events
from tests.compiled_dbt import CompiledDbt
from tests.jobs import refresh, resolved, resources_of, small_seeds
from tests.receivers import Webhook
from tests.runs import run

pytestmark = pytest.mark.integration

LEVELS = "line,AAA,110,110,resistance,2020-01-01,\n"
MOVES = {"AAA": 0.12, "BBB": -0.10, "CCC": 0.001}


def drop(folder: Path, symbol: str, closes: list[float], first: dt.date = dt.date(2025, 6, 2)) -> None:
    days = [first + dt.timedelta(n) for n in range(3 * len(closes))]
    weekdays = [day for day in days if day.weekday() < 5 and day not in HOLIDAYS][: len(closes)]
    rows = "".join(f"{day},{close}\n" for day, close in zip(weekdays, closes, strict=True))
    (folder / f"{symbol}.csv").write_text(f"Date,Close\n{rows}", "utf-8")


HOLIDAYS = (dt.date(2025, 6, 19), dt.date(2025, 7, 4), dt.date(2025, 9, 1))


def history(last: float, sessions: int = 80) -> list[float]:
    """A hundred, a little up and down, and one move at the end."""
    closes = [100.0 + (n % 2) / 4 for n in range(sessions)]
    return [*closes, round(closes[-1] * (1 + last), 4)]


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, hook: Webhook) -> Settings:
    folder = tmp_path / "drop"
    folder.mkdir()
    for symbol, last in MOVES.items():
        drop(folder, symbol, history(last))
    (folder / "DDD.csv").write_text("nothing,that,is,a,price\n1,2\n", "utf-8")
    return Settings(
        source="files",
        files=folder,
        home=tmp_path / "home",
        seeds=small_seeds(tmp_path / "seeds", *MOVES, "DDD", levels=LEVELS),
        alerts=f"desk={hook.url}",
        alert_timeout_seconds=45,  # on a busy machine it takes long until Apprise is loaded
        ui_url="https://ore.example.org",
    )


def tick(settings: Settings, instance: dg.DagsterInstance) -> str:
    """One tick of the sensor as the daemon runs it; returns what it says."""
    sensor = build_definitions(settings).resolve_sensor_def("alerts")
    result = sensor.evaluate_tick(dg.build_sensor_context(instance=instance))
    assert result.run_requests == []
    assert result.skip_message is not None
    return result.skip_message


def run_job(settings: Settings, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = resolved(build_definitions(settings, resources_of(settings)))
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def test_sensor_and_command_line_tell_each_event_once(
    settings: Settings, hook: Webhook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with opened_instance(settings) as instance:
        assert tick(settings, instance) == "0 new events"  # begins the journal
        result = run_job(settings, instance)
        assert result.success
        said = tick(settings, instance)
        (message,) = hook.messages
        flagged = {row["event_id"] for row in new_events(settings.paths).rows["level"]}
        flagged |= {f"{row['symbol']}|{row['session_date']}|move" for row in new_events(settings.paths).rows["move"]}
        assert len(flagged) == 3  # two moves, one cross of the line
        unchosen = [
            row for kind in ("extreme", "round_number") for row in new_events(settings.paths).rows.get(kind, ())
        ]
        assert unchosen
        flagged |= {row["event_id"] for row in unchosen}
        told = set(hook.ids)
        assert flagged < told
        failures = told - flagged
        assert all(event_id.startswith("data|") and event_id.endswith(result.run_id) for event_id in failures)
        assert any("fetch_outcome" in event_id for event_id in failures)
        assert "DDD" in message["message"]
        assert f"https://ore.example.org/runs/{result.run_id}" in message["message"]
        assert "SIMULATED" not in message["title"] + message["message"]
        assert said == f"{len(told)} new events; desk: {len(told)} sent"
        assert len(hook.ids) == len(told)

        # The same run looked at again; the same checks evaluated again, and once more without their memory.
        assert tick(settings, instance) == "0 new events"
        (settings.paths.root / "market_checks.json").unlink()
        assert run_job(settings, instance).success
        assert tick(settings, instance) == "0 new events"
    # The command line, on the same instance; and a new day, which it tells itself. That evening a rule was edited, too:
    # what it sees on every day of the past month is history.
    assert refresh(settings)
    assert len(hook.messages) == 1
    assert settings.files is not None
    rules = settings.seeds / "move_rules.csv"
    rules.write_text(rules.read_text("utf-8").replace("0.05", "0.002"), "utf-8")
    drop(settings.files, "CCC", [*history(MOVES["CCC"]), 130.0])
    assert refresh(settings)
    assert len(hook.messages) == 2
    (new,) = {event_id for event_id in hook.ids if event_id not in told and not event_id.startswith("data|")}
    assert new.startswith("CCC|")
    (many,) = rows(
        settings.paths.published_file, "select count(*) as hits from move_rule_hits where abs(score) < 0.004"
    )
    assert many["hits"] > 200
    assert "Web UI:         https://ore.example.org\n" in capsys.readouterr().out
    with opened_instance(settings) as instance:
        assert tick(settings, instance) == "0 new events"
    assert len(hook.messages) == 2


@pytest.mark.parametrize("teller", ["refresh", "refresh of another day", "sensor"])
def test_a_journal_that_was_moved_away_is_told_what_is_flagged_at_that_moment(
    teller: str, settings: Settings, hook: Webhook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert refresh(settings)
    told = {event_id for event_id in hook.ids if not event_id.startswith("data|")}
    assert len(told) >= 3
    kept = settings.paths.alerts.with_name("kept")
    settings.paths.alerts.rename(kept)
    hook.messages.clear()
    if teller == "sensor":
        with opened_instance(settings) as instance:
            said = tick(settings, instance)
            assert said == f"{len(told)} new events; desk: {len(told)} sent"
            assert tick(settings, instance) == "0 new events"
    else:
        assert settings.files is not None
        if teller == "refresh of another day":  # its session takes the flags away
            for symbol, last in MOVES.items():
                closes = history(last)
                drop(settings.files, symbol, [*closes, closes[-1]])
        assert refresh(settings)
    assert told <= set(hook.ids)
    assert len(hook.ids) == len(set(hook.ids))
    # Once: neither by another refresh, nor because a journal is there again that knows it.
    hook.messages.clear()
    assert refresh(settings)
    shutil.rmtree(settings.paths.alerts)
    kept.rename(settings.paths.alerts)
    assert refresh(settings)
    assert told.isdisjoint(hook.ids)


def test_what_a_damaged_version_flagged_does_not_stop_the_refresh_that_heals_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert refresh(settings)
    shutil.rmtree(settings.paths.alerts)
    settings.paths.published_file.resolve().unlink()
    assert refresh(settings)
    assert new_events(settings.paths).rows["move"]


def test_an_unknown_symbol_of_a_channel_is_a_warning_of_the_refresh(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(settings.paths.dagster))
    assert settings.files is not None
    for path in settings.files.glob("*.csv"):
        path.unlink()
    (channel,) = settings.channels
    settings = settings.model_copy(update={"alerts": SecretStr(f"desk={channel.url} symbols=AAA,GONE")})
    assert not refresh(settings)  # there is no file
    said = capsys.readouterr().out
    assert said.count("warning OREWATCH_ALERTS: channel 'desk' asks for GONE, not in instruments.csv") == 1
    assert "stopped by fetch_outcome" in said
    assert "pa55w0rd" not in said


def test_a_run_whose_process_died_is_told_with_its_reason(settings: Settings, hook: Webhook) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tell(settings, instance)
        job = build_definitions(settings).resolve_job_def("refresh")
        started = dg.DagsterRunStatus.STARTED
        # As Dagster does for every launched run.
        died = instance.create_run_for_job(job, status=started, tags=job.tags)
        # Of another home, and of another project that keeps its runs in the same place.
        others = [
            instance.create_run_for_job(job, status=started, tags={**job.tags, "orewatch/home": "/another"}),
            instance.create_run_for_job(job, status=started, tags={"source": "files", "session_date": "2026-01-30"}),
            instance.create_run_for_job(job, status=started),
        ]
        for each in (died, *others):
            instance.report_run_failed(each, "the process of this run is gone; the next refresh picks up")
        assert tell(settings, instance).events == 1
        assert tell(settings, instance).events == 0
    (message,) = hook.messages
    assert hook.ids == [f"data|run|{died.run_id}"]
    assert "the process of this run is gone; the next refresh picks up" in message["message"]


@pytest.mark.parametrize("days", [3, 366, -3, -20000])
def test_a_clock_that_was_wrong_once_hides_no_failure_and_tells_none_twice(
    settings: Settings, hook: Webhook, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    shift = 0.0
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + shift)
    failed: list[str] = []
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(settings).resolve_job_def("refresh")

        def fail(cause: str) -> None:
            run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.tags)
            instance.report_run_failed(run, cause)
            failed.append(f"data|run|{run.run_id}")
            tell(settings, instance, everything=True)
            tell(settings, instance, everything=True)

        tell(settings, instance)
        fail("before")
        shift = days * 86400.0
        fail("by a wrong clock")
        shift = 0.0
        fail("afterwards")
        assert hook.ids == failed
        fail("afterwards")  # the same cause on the same day
        assert hook.ids == failed[:3]


def test_runs_of_before_the_journal_are_no_news(settings: Settings, hook: Webhook) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(settings).resolve_job_def("refresh")

        def fail() -> str:
            run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.tags)
            instance.report_run_failed(run, "broken")
            return f"data|run|{run.run_id}"

        fail()
        open_journal(settings, instance)
        later = fail()
        tell(settings, instance)
    assert hook.ids == [later]


def test_a_failed_run_is_told_and_waits_for_its_channel(
    settings: Settings, hook: Webhook, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(settings.paths.dagster))
    assert settings.files is not None
    for path in settings.files.glob("*.csv"):
        path.unlink()
    hook.status = 503
    assert not refresh(settings)
    assert "Alerts:         desk: not sent: HTTP 503; it will be tried again" in capsys.readouterr().out
    hook.status = 200
    assert not refresh(settings)
    (message,) = hook.messages
    assert message["type"] == "failure"
    assert "data check fetch_outcome of raw/bars failed: the drop folder has no file" in message["title"]
    assert "Nothing was published: readers keep the last good version." in message["message"]
    assert len(hook.ids) == 1
    with journal(settings.paths.alerts) as notes:
        assert notes.counts() == {("desk", "sent"): 1}


def foreign_project() -> dg.JobDefinition:
    """A job of somebody else, with an error and a failed check that are nobody's business here."""

    @dg.asset(name="customers", check_specs=[dg.AssetCheckSpec("unique", asset="customers", blocking=True)])
    def customers() -> Iterator[object]:
        yield dg.MaterializeResult()
        yield dg.AssetCheckResult(passed=False, description="card 4711 twice")
        raise ValueError("the password of their database")

    # By chance of the same name, with a tag of the same name.
    job = dg.define_asset_job("refresh", selection=["customers"], tags={"source": "files"})
    return resolved(dg.Definitions(assets=[customers], jobs=[job]))


def test_a_shared_instance_tells_of_our_runs_alone(
    settings: Settings, hook: Webhook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Their runs fail before and after ours; theirs that live are left alone."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "shared"))
    with opened_instance(settings) as instance:
        tick(settings, instance)
        assert not foreign_project().execute_in_process(instance=instance, raise_on_error=False).success
        alive = run(location="jaffle_shop")
        instance.add_run(alive)
        assert tick(settings, instance) == "0 new events"
        assert settings.files is not None
        for path in settings.files.glob("*.csv"):
            path.unlink()
        ours = run_job(settings, instance)
        assert not ours.success
        assert not foreign_project().execute_in_process(instance=instance, raise_on_error=False).success
        assert tick(settings, instance) == "1 new events; desk: 1 sent"
        statuses = {r.run_id: r.status for r in instance.get_runs()}
        assert statuses[alive.run_id] is dg.DagsterRunStatus.STARTED
    (message,) = hook.messages
    assert ours.run_id in message["message"]
    for secret in ("password", "4711", "customers"):
        assert secret not in message["title"] + message["message"]


def test_a_refresh_by_hand_is_an_evening_done(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever refreshed the session that was due, the schedule skips it, unless it was part of the instruments."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    late = dt.datetime(2025, 9, 26, 21, 0, tzinfo=NEW_YORK)
    monkeypatch.setattr(Settings, "now", lambda _: late.astimezone(dt.UTC))
    (schedule,) = build_definitions(settings).schedules

    def asked() -> dg.RunRequest | dg.SkipReason:
        with (
            opened_instance(settings) as instance,
            dg.build_schedule_context(instance=instance, scheduled_execution_time=late) as context,
        ):
            return schedule(context)

    assert isinstance(asked(), dg.RunRequest)
    assert run_refresh(settings, RefreshConfig(symbols=["AAA"]), ready_dbt=CompiledDbt(settings))
    assert isinstance(asked(), dg.RunRequest)
    # One that finds nothing new has looked all the same.
    assert refresh(settings)
    skipped = asked()
    assert isinstance(skipped, dg.SkipReason)
    assert "of 2025-09-26, has been refreshed by run" in (skipped.skip_message or "")
