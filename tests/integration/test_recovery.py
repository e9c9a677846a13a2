"""What is refused, what recovers, and what legitimate changes must get through: builds, audits and publications."""

import datetime as dt
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
from typer.testing import CliRunner

from orchestration.build import build_definitions
from orchestration.cli.main import app
from orchestration.cli.refresh import is_current
from orchestration.duckdb_io import rows
from orchestration.market.calendar import closed_sessions
from orchestration.market.fetch_plan import FetchRequest
from orchestration.market.universe import load_universe
from orchestration.publish import audit as data_quality
from orchestration.publish import gate
from orchestration.publish.assets import PUBLISHED
from orchestration.publish.audit_queries import LOST_SESSIONS
from orchestration.publish.manifest import current_manifest, table_sql
from orchestration.publish.marts import Mart
from orchestration.publish.versions import publish
from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.sources.base import FetchOutcome
from orchestration.sources.sample import SampleSource
from orchestration.transform.assets import build_models
from orchestration.transform.build import plan_build
from orchestration.transform.build_state import BuildState, Built
from orchestration.transform.dbt import FULL_REFRESH
from orchestration.transform.run_results import RUN_RESULTS
from tests.compiled_dbt import CompiledDbt
from tests.homes import clone, made_once
from tests.jobs import (
    ClockedSettings,
    asset_graph,
    evaluations,
    forgetful_instance,
    instrument_rows,
    published,
    resolved,
    resources_of,
    run_job,
    small_seeds,
    write_seeds,
)
from tests.receivers import free_port

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
SESSIONS = [d.date() for d in closed_sessions("XNYS", NOW)["session_date"]][-30:]
REFUSED = "the tables have not been built and audited since the last fetch; materialize all, or run orewatch refresh"


def drop(folder: Path, symbol: str, sessions: list[dt.date] = SESSIONS) -> None:
    closes = [100.0 + (i % 7) * 0.25 for i in range(len(sessions))]
    pd.DataFrame({"Date": [d.isoformat() for d in sessions], "Close": closes}).to_csv(
        folder / f"{symbol}.csv", index=False
    )


@pytest.fixture
def settings(tmp_path: Path) -> ClockedSettings:
    folder = tmp_path / "drop"
    folder.mkdir()
    for symbol in ("AAA", "BBB"):
        drop(folder, symbol)
    seeds = small_seeds(tmp_path / "seeds", "AAA", "BBB")
    return ClockedSettings(source="files", home=tmp_path / "home", files=folder, seeds=seeds, moment=NOW)


@pytest.fixture
def refreshed(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> ClockedSettings:
    """The same two funds, refreshed once."""

    def of(folder: Path) -> ClockedSettings:
        seeds = small_seeds(folder / "seeds", "AAA", "BBB")
        return ClockedSettings(source="files", home=folder / "home", files=folder / "drop", seeds=seeds, moment=NOW)

    def make(folder: Path) -> None:
        (folder / "drop").mkdir()
        for symbol in ("AAA", "BBB"):
            drop(folder / "drop", symbol)
        assert run_job(of(folder)).success

    return of(clone(made_once(tmp_path_factory, "two_funds", make), tmp_path / "two_funds"))


def materialize(settings: Settings, *keys: str | dg.AssetKey, real_dbt: bool = False) -> dg.ExecuteInProcessResult:
    """Some assets alone, as a click on them in the web UI does."""
    wanted = [key if isinstance(key, dg.AssetKey) else dg.AssetKey(key.split("/")) for key in keys]
    return resolved(build_definitions(settings, resources_of(settings, real_dbt))).execute_in_process(
        instance=forgetful_instance(),
        raise_on_error=False,
        asset_selection=wanted,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def why(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step said, its own words and those of its causes."""
    said = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                said.append(data.user_failure_data.description)
            error = data.error
            while error is not None:
                said.append(error.message)
                error = error.cause
    return "\n".join(said)


def version(settings: Settings) -> int:
    manifest = current_manifest(settings.paths.published)
    return manifest.version if manifest else 0


def test_only_what_was_built_and_audited_is_published(refreshed: ClockedSettings) -> None:
    settings = refreshed
    state = BuildState.load(settings.paths.build_state)
    manifest = current_manifest(settings.paths.published)
    assert state.built is not None
    assert manifest is not None
    built = state.built.fingerprint
    assert built == state.audited == manifest.fingerprint

    # Newer bars arrive, and somebody publishes the older tables: the version says what it was made from.
    assert settings.files is not None
    drop(settings.files, "AAA", SESSIONS[:-1])
    small_seeds(settings.seeds, "AAA", "BBB", "CCC")
    drop(settings.files, "CCC")
    raw = [key for key in asset_graph(settings).get_all_asset_keys() if key.path[0] in ("raw", "control")]
    assert materialize(settings, *raw).success
    assert materialize(settings, PUBLISHED).success
    manifest = current_manifest(settings.paths.published)
    assert manifest is not None
    assert (manifest.version, manifest.fingerprint) == (2, built)
    assert not is_current(settings.paths)

    # A build that nobody has audited is not enough either.
    state.model_copy(update={"built": Built(fingerprint="abc")}).save(settings.paths.build_state)
    refused = materialize(settings, PUBLISHED)
    assert REFUSED in why(refused)
    assert run_job(settings).success
    assert version(settings) == 3


@pytest.mark.parametrize("real_dbt", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_is_picked_by_hand_is_built_alone(refreshed: ClockedSettings, real_dbt: bool) -> None:
    settings = refreshed
    assert materialize(settings, "returns", real_dbt=real_dbt).success
    models, tests = ran(settings)
    assert models == {"returns"}
    assert tests
    # It is no build of the tables.
    refused = materialize(settings, PUBLISHED)
    assert not refused.success
    assert REFUSED in why(refused)
    assert version(settings) == 1


def test_what_is_picked_by_hand_from_a_damaged_warehouse_says_why_it_is_not_built(refreshed: ClockedSettings) -> None:
    """What dbt could not open cannot be counted either: dbt's own words are what a person sees."""
    refreshed.paths.warehouse.write_bytes(b"no database" * 1000)
    result = materialize(refreshed, "returns")
    assert not result.success
    assert "a model or a blocking data test failed; readers keep the last published version: " in why(result)
    assert version(refreshed) == 1


@pytest.mark.slow
def test_a_check_that_is_picked_by_hand_runs_alone(refreshed: ClockedSettings) -> None:
    """As a click on "Execute" beside it does."""
    settings = refreshed
    checks = build_models(settings, lambda: None, table_sql).check_keys
    key = min(key for key in checks if key.asset_key == dg.AssetKey("returns"))
    one = dg.Definitions(jobs=[dg.define_asset_job("one", selection=dg.AssetSelection.checks(key))])
    job = resolved(dg.Definitions.merge(build_definitions(settings), one), "one")
    result = job.execute_in_process(instance=forgetful_instance())
    assert [(e.check_name, e.passed) for e in result.get_asset_check_evaluations()] == [(key.name, True)]
    models, tests = ran(settings)
    assert (models, len(tests)) == (set(), 1)


def run_results(settings: Settings) -> dict[str, Any]:
    """What dbt wrote of its last build."""
    return json.loads((settings.paths.root / "dbt" / RUN_RESULTS).read_text())


def ran(settings: Settings) -> tuple[set[str], set[str]]:
    """Names of the models and of the data tests that dbt ran last."""
    names = [result["unique_id"].split(".")[0:3:2] for result in run_results(settings)["results"]]
    return {name for kind, name in names if kind == "model"}, {name for kind, name in names if kind == "test"}


@pytest.mark.parametrize("real_dbt", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_dbt_said_is_in_the_failure_and_no_build_is_on_record(refreshed: ClockedSettings, real_dbt: bool) -> None:
    settings = refreshed
    # No warehouse can be made in its place, so to say: dbt stops before it runs anything.
    settings.paths.warehouse.unlink()
    settings.paths.warehouse.mkdir()
    result = run_job(settings, real_dbt=real_dbt)
    assert not result.success
    said = why(result)
    assert "readers keep the last published version" in said
    assert str(settings.paths.warehouse) in said
    assert "FileNotFoundError" not in said
    state = BuildState.load(settings.paths.build_state)
    assert (state.built, state.audited) == (None, None)
    assert version(settings) == 1
    assert REFUSED in why(materialize(settings, PUBLISHED))

    settings.paths.warehouse.rmdir()
    assert run_job(settings).success
    assert version(settings) == 2


def was_whole(settings: Settings) -> bool:
    """Whether the build that dbt ran last kept nothing of earlier ones."""
    return bool(run_results(settings)["args"].get("full_refresh"))


def no_database(warehouse: Path) -> None:
    """A file of another kind in its place."""
    warehouse.write_bytes(b"this is no database" * 1000)


def damaged_table(warehouse: Path) -> None:
    """Other bytes where a table is stored that the next build reads; the file can be opened as ever."""
    (block,) = rows(warehouse, "select max(block_id) as id from pragma_storage_info('int_bars') where block_id >= 0")
    (size,) = rows(warehouse, "select block_size as bytes from pragma_database_size()")
    with warehouse.open("r+b") as file:
        # Behind three headers of 4 KiB.
        file.seek(3 * 4096 + block["id"] * int(size["bytes"]))
        file.write(os.urandom(int(size["bytes"])))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [no_database, damaged_table])
def test_a_damaged_warehouse_is_built_anew_in_the_same_run(
    settings: ClockedSettings, damage: Callable[[Path], None]
) -> None:
    settings = settings.model_copy(update={"full_refresh_below_bars": 0})
    assert settings.files is not None
    for symbol in ("AAA", "BBB"):
        drop(settings.files, symbol, SESSIONS[:-1])
    assert run_job(settings).success
    for symbol in ("AAA", "BBB"):
        drop(settings.files, symbol)
    damage(settings.paths.warehouse)
    assert run_job(settings, real_dbt=True).success
    assert (version(settings), was_whole(settings)) == (2, True)
    # As a home that had nothing to suffer from.
    whole = ClockedSettings(
        source="files", home=settings.home / "whole", files=settings.files, seeds=settings.seeds, moment=NOW
    )
    assert run_job(whole).success
    told = "select * from returns order by all"
    assert published(settings, told) == published(whole, told)
    # And the next one may be incremental again.
    assert plan_build(settings.paths, settings.engine, 0).full_refresh == ""


def test_a_small_market_is_built_whole_every_time(refreshed: ClockedSettings) -> None:
    bars = 2 * len(SESSIONS)
    asked = []
    for below in (bars + 1, bars):
        current = refreshed.model_copy(update={"full_refresh_below_bars": below})
        dbt = CompiledDbt(current)
        assert run_job(current, {"dbt": dg.ResourceDefinition.hardcoded_resource(dbt)}).success
        asked += dbt.asked
    assert asked == [FULL_REFRESH, ()]


def test_a_failed_audit_leaves_no_record(settings: ClockedSettings) -> None:
    BuildState(built=Built(fingerprint="abc")).save(settings.paths.build_state)
    bad = dg.AssetCheckResult(asset_key=data_quality.COVERAGE, check_name="fresh", passed=False)
    warning = dg.AssetCheckResult(
        asset_key=data_quality.COVERAGE, check_name="no_gaps", passed=False, severity=dg.AssetCheckSeverity.WARN
    )
    gate.note_audit(settings.paths, [warning])
    assert BuildState.load(settings.paths.build_state).audited == "abc"
    gate.note_audit(settings.paths, [warning, bad])
    assert BuildState.load(settings.paths.build_state).audited is None


def test_an_earlier_as_of_date_is_published(tmp_path: Path) -> None:
    """The lake keeps the later bars; readers see the market as of the date that they asked for."""
    earlier = Settings(home=tmp_path / "home", seeds=small_seeds(tmp_path / "seeds", "SIL", "SLV"))
    later = earlier.model_copy(update={"as_of": dt.date(2026, 2, 3)})
    latest = "select max(session_date) as day from daily_bars"
    assert run_job(later).success
    assert published(later, latest) == [{"day": dt.date(2026, 2, 3)}]
    back = run_job(earlier)
    assert back.success
    assert evaluations(back)["no_session_lost"].passed
    assert published(earlier, latest) == [{"day": dt.date(2026, 1, 30)}]
    assert version(earlier) == 2


def test_changed_and_removed_instruments_are_no_loss(refreshed: ClockedSettings) -> None:
    settings = refreshed
    holiday_in_london = dt.date(2025, 12, 26)
    assert holiday_in_london in SESSIONS
    rows = instrument_rows("AAA", "BBB").splitlines(keepends=True)
    moved = rows[1].replace("XNYS", "XLON")
    write_seeds(
        settings.seeds,
        **{path.stem: path.read_text("utf-8") for path in settings.seeds.glob("*.csv")}
        | {"instruments": rows[0] + moved},
    )
    result = run_job(settings)
    assert result.success, why(result)
    assert evaluations(result)["no_session_lost"].passed
    assert published(settings, "select distinct symbol from daily_bars") == [{"symbol": "AAA"}]
    # A day that the calendar of now does not have, and that has a bar, is marked.
    marked = published(settings, "select suspicion from daily_bars where session_date = ?", holiday_in_london)
    assert marked == [{"suspicion": "unlisted_session"}]


@pytest.fixture
def tables(settings: ClockedSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse of just what the data checks read, published once with every session."""
    settings.paths.root.mkdir(parents=True)
    days = [dt.date(2026, 1, day) for day in (28, 29, 30)]
    with duckdb.connect(str(settings.paths.warehouse)) as connection:
        connection.execute("create table stg_sessions as select 'XNYS' as calendar, unnest(?) as session_date", [days])
        connection.execute("create table daily_bars as select 'AAA' as symbol, unnest(?) as session_date", [days])
        connection.execute(
            "create table instruments as select 'AAA' as symbol, 'AAA' as source_symbol, 'XNYS' as calendar,"
            " null::date as active_from"
        )
        connection.execute(
            "create table int_bar_anomalies (symbol text, session_date date, rule text, is_withheld boolean)"
        )
    marts = {"daily_bars": Mart(), "instruments": Mart()}
    publish(settings.paths.warehouse, marts, settings.paths.published, "f", "files", False)
    with duckdb.connect(str(settings.paths.warehouse)) as connection:
        connection.execute("delete from daily_bars where session_date = '2026-01-29'")
        yield connection


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ("select 1", [1]),
        ("insert into daily_bars values ('AAA', '2026-02-02')", [1]),
        ("update instruments set calendar = 'XLON'", []),
        ("update instruments set source_symbol = 'OTHER'", []),
        ("update instruments set active_from = '2026-01-30'", []),
        ("update instruments set active_from = '2026-01-29'", [1]),
        ("delete from instruments", []),
        ("delete from stg_sessions where session_date > '2026-01-28'", []),
        ("insert into int_bar_anomalies values ('AAA', '2026-01-29', 'unit_error', true)", []),
        ("insert into int_bar_anomalies values ('AAA', '2026-01-29', 'jump', false)", [1]),
    ],
)
def test_what_counts_as_a_lost_session(
    settings: ClockedSettings, tables: duckdb.DuckDBPyConnection, change: str, lost: list[int]
) -> None:
    tables.execute(change)
    tables.close()
    found = rows(settings.paths.warehouse, LOST_SESSIONS, attached={"published": settings.paths.published_file})
    assert [row["lost_sessions"] for row in found] == lost


def coverage(calendar: str, behind: int | None, instruments: int = 2) -> dict:
    return {"calendar": calendar, "behind": behind, "instruments": instruments}


@pytest.mark.parametrize(
    ("source", "freshest", "stale", "passed", "severity"),
    [
        ("yahoo", [("XNYS", 0), ("CMES", 0)], 0, True, "WARN"),
        ("yahoo", [("XNYS", 0), ("CMES", 1)], 2, False, "WARN"),
        ("yahoo", [("XNYS", 0), ("CMES", 2)], 2, False, "ERROR"),
        ("sample", [("XNYS", 2)], 30, False, "ERROR"),
        ("yahoo", [("XNYS", 0), ("XLON", 9, 1)], 1, False, "WARN"),
        ("files", [("XNYS", 200)], 30, False, "WARN"),
        ("files", [], 0, False, "ERROR"),
        ("yahoo", [], 0, False, "ERROR"),
    ],
)
def test_freshness_is_judged_per_exchange(
    source: str, freshest: list[tuple], stale: int, passed: bool, severity: str
) -> None:
    found = data_quality._freshness(source, [coverage(*f) for f in freshest], [{"symbol": "X"}] * stale)
    assert (found.passed, found.severity.value) == (passed, severity)
    if severity == "ERROR" and freshest:
        assert (
            found.description == f"{stale} instruments are behind; every one of {freshest[-1][0]} by 2 sessions or more"
        )


class MetalsStopped:
    """The simulated market, with metals that end on 28 January while New York goes on."""

    local = True

    def __init__(self, settings: Settings) -> None:
        instruments = load_universe(settings.seeds).instruments
        self.going_on = SampleSource(instruments, settings.as_of)
        self.stopped = SampleSource(instruments, dt.date(2026, 1, 28))

    def fetch(self, requests: Sequence[FetchRequest]) -> Iterator[FetchOutcome]:
        for request in requests:
            source = self.stopped if request.source_symbol.endswith("=F") else self.going_on
            yield from source.fetch([request])


def test_a_dead_exchange_withholds_the_publication(tmp_path: Path) -> None:
    """The freshest instrument of all says nothing about another exchange."""
    seeds = small_seeds(tmp_path / "seeds", "SIL")
    with (seeds / "instruments.csv").open("a") as rows:
        rows.writelines(f"{s},{s},a metal,metal,silver,metal,CMES,USD,0.005,,,\n" for s in ("SI=F", "GC=F"))
    settings = Settings(home=tmp_path / "home", seeds=seeds)
    result = run_job(settings, {"bar_source": MetalsStopped(settings)})
    assert not result.success
    fresh = evaluations(result)["fresh"]
    assert (fresh.passed, fresh.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert str(fresh.description).endswith("instruments are behind; every one of CMES by 2 sessions or more")
    state = BuildState.load(settings.paths.build_state)
    assert state.built is not None
    assert state.audited is None
    assert version(settings) == 0


def test_dev_keeps_relative_settings_and_its_workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: dict[str, object] = {}

    def instead_of_execv(program: str, arguments: list[str]) -> None:
        called.update(arguments=arguments, cwd=Path.cwd(), environment=dict(os.environ))

    monkeypatch.setattr(os, "execv", instead_of_execv)
    monkeypatch.chdir(tmp_path)
    for name in ("DAGSTER_HOME", "OREWATCH_HOME", "OREWATCH_SEEDS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("OREWATCH_HOME", "mine")
    port = free_port()
    result = CliRunner().invoke(app, ["dev", "--port", str(port)])
    assert result.exit_code == 0, result.output
    arguments, environment = called["arguments"], called["environment"]
    assert isinstance(arguments, list)
    assert isinstance(environment, dict)
    assert arguments[1:] == ["dev", "-w", str(PROJECT_ROOT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)]
    assert environment["OREWATCH_HOME"] == str(tmp_path / "mine")
    assert environment["DAGSTER_HOME"] == str(tmp_path / "mine" / "sample" / "dagster")


def test_dev_on_a_taken_port_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = subprocess.run(
            [sys.executable, "-m", "orchestration.cli.main", "dev", "--port", str(port)],
            env={**os.environ, "OREWATCH_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert run.returncode == 2
    assert run.stderr == f"error: port {port} on 127.0.0.1 is taken; choose another: orewatch dev --port NUMBER\n"
    assert list(tmp_path.iterdir()) == []


def test_each_source_has_an_instance_of_its_own(tmp_path: Path) -> None:
    """The state of a check on simulated prices is none of a real source's business."""
    assert Settings(home=tmp_path).paths.dagster != Settings(home=tmp_path, source="yahoo").paths.dagster
