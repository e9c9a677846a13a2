"""Refreshing from Yahoo through the genuine client, under every fault: what lands, and what the next repairs."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from orchestration.ingest.lake import Lake
from orchestration.ingest.report import IngestReport
from orchestration.ingest.run import ingest
from orchestration.market.calendar import sessions
from orchestration.market.fetch_plan import PlanRules
from orchestration.market.universe import load_universe
from orchestration.publish.manifest import current_manifest
from orchestration.sources.base import FetchStatus
from orchestration.sources.yahoo import YahooSource
from tests.jobs import ClockedSettings, evaluations, published, run_job, small_seeds
from tests.receivers import free_port
from tests.yahoo_loopback import Fault, Market, YahooLoopback, weekdays

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")]

# A quiet stretch: no holiday, no clock change between the first session and the last.
FIRST, LAST = dt.date(2026, 2, 17), dt.date(2026, 3, 5)
THURSDAY = dt.datetime(2026, 3, 5, 23, 30, tzinfo=dt.UTC)
FRIDAY = THURSDAY + dt.timedelta(days=1)
SYMBOLS = ("AAA", "BBB", "CCC")
CLASSES = {
    Fault.RATE_LIMITED: FetchStatus.RATE_LIMITED,
    Fault.NOT_FOUND: FetchStatus.UNKNOWN_SYMBOL,
    Fault.EMPTY_SHELL: FetchStatus.EMPTY,
    Fault.PHANTOM_SHELL: FetchStatus.UNKNOWN_SYMBOL,
    Fault.NULL_RESULT: FetchStatus.MALFORMED,
    Fault.TRUNCATED: FetchStatus.MALFORMED,
    Fault.SERVER_ERROR: FetchStatus.UNREACHABLE,
    Fault.UNAUTHORISED: FetchStatus.UNAUTHORISED,
    Fault.HANG: FetchStatus.TIMEOUT,
    Fault.RESET: FetchStatus.UNREACHABLE,
}


def new_market(now: dt.datetime = THURSDAY) -> Market:
    market = Market(now)
    for symbol in SYMBOLS:
        market.add(symbol, weekdays(FIRST, dt.date(2026, 3, 31)), kind="ETF")
    return market


@pytest.fixture
def yahoo(yahoo_server: YahooLoopback) -> YahooLoopback:
    yahoo_server.faults.clear()
    yahoo_server.log.clear()
    yahoo_server.market = new_market()
    return yahoo_server


@pytest.fixture
def settings(tmp_path: Path) -> ClockedSettings:
    return ClockedSettings(
        source="yahoo",
        home=tmp_path,
        seeds=small_seeds(tmp_path / "seeds", *SYMBOLS),
        moment=THURSDAY,
        yahoo_pause_seconds=0.0,
        yahoo_backoff_seconds=0.01,
        yahoo_attempts=2,
        yahoo_timeout_seconds=60.0,
    )


def refresh_lake(settings: ClockedSettings, now: dt.datetime = THURSDAY, timeout: float = 60.0) -> IngestReport:
    """The ingestion alone: plan, fetch, validate, append."""
    source = YahooSource(
        pause_seconds=0.0,
        timeout_seconds=timeout,
        attempts=2,
        backoff_seconds=0.01,
        cache_dir=settings.paths.root / "yfinance",
    )
    lake = Lake(settings.paths.lake)
    lake.prepare()
    return ingest(load_universe(settings.seeds), source, "yahoo", lake, now, PlanRules(10))


def stored(settings: ClockedSettings) -> dict[str, dict[dt.date, float]]:
    closes: dict[str, dict[dt.date, float]] = {}
    for row in Lake(settings.paths.lake).newest_bars().to_pylist():
        closes.setdefault(row["symbol"], {})[row["session_date"]] = row["close"]
    return closes


def delivered(yahoo: YahooLoopback, symbol: str) -> dict[dt.date, float]:
    """What the stand-in's market holds, as its replies say it."""
    rows = yahoo.market.delivered(symbol)
    return {row.session: row.close for row in rows if row.close is not None}


@pytest.mark.parametrize("fault", CLASSES)
def test_one_symbol_fails_among_good_ones(fault: Fault, yahoo: YahooLoopback, settings: ClockedSettings) -> None:
    yahoo.faults.set(fault, "BBB")
    report = refresh_lake(settings, timeout=0.5 if fault is Fault.HANG else 60.0)
    (failed,) = report.failures
    assert (failed.symbol, failed.status) == ("BBB", CLASSES[fault])
    assert "BBB" in failed.detail
    assert "\n" not in failed.detail
    assert stored(settings) == {symbol: delivered(yahoo, symbol) for symbol in ("AAA", "CCC")}

    yahoo.faults.clear()
    healed = refresh_lake(settings)
    assert not healed.failures
    assert {r.symbol: r.reason for r in healed.results}["BBB"] == "new_instrument"
    assert healed.new_rows == len(delivered(yahoo, "BBB"))
    assert stored(settings) == {symbol: delivered(yahoo, symbol) for symbol in SYMBOLS}


EVERY_DAY = (Fault.RATE_LIMITED, Fault.TRUNCATED)


@pytest.mark.parametrize(
    "fault", [*EVERY_DAY, *(pytest.param(fault, marks=pytest.mark.slow) for fault in CLASSES if fault not in EVERY_DAY)]
)
def test_all_symbols_fail(fault: Fault, yahoo: YahooLoopback, settings: ClockedSettings) -> None:
    refresh_lake(settings)
    before = Lake(settings.paths.lake).read("bars")
    yahoo.market.now = FRIDAY
    yahoo.faults.set(fault)
    report = refresh_lake(settings, FRIDAY, timeout=0.5 if fault is Fault.HANG else 60.0)
    assert [r.status for r in report.failures] == [CLASSES[fault]] * len(SYMBOLS)
    assert Lake(settings.paths.lake).read("bars").equals(before)

    yahoo.faults.clear()
    healed = refresh_lake(settings, FRIDAY)
    assert not healed.failures
    assert stored(settings) == {symbol: delivered(yahoo, symbol) for symbol in SYMBOLS}
    assert max(stored(settings)["AAA"]) == dt.date(2026, 3, 6)


def test_the_next_session_costs_a_short_request(yahoo: YahooLoopback, settings: ClockedSettings) -> None:
    refresh_lake(settings)
    yahoo.market.now = FRIDAY
    report = refresh_lake(settings, FRIDAY)
    assert [(r.reason, r.new) for r in report.results] == [("new_sessions", 1)] * len(SYMBOLS)
    assert all(r.delivered <= 12 for r in report.results)


def test_asking_again_stores_nothing(yahoo: YahooLoopback, settings: ClockedSettings) -> None:
    refresh_lake(settings)
    report = refresh_lake(settings)
    assert report.new_rows == 0
    assert [r.reason for r in report.results] == ["restatement"] * len(SYMBOLS)


def test_the_bar_of_an_open_session_is_never_stored(yahoo: YahooLoopback, settings: ClockedSettings) -> None:
    noon = dt.datetime(2026, 3, 5, 17, 0, tzinfo=dt.UTC)
    yahoo.market.now = noon
    yahoo.market.appends_latest = True  # although the request ends with the session before
    refresh_lake(settings, noon)
    assert max(delivered(yahoo, "AAA")) == LAST
    assert max(stored(settings)["AAA"]) == dt.date(2026, 3, 4)
    yahoo.market.now = THURSDAY
    refresh_lake(settings)
    assert stored(settings)["AAA"][LAST] == delivered(yahoo, "AAA")[LAST]


def test_a_hole_is_filled_when_the_vendor_fills_it(yahoo: YahooLoopback, settings: ClockedSettings) -> None:
    hole = dt.date(2026, 2, 18)
    yahoo.market.listings["BBB"].holes.add(hole)
    refresh_lake(settings)
    assert hole not in stored(settings)["BBB"]
    yahoo.market.listings["BBB"].holes.clear()
    report = refresh_lake(settings)
    assert {r.symbol: r.reason for r in report.results}["BBB"] == "restatement"
    assert report.new_rows == 1
    assert stored(settings)["BBB"] == delivered(yahoo, "BBB")


def test_a_correction_in_the_window_becomes_a_new_version(yahoo: YahooLoopback, settings: ClockedSettings) -> None:
    refresh_lake(settings)
    corrected = dt.date(2026, 3, 2)
    yahoo.market.listings["CCC"].correct(corrected, close=yahoo.market.listings["CCC"].bars[corrected].close + 0.01)
    report = refresh_lake(settings)
    assert {r.symbol: r.new for r in report.results} == {"AAA": 0, "BBB": 0, "CCC": 1}
    versions = [
        r for r in Lake(settings.paths.lake).read("bars", symbols=["CCC"]).to_pylist() if r["session_date"] == corrected
    ]
    assert len(versions) == 2
    assert stored(settings)["CCC"] == delivered(yahoo, "CCC")


@pytest.mark.parametrize("action", ["split", "dividend"])
def test_an_action_brings_the_whole_history_in_the_same_batch(
    action: str, yahoo: YahooLoopback, settings: ClockedSettings
) -> None:
    # Far more history than the restatement window.
    trading_days = [d.date() for d in sessions("XNYS", dt.date(2025, 10, 1), dt.date(2026, 3, 31))["session_date"]]
    yahoo.market.add("AAA", trading_days, kind="ETF")
    listing = yahoo.market.listings["AAA"]
    refresh_lake(settings)
    before = len(stored(settings)["AAA"])
    friday = dt.date(2026, 3, 6)
    if action == "split":
        listing.splits[friday] = (4, 1)
    else:
        listing.dividends[friday] = 0.5
    yahoo.market.now = FRIDAY
    report = refresh_lake(settings, FRIDAY)
    results = {r.symbol: r for r in report.results}
    assert results["AAA"].reason == "new_action"
    assert results["AAA"].new == before + 1
    rows = Lake(settings.paths.lake).newest_bars(["AAA"]).to_pylist()
    assert {r["batch_id"] for r in rows} == {report.batch_id}
    assert (rows[-1]["split_ratio"], rows[-1]["dividend"]) == ((4.0, 0.0) if action == "split" else (1.0, 0.5))
    assert stored(settings)["AAA"] == delivered(yahoo, "AAA")


class TestWholeJob:
    def test_some_fail_the_rest_is_published_and_the_next_refresh_repairs(
        self, yahoo: YahooLoopback, settings: ClockedSettings
    ) -> None:
        yahoo.faults.set(Fault.NOT_FOUND, "BBB")
        result = run_job(settings)
        assert result.success
        outcome = evaluations(result)["fetch_outcome"]
        assert (outcome.passed, outcome.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert outcome.description == "1 of 3 symbols failed"
        coverage = {r["symbol"]: r for r in published(settings, "select * from data_coverage")}
        assert coverage["BBB"]["last_fetch_status"] == "unknown_symbol"
        assert coverage["BBB"]["stored_sessions"] == 0
        assert coverage["AAA"]["staleness_sessions"] == 0

        yahoo.faults.clear()
        assert run_job(settings).success
        rows = published(settings, "select symbol, session_date, close from daily_bars")
        found: dict[str, dict[dt.date, float]] = {}
        for row in rows:
            found.setdefault(row["symbol"], {})[row["session_date"]] = row["close"]
        assert found == {symbol: delivered(yahoo, symbol) for symbol in SYMBOLS}

    def test_all_fail_the_run_says_so_and_readers_stay(self, yahoo: YahooLoopback, settings: ClockedSettings) -> None:
        assert run_job(settings).success
        yahoo.faults.set(Fault.RATE_LIMITED)
        yahoo.market.now = FRIDAY
        result = run_job(settings.model_copy(update={"moment": FRIDAY}))
        assert not result.success
        outcome = evaluations(result)["fetch_outcome"]
        assert (outcome.passed, outcome.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert outcome.description == "3 of 3 symbols failed"
        manifest = current_manifest(settings.paths.published)
        assert manifest is not None
        assert manifest.version == 1


@pytest.mark.slow
def test_the_command_line_against_yahoo(tmp_path: Path) -> None:
    today = dt.datetime.now(dt.UTC).date()
    market = Market(None)  # the machine's clock, as the command has it
    for symbol in SYMBOLS:
        market.add(symbol, weekdays(today - dt.timedelta(days=30), today), kind="ETF")
    with YahooLoopback(market) as yahoo:
        yahoo.faults.set(Fault.NOT_FOUND, "CCC")
        run = subprocess.run(
            [Path(sys.executable).parent / "orewatch", "refresh"],
            env={
                **os.environ,
                **yahoo.environment,
                "OREWATCH_SOURCE": "yahoo",
                "OREWATCH_HOME": str(tmp_path / "home"),
                "OREWATCH_SEEDS": str(small_seeds(tmp_path / "seeds", *SYMBOLS)),
                "OREWATCH_YAHOO_PAUSE_SECONDS": "0",
                "OREWATCH_YAHOO_ATTEMPTS": "1",
            },
            capture_output=True,
            text=True,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "warning fetch_outcome: 1 of 3 symbols failed" in run.stdout
    assert "CCC, unknown_symbol" in run.stdout
    assert "Published version 1" in run.stdout
    assert "SIMULATED" not in run.stdout
    assert run.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "says", "what_to_do"),
    [
        (None, "Yahoo could not be reached", "look at the network"),
        (Fault.RATE_LIMITED, "Yahoo limits the rate (HTTP 429)", "wait an hour, then refresh again"),
    ],
)
def test_a_refresh_that_brought_nothing_says_what_to_do(
    fault: Fault | None, says: str, what_to_do: str, tmp_path: Path
) -> None:
    """No network, and a rate limit: no line of a library, and what a person does next."""
    with YahooLoopback(new_market()) as yahoo:
        variables = yahoo.environment
        if fault is not None:
            yahoo.faults.set(fault)
        else:
            closed = f"http://127.0.0.1:{free_port()}"
            variables = {**variables, "HTTPS_PROXY": closed, "https_proxy": closed}
        run = subprocess.run(
            [Path(sys.executable).parent / "orewatch", "refresh"],
            env={
                **os.environ,
                **variables,
                "COLUMNS": "120",
                "OREWATCH_SOURCE": "yahoo",
                "OREWATCH_HOME": str(tmp_path / "home"),
                "OREWATCH_SEEDS": str(small_seeds(tmp_path / "seeds", *SYMBOLS)),
                "OREWATCH_YAHOO_PAUSE_SECONDS": "0",
                "OREWATCH_YAHOO_BACKOFF_SECONDS": "0.01",
                "OREWATCH_YAHOO_ATTEMPTS": "2",
            },
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert "stopped by fetch_outcome: 3 of 3 symbols failed" in lines
    assert [line for line in lines if says in line]
    advice = [line for line in lines if line.startswith("  what to do: ")]
    assert what_to_do in advice[0]
    assert advice[1:] == ["  what to do: docs/runbook.md#fetch_outcome"]
    assert "Nothing has been published yet" in run.stdout
    assert "dagster." not in run.stdout
