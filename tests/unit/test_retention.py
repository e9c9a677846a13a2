"""What has been kept for long enough goes, and nothing that somebody still needs."""

import datetime as dt
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType
from pydantic import ValidationError

from orchestration.alerts import retention
from orchestration.alerts.deliver import begin_outbox
from orchestration.alerts.messages import Alert
from orchestration.alerts.outbox import Outbox, opened_outbox
from orchestration.alerts.sensor import remove_old
from orchestration.build import build_definitions
from orchestration.instance import old_runs
from orchestration.instance.instance import prepare_instance
from orchestration.instance.old_runs import LOOKING
from orchestration.instance.runs import HOME
from orchestration.settings import Settings
from orchestration.signals.new_events import LATE_DAYS
from tests.evenings import move_clock
from tests.postgres_server import PostgresServer, postgres_server

GOLD, SILVER = dg.AssetKey("gold"), dg.AssetKey("silver")
SHINES = dg.AssetCheckKey(GOLD, "shines")
FIRST_DAY = dt.datetime(2026, 1, 5, 22, 30, tzinfo=dt.UTC)

DAGSTERS_OWN = "telemetry:\n  enabled: false\n"
ON_POSTGRES = """
storage:
  postgres:
    postgres_url: {url}
"""


@dg.multi_asset(
    specs=[dg.AssetSpec(SILVER, skippable=True), dg.AssetSpec(GOLD, skippable=True)],
    check_specs=[dg.AssetCheckSpec("shines", asset=GOLD), dg.AssetCheckSpec("is_heavy", asset=GOLD)],
)
def metals(context: dg.AssetExecutionContext) -> Any:
    makes = context.run.tags.get("makes", "silver gold shines is_heavy").split()
    for key in (SILVER, GOLD):
        if key.to_user_string() in makes:
            yield dg.MaterializeResult(key, data_version=dg.DataVersion(context.run.run_id))
    if "fail" in makes:
        raise RuntimeError("the vault is locked")
    for name in ("shines", "is_heavy"):
        if name in makes:
            yield dg.AssetCheckResult(asset_key=GOLD, check_name=name, passed=name == "shines", severity=WARN)


WARN = dg.AssetCheckSeverity.WARN


class Lived:
    """An instance in which runs end on days that the test names.

    Attributes:
        settings: of the home.
        instance: its runs.
        postgres: where they are stored, if not in SQLite.
        day: days since the first.
    """

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, postgres: PostgresServer | None) -> None:
        self.settings, self.instance, self.postgres, self.day = settings, instance, postgres, 0

    def now(self) -> dt.datetime:
        return FIRST_DAY + dt.timedelta(days=self.day)

    def run(self, day: int, makes: str = "", job: str = "refresh", tags: dict[str, str] | None = None) -> str:
        """A run that ends on a day; its id."""
        self.day = day
        tags = {HOME: str(self.settings.paths.root)} if tags is None else tags
        definitions = dg.Definitions([metals], jobs=[dg.define_asset_job(job, tags=tags)])
        done = definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, raise_on_error=False, tags={"makes": makes} if makes else {}
        )
        # Where Dagster's own log of output would be.
        (Path(self.instance.root_directory) / "storage" / done.run_id / "compute_logs").mkdir(
            parents=True, exist_ok=True
        )
        return done.run_id

    def prune(self, day: int, **keep: int) -> list[str]:
        self.day = day
        return remove_old(self.settings.model_copy(update=keep), self.instance)

    def runs(self) -> set[str]:
        """Ids of all runs that are there."""
        return {run.run_id for run in self.instance.get_runs()}

    def traces(self) -> set[str]:
        """Ids of all runs of which there is anything, anywhere below the instance's folder."""
        home = Path(self.instance.root_directory)
        found = {path.stem.partition(".")[0] for path in home.glob("history/runs/*.db*")} - {"index"}
        found |= {path.name for path in home.glob("storage/*")}
        for table in ("runs", "run_tags", "event_logs", "asset_check_executions"):
            found |= {row[0] for row in self.rows(f"select distinct run_id from {table}")}  # noqa: S608
        return found

    def rows(self, sql: str) -> Any:
        """What a query of Dagster's database finds."""
        if self.postgres is not None:
            return self.postgres.rows(sql)
        history = Path(self.instance.root_directory) / "history"
        file = "runs.db" if "from run" in sql else "runs/index.db"
        with closing(sqlite3.connect(history / file)) as connection:
            return connection.execute(sql).fetchall()

    def results(self, check: str) -> list[str]:
        """Ids of the runs in which a check was evaluated or meant to be, the latest first."""
        log = self.instance.event_log_storage
        return [found.run_id for found in log.get_asset_check_execution_history(dg.AssetCheckKey(GOLD, check), limit=9)]

    def state(self) -> dict[str, Any]:
        """What the web UI shows of assets and checks: the last materialization, its version, the last result."""
        log = self.instance.event_log_storage
        checks = [SHINES, dg.AssetCheckKey(GOLD, "is_heavy")]
        results = log.get_latest_asset_check_execution_by_key(checks)
        made = {key: self.instance.get_latest_materialization_event(key) for key in (SILVER, GOLD)}
        return {
            "made": made,
            "versions": {key: event.asset_materialization.tags if event else None for key, event in made.items()},
            "checks": {key: (result.run_id, result.status, result.event) for key, result in results.items()},
        }


@pytest.fixture(params=["ours", "Dagster's own"])
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Lived]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = Settings(home=tmp_path / "home")
    with postgres_server() if request.param == "PostgreSQL" else nullcontext() as postgres:
        if request.param != "ours":
            settings.paths.dagster.mkdir(parents=True)
            told = ON_POSTGRES.format(url=postgres.url().replace("://", "+psycopg2://")) if postgres else DAGSTERS_OWN
            (settings.paths.dagster / "dagster.yaml").write_text(told)
        prepare_instance(settings.paths)
        with dg.DagsterInstance.get() as instance:
            lived = Lived(settings, instance, postgres)
            move_clock(monkeypatch, lived.now)
            begin_outbox(settings.paths, instance)
            yield lived


def test_old_runs_go_with_everything_that_they_left(lived: Lived) -> None:
    old = [lived.run(0), lived.run(1)]
    younger = [lived.run(399), lived.run(405)]
    before = lived.state()
    assert lived.traces() == {*old, *younger}
    assert lived.prune(405, keep_runs_days=400) == []
    assert lived.traces() == lived.runs() == set(younger)
    assert lived.state() == before
    with opened_outbox(lived.settings.paths.alerts) as outbox:
        assert outbox.unknown([*old, *younger]) == old
    assert lived.prune(405, keep_runs_days=400) == []
    assert lived.runs() == set(younger)


def test_the_run_that_made_what_an_asset_is_now_stays_however_old(lived: Lived) -> None:
    made_silver = lived.run(0, "silver gold shines is_heavy")
    superfluous = [lived.run(1, "gold shines is_heavy"), lived.run(2, "shines")]
    weighed = lived.run(3, "gold is_heavy")
    last = lived.run(500, "gold")
    before = lived.state()
    assert lived.prune(500, keep_runs_days=10) == []
    # The last result of a check outlives its run.
    assert lived.runs() == {made_silver, last}
    assert not lived.traces() & set(superfluous[:1])
    assert lived.state() == before
    assert weighed in lived.results("is_heavy")


def test_runs_of_others_and_runs_that_go_on_stay(lived: Lived) -> None:
    theirs = [
        lived.run(0, tags={}),
        lived.run(0, tags={HOME: str(lived.settings.paths.root.parent / "yahoo"), "source": "yahoo"}),
        lived.run(0, tags={"source": "sample"}),
    ]
    job = dg.Definitions([metals], jobs=[dg.define_asset_job("refresh")]).resolve_job_def("refresh")
    goes_on = lived.instance.create_run_for_job(job, tags={HOME: str(lived.settings.paths.root)}).run_id
    ours = lived.run(0)
    last = lived.run(500)
    assert lived.prune(500, keep_runs_days=10) == []
    assert lived.runs() == {*theirs, goes_on, last}
    assert ours not in lived.traces()


def test_a_failure_that_nobody_has_looked_at_is_told_before_its_run_goes_and_once(lived: Lived) -> None:
    failed = lived.run(1, "silver fail")
    last = lived.run(100)
    told: list[Alert] = []
    for day in (100, 101, 150):
        assert lived.prune(day, keep_runs_days=10) == []
        assert lived.traces() == {last}
        with opened_outbox(lived.settings.paths.alerts) as outbox:
            outbox.enqueue([], lived.now().timestamp(), told.append)
    assert [alert.event_id for alert in told].count(f"data|run|{failed}") == 1


@pytest.mark.slow
@pytest.mark.parametrize("lived", ["PostgreSQL"], indirect=True)
def test_in_a_postgresql_that_others_share_ours_go_and_theirs_stay(lived: Lived) -> None:
    theirs = lived.run(0, tags={}, job="their_refresh")
    lived.run(0)
    last = lived.run(500)
    before = lived.state()
    assert lived.prune(500, keep_runs_days=10) == []
    assert lived.traces() == {theirs, last}
    assert lived.state() == before


@pytest.mark.parametrize("lived", ["ours"], indirect=True)
def test_what_is_old_goes_a_part_at_a_time(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_runs, "RUNS_AT_ONCE", 2)
    made_silver = lived.run(0, "silver")
    old = [lived.run(day, "gold") for day in range(1, 4)]
    last = lived.run(500, "gold")
    for left in (old[2:], [], []):
        assert lived.prune(500, keep_runs_days=10) == []
        assert lived.runs() == {made_silver, *left, last}


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("lived", ["ours"], indirect=True)
def test_a_kill_anywhere_is_healed_by_the_next(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    lived.run(0)
    steps: list[tuple[Any, str]] = [
        (old_runs, "_delete_check_results"),
        (type(lived.instance.compute_log_manager), "delete_logs"),
        (type(lived.instance.event_log_storage), "delete_events"),
        (Path, "unlink"),
        (old_runs.Runs, "delete"),
        (Outbox, "forget_runs"),
    ]
    for number, (owner, name) in enumerate(steps * 2, 1):
        real, killed_before = getattr(owner, name), number > len(steps)
        last = lived.run(500 * number)
        before = lived.state()

        def killed(*args: Any, real: Any = real, killed_before: bool = killed_before, **kwargs: Any) -> None:
            if not killed_before:
                real(*args, **kwargs)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killed)
            with pytest.raises(Killed):
                lived.prune(lived.day, keep_runs_days=10)
        assert lived.state() == before, name
        assert lived.prune(lived.day, keep_runs_days=10) == []
        assert lived.traces() == {last}, name
        assert lived.state() == before, name


@pytest.mark.parametrize("lived", ["ours"], indirect=True)
def test_what_cannot_be_removed_is_said_and_the_rest_goes(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    lived.run(0)
    lived.run(500)
    page = _brief(lived.settings, "2026-01-05", lived.now() - dt.timedelta(days=500))

    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(old_runs, "_delete_run", broken)
        assert lived.prune(500, keep_runs_days=10) == [
            "old runs could not be removed ([Errno 28] No space left on device); the next refresh tries again"
        ]
    assert not page.exists()
    assert len(lived.runs()) == 2
    assert lived.prune(500, keep_runs_days=10) == []
    assert len(lived.runs()) == 1


def _brief(settings: Settings, name: str, written: dt.datetime, suffix: str = ".html") -> Path:
    settings.paths.briefs.mkdir(parents=True, exist_ok=True)
    page = settings.paths.briefs / f"{name}{suffix}"
    page.write_text("a brief")
    os.utime(page, (written.timestamp(),) * 2)
    return page


@pytest.mark.parametrize("lived", ["ours"], indirect=True)
def test_briefs_go_when_they_were_written_long_ago(lived: Lived) -> None:
    lived.day = 500
    long_ago, lately = lived.now() - dt.timedelta(days=401), lived.now() - dt.timedelta(days=399)
    old = [_brief(lived.settings, "2024-12-30", long_ago, suffix) for suffix in (".html", ".md")]
    # Somebody has asked for the page of an old session; somebody has put a file of his own here.
    kept = [
        _brief(lived.settings, "2020-03-16", lately),
        _brief(lived.settings, "notes", long_ago),
        _brief(lived.settings, "2024-12-30", long_ago, ".pdf"),
    ]
    assert lived.prune(500) == []
    assert not any(page.exists() for page in old)
    assert all(page.exists() for page in kept)


@pytest.mark.parametrize("lived", ["Dagster's own"], indirect=True)
def test_logs_of_looks_go_where_they_are_ours(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_runs, "LOOKS_AT_ONCE", 2)
    definitions = build_definitions(lived.settings)
    names = [d.name for d in (*(definitions.sensors or ()), *(definitions.schedules or ()))]
    assert sorted(names) == sorted(LOOKING)
    logs = lived.instance.compute_log_manager
    for name, tick in (
        ("alerts", "1"),
        ("alerts", "2"),
        ("refresh_after_close", "3"),
        ("alerts", "4"),
        ("theirs", "5"),
    ):
        with logs.open_log_stream(["__repository__", name, tick], ComputeIOType.STDERR):
            pass
    written = sorted(Path(lived.instance.storage_directory()).glob("__repository__/*/*"), key=lambda path: path.stem)
    for path in written:
        os.utime(path, (lived.now().timestamp(),) * 2)
    os.utime(written[3], ((lived.now() + dt.timedelta(days=495)).timestamp(),) * 2)
    elsewhere = lived.settings.model_copy(update={"home": lived.settings.home / "another"})
    lived.day = 500
    assert remove_old(elsewhere, lived.instance) == []
    assert all(path.exists() for path in written)
    for left in ([2, 3, 4], [3, 4], [3, 4]):
        assert lived.prune(500) == []
        assert [number for number, path in enumerate(written) if path.exists()] == left


def _event(event_id: str, kind: str, symbols: tuple[str, ...], session: dt.date) -> Alert:
    return Alert(event_id, kind, "warning", symbols, session, event_id, (), 1.0)


@pytest.mark.parametrize("lived", ["ours"], indirect=True)
def test_the_outbox_keeps_what_could_be_told_again(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    lived.day = 500
    today = lived.now().date()
    old = today - dt.timedelta(days=101)
    # HALTED trades no more: what was flagged last stays flagged.
    latest = {"LIVE": today, "HALTED": old + dt.timedelta(days=1)}
    monkeypatch.setattr(retention, "_latest_sessions", lambda _: latest)
    gone = [_event("old", "level", ("LIVE",), old), _event("fault", "data", (), old)]
    kept = [
        _event("halted", "level", ("HALTED",), old),
        _event("pair", "pair", ("LIVE", "HALTED"), old),
        _event("not watched now", "move", ("REMOVED",), old),
        _event("late", "move", ("LIVE",), today - dt.timedelta(days=99)),
    ]
    with opened_outbox(lived.settings.paths.alerts) as outbox:
        recorded = lived.now().timestamp() - 101 * 86400
        outbox.record([*gone, *kept], recorded)
        outbox.enqueue([], recorded + 7200, lambda alert: None)
        outbox.record([_event("owed to nobody yet", "level", ("LIVE",), old)], recorded)
    assert lived.prune(500, keep_alerts_days=100) == []
    with opened_outbox(lived.settings.paths.alerts) as outbox:
        # Only what was forgotten would enter anew.
        assert outbox.record(kept, lived.now().timestamp()) == 0
        assert outbox.record(gone, lived.now().timestamp()) == len(gone)
        assert outbox.record([_event("owed to nobody yet", "level", ("LIVE",), old)], lived.now().timestamp()) == 0


def test_alerts_are_kept_for_longer_than_anything_late_is_flagged() -> None:
    with pytest.raises(ValidationError):
        Settings(keep_alerts_days=LATE_DAYS)


def test_space_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "index.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table events (text)")
        connection.execute(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000)"
            " insert into events select hex(randomblob(2000)) from n"
        )
        connection.commit()
        full = file.stat().st_size
        connection.execute("delete from events where rowid > 100")
        connection.commit()
        old_runs._give_back(file)
        assert file.stat().st_size >= full * 0.9  # not worth it
        monkeypatch.setattr(old_runs, "WORTHWHILE_BYTES", 2**20)
        connection.execute("begin immediate")
        old_runs._give_back(file)  # somebody writes: not now
        connection.rollback()
        old_runs._give_back(file)
        assert connection.execute("select count(*) from events").fetchone() == (100,)
    assert file.stat().st_size < full / 5
