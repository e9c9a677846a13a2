"""The genuine yfinance client against a stand-in for Yahoo on the loopback interface."""

import datetime as dt
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestration.market import bars
from orchestration.market.fetch_plan import FetchRequest, needs_whole_history
from orchestration.market.new_versions import differs
from orchestration.market.validation import Validated, validate
from orchestration.sources import throttle, yahoo
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.throttle import GIVE_UP_AFTER
from orchestration.sources.yahoo import YahooSource
from tests.yahoo_loopback import Fault, Market, YahooLoopback, weekdays

EVENING = dt.datetime(2026, 3, 6, 23, 30, tzinfo=dt.UTC)  # Friday, after every close
LAST = dt.date(2026, 3, 6)
SESSIONS = weekdays(dt.date(2025, 1, 2), dt.date(2026, 3, 31))
ATTEMPTS = 3
PATIENCE, SHORT_PATIENCE = 60.0, 0.4  # seconds; a busy machine must not look like a fault
RECORDED = os.environ.get("OREWATCH_YAHOO_REPLIES")

# yfinance remembers the time zone of a symbol: a name that no other test has used tests the probe for it too.
_numbers = itertools.count()

CLASSES = {
    Fault.RATE_LIMITED: FetchStatus.RATE_LIMITED,
    Fault.NOT_FOUND: FetchStatus.UNKNOWN_SYMBOL,
    Fault.NO_DATA_IN_RANGE: FetchStatus.EMPTY,
    Fault.UNAUTHORISED: FetchStatus.UNAUTHORISED,
    Fault.SERVER_ERROR: FetchStatus.UNREACHABLE,
    Fault.UNAVAILABLE: FetchStatus.UNREACHABLE,
    Fault.PHANTOM_SHELL: FetchStatus.UNKNOWN_SYMBOL,
    Fault.EMPTY_SHELL: FetchStatus.EMPTY,
    Fault.NULL_RESULT: FetchStatus.MALFORMED,
    Fault.TRUNCATED: FetchStatus.MALFORMED,
    Fault.BROKEN_OFF: FetchStatus.MALFORMED,
    Fault.NOT_JSON: FetchStatus.MALFORMED,
    Fault.HANG: FetchStatus.TIMEOUT,
    Fault.RESET: FetchStatus.UNREACHABLE,
}
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")

TRANSIENT = [f for f, status in CLASSES.items() if status in throttle.TRANSIENT]
# yfinance itself asks a second time, with a new cookie and crumb, when the status is 400 or more.
ASKED_TWICE = {
    Fault.RATE_LIMITED,
    Fault.NOT_FOUND,
    Fault.NO_DATA_IN_RANGE,
    Fault.UNAUTHORISED,
    Fault.SERVER_ERROR,
}


@pytest.fixture
def loopback(yahoo_server: YahooLoopback) -> YahooLoopback:
    yahoo_server.faults.clear()
    yahoo_server.let_go.clear()
    yahoo_server.log.clear()
    yahoo_server.market = Market(EVENING)
    return yahoo_server


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("yfinance")


@pytest.fixture
def sleeps() -> list[float]:
    return []


@pytest.fixture
def source(request: pytest.FixtureRequest, cache_dir: Path, sleeps: list[float]) -> YahooSource:
    parameters = getattr(request.node, "callspec", None)
    hangs = parameters is not None and parameters.params.get("fault") is Fault.HANG
    return YahooSource(
        pause_seconds=0.5,
        timeout_seconds=SHORT_PATIENCE if hangs else PATIENCE,
        attempts=ATTEMPTS,
        backoff_seconds=2,
        cache_dir=cache_dir,
        sleep=sleeps.append,
    )


@pytest.fixture
def fetch(source: YahooSource) -> Callable[..., FetchOutcome]:
    def one(symbol: str, start: dt.date | None = None, end: dt.date = LAST) -> FetchOutcome:
        (outcome,) = source.fetch([request(symbol, start, end)])
        return outcome

    return one


def request(symbol: str, start: dt.date | None = None, end: dt.date = LAST) -> FetchRequest:
    return FetchRequest(symbol, symbol, start, end, "forced")


def fresh(prefix: str = "T") -> str:
    return f"{prefix}{next(_numbers):03d}"


def listed(loopback: YahooLoopback, count: int, prefix: str = "T") -> list[str]:
    """New symbols, each with the bars of all sessions on the market of the loopback server."""
    symbols = [fresh(prefix) for _ in range(count)]
    for symbol in symbols:
        loopback.market.add(symbol, SESSIONS)
    return symbols


def rows_of(outcome: FetchOutcome) -> list[tuple]:
    """What the source delivered, None for unknown, to compare with the rows of the market."""
    columns = ["open", "high", "low", "close", "adj_close", "volume"]
    assert outcome.status is FetchStatus.OK, outcome.detail
    frame = outcome.bars
    values = frame[columns].astype(object).where(frame[columns].notna(), None)
    days = frame["session_date"].dt.date
    return [(day, *row) for day, row in zip(days, values.itertuples(index=False, name=None), strict=True)]


def market_rows(
    loopback: YahooLoopback, symbol: str, start: dt.date = dt.date.min, end: dt.date = dt.date.max
) -> list[tuple]:
    rows = loopback.market.delivered(symbol, start, end)
    return [(r.session, r.open, r.high, r.low, r.close, r.adj_close, r.volume) for r in rows]


def on(outcome: FetchOutcome, day: dt.date) -> pd.Series:
    (row,) = outcome.bars[outcome.bars["session_date"] == pd.Timestamp(day)].to_dict("records")
    return pd.Series(row)


def judged(outcome: FetchOutcome, closed: list[dt.date]) -> Validated:
    return validate(outcome.bars, pd.DatetimeIndex(closed), pd.DatetimeIndex(SESSIONS))


# --- What is delivered --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "kind", "currency"),
    [("AGQ1", "EQUITY", "USD"), ("ZZ=F", "FUTURE", "USD"), ("^ZZI", "INDEX", "USD"), ("ZZ.TO", "ETF", "CAD")],
)
def test_whole_history_is_delivered_to_the_last_bit(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], symbol: str, kind: str, currency: str
) -> None:
    zone = "America/Toronto" if currency == "CAD" else "America/New_York"
    loopback.market.add(symbol, SESSIONS, kind=kind, currency=currency, zone=zone)
    outcome = fetch(symbol)
    assert rows_of(outcome) == market_rows(loopback, symbol)
    assert len(outcome.bars) == len([d for d in SESSIONS if d <= LAST])
    assert list(outcome.bars.columns) == list(bars.RAW_COLUMNS)
    assert (outcome.currency, outcome.attempts, outcome.detail) == (currency, 1, "")
    assert (outcome.bars["dividend"] == 0).all()
    assert (outcome.bars["split_ratio"] == 0).all()


@pytest.mark.parametrize(
    ("kind", "zone"),
    [
        ("EQUITY", "America/New_York"),
        ("FUTURE", "America/New_York"),
        ("EQUITY", "Europe/London"),
        ("EQUITY", "Australia/Sydney"),
        ("FUTURE", "Asia/Tokyo"),
    ],
)
def test_sessions_keep_the_date_of_their_exchange_across_the_change_of_clocks(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], kind: str, zone: str
) -> None:
    # New York changes on 2025-03-09 and 2025-11-02, London on 03-30 and 10-26, Sydney on 04-06 and 10-05.
    symbol = fresh()
    listing = loopback.market.add(symbol, SESSIONS, kind=kind, zone=zone)
    ex_dates = [dt.date(2025, 3, 7), dt.date(2025, 4, 7), dt.date(2025, 10, 6), dt.date(2025, 11, 3)]
    listing.dividends = dict.fromkeys(ex_dates, 0.25)
    for start, end in (
        (dt.date(2025, 3, 3), dt.date(2025, 4, 11)),
        (dt.date(2025, 9, 29), dt.date(2025, 11, 7)),
    ):
        outcome = fetch(symbol, start, end)
        assert [d for d, *_ in rows_of(outcome)] == weekdays(start, end)
        paid = outcome.bars.loc[outcome.bars["dividend"] > 0, "session_date"].dt.date
        assert paid.tolist() == [d for d in ex_dates if start <= d <= end]


def test_both_ends_of_a_range_are_included(loopback: YahooLoopback, fetch: Callable[..., FetchOutcome]) -> None:
    symbol = fresh()
    loopback.market.add(symbol, SESSIONS)
    start, end = dt.date(2025, 6, 3), dt.date(2025, 6, 12)
    assert rows_of(fetch(symbol, start, end)) == market_rows(loopback, symbol, start, end)
    assert [d for d, *_ in rows_of(fetch(symbol, end, end))] == [end]
    assert rows_of(fetch(symbol, None, end)) == market_rows(loopback, symbol, end=end)


def test_the_latest_row_that_yahoo_appends_to_an_older_range_is_left_out(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome]
) -> None:
    symbol = fresh()
    loopback.market.add(symbol, SESSIONS)
    loopback.market.appends_latest = True
    start, end = dt.date(2025, 6, 3), dt.date(2025, 6, 12)
    assert rows_of(fetch(symbol, start, end)) == market_rows(loopback, symbol, start, end)


def test_dividends_and_splits_come_on_their_date_and_restate_what_went_before(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome]
) -> None:
    symbol, ex_date, split_day = fresh(), dt.date(2025, 9, 10), dt.date(2025, 11, 18)
    market = loopback.market
    listing = market.add(symbol, SESSIONS)
    listing.dividends[ex_date] = 0.84
    listing.splits[split_day] = (4, 1)

    market.now = dt.datetime(2025, 11, 14, 23, 0, tzinfo=dt.UTC)  # Friday before the split
    before = fetch(symbol, None, market.now.date())
    market.now = dt.datetime(2025, 11, 18, 23, 0, tzinfo=dt.UTC)
    after = fetch(symbol, None, market.now.date())

    assert rows_of(after) == market_rows(loopback, symbol)
    for outcome in (before, after):
        assert outcome.bars["dividend"].gt(0).sum() == 1
        previous = on(outcome, dt.date(2025, 9, 9))
        paid = on(outcome, ex_date)["dividend"]
        assert previous["adj_close"] == pytest.approx(previous["close"] - paid, rel=1e-6)
        assert on(outcome, ex_date)["adj_close"] == on(outcome, ex_date)["close"]
    assert on(before, ex_date)["dividend"] == 0.84
    assert on(after, ex_date)["dividend"] == 0.21
    assert before.bars["split_ratio"].eq(0).all()
    assert on(after, split_day)["split_ratio"] == 4
    common = before.bars["session_date"]
    assert len(after.bars) == len(common) + 2
    np.testing.assert_allclose(after.bars["close"][: len(common)] * 4, before.bars["close"], rtol=1e-6)
    np.testing.assert_allclose(after.bars["volume"][: len(common)], before.bars["volume"] * 4)


def test_a_correction_shows_at_the_next_request_of_the_same_process(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome]
) -> None:
    # yfinance remembers replies for ranges in the past.
    symbol, day = fresh(), dt.date(2025, 6, 24)
    listing = loopback.market.add(symbol, SESSIONS)
    first = fetch(symbol, day, dt.date(2025, 6, 30))
    listing.correct(day, close=listing.bars[day].close - 1.25)
    second = fetch(symbol, day, dt.date(2025, 6, 30))
    assert on(second, day)["close"] == pytest.approx(on(first, day)["close"] - 1.25, abs=1e-5)
    columns = ["session_date", "close", "adj_close", "dividend", "split_ratio"]
    assert needs_whole_history(second.bars[columns], first.bars[columns])


def test_noise_in_adj_close_is_not_a_change(loopback: YahooLoopback, fetch: Callable[..., FetchOutcome]) -> None:
    symbol = fresh()
    loopback.market.add(symbol, SESSIONS).dividends[dt.date(2026, 1, 14)] = 0.3
    loopback.market.adj_close_noise = 2e-7
    closed = [d for d in SESSIONS if d <= LAST]
    first, second = (judged(fetch(symbol), closed).accepted for _ in range(2))
    assert (first["adj_close"] != second["adj_close"]).any()
    assert not differs(second, first).any()


def test_a_row_without_prices_is_delivered_and_then_dropped(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome]
) -> None:
    symbol, day = fresh(), dt.date(2025, 7, 9)
    listing = loopback.market.add(symbol, SESSIONS)
    listing.nulls.add(day)
    listing.bars[day] = listing.bars[day]._replace(volume=0)
    outcome = fetch(symbol, dt.date(2025, 7, 7), dt.date(2025, 7, 11))
    assert rows_of(outcome)[2] == (day, None, None, None, None, None, 0)
    result = judged(outcome, SESSIONS)
    assert len(result.accepted) == 4
    assert result.rejected.empty


@pytest.mark.parametrize("absence", ["nulls", "holes"])
def test_a_dividend_without_a_price_stays_on_its_own_date(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], absence: str
) -> None:
    # Left alone, yfinance puts the dividend of a missing row onto the session before.
    symbol, day = fresh(), dt.date(2025, 7, 9)
    listing = loopback.market.add(symbol, SESSIONS)
    listing.dividends[day] = 0.4
    getattr(listing, absence).add(day)
    outcome = fetch(symbol, dt.date(2025, 7, 7), dt.date(2025, 7, 11))
    assert len(outcome.bars) == 5
    assert outcome.bars["session_date"].is_monotonic_increasing
    assert np.isnan(on(outcome, day)["close"])
    assert outcome.bars["dividend"].tolist() == [0, 0, 0.4, 0, 0]
    result = judged(outcome, SESSIONS)
    assert result.rejected[["session_date", "rule"]].to_numpy().tolist() == [[pd.Timestamp(day), "missing_close"]]
    assert '"dividend": 0.4' in result.rejected["raw"].iloc[0]


@pytest.mark.parametrize("day", [dt.date(2025, 7, 7), dt.date(2025, 7, 11)], ids=["first", "last"])
def test_an_event_at_the_edge_of_the_range_is_not_lost(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], day: dt.date
) -> None:
    symbol = fresh()
    listing = loopback.market.add(symbol, SESSIONS)
    listing.dividends[day] = 0.4
    listing.splits[day] = (1, 10)
    listing.holes.add(day)
    outcome = fetch(symbol, dt.date(2025, 7, 7), dt.date(2025, 7, 11))
    assert len(outcome.bars) == 5
    assert (on(outcome, day)["dividend"], on(outcome, day)["split_ratio"]) == (0.4, 0.1)


def test_what_a_bar_has_no_column_for_is_said(loopback: YahooLoopback, fetch: Callable[..., FetchOutcome]) -> None:
    symbol, day = fresh(), dt.date(2025, 7, 9)
    listing = loopback.market.add(symbol, SESSIONS, kind="ETF", dividend_currency="CAD")
    listing.dividends[day] = 0.4
    listing.capital_gains[day] = 0.1
    outcome = fetch(symbol)
    assert on(outcome, day)["dividend"] == 0.4
    assert outcome.detail == (
        f"{symbol}: 1 capital gain distributions are not among the dividends; dividends are in CAD, prices in USD"
    )


@pytest.mark.parametrize("kind", ["EQUITY", "FUTURE"])
def test_the_bar_of_an_open_session_is_delivered_and_held_back(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], kind: str
) -> None:
    symbol, today = fresh(), dt.date(2026, 3, 4)
    loopback.market.add(symbol, SESSIONS, kind=kind)
    loopback.market.now = dt.datetime(2026, 3, 4, 17, 12, 31, tzinfo=dt.UTC)  # 12:12 in New York
    during = fetch(symbol, dt.date(2026, 3, 2), today)
    loopback.market.now = dt.datetime(2026, 3, 4, 23, 30, tzinfo=dt.UTC)
    after = fetch(symbol, dt.date(2026, 3, 2), today)

    assert len(during.bars) == len(after.bars) == 3
    assert on(during, today)["close"] != on(after, today)["close"]
    result = judged(during, [d for d in SESSIONS if d < today])
    assert (result.held_back, len(result.accepted), len(result.rejected)) == (1, 2, 0)
    result = judged(after, [d for d in SESSIONS if d <= today])
    assert (result.held_back, len(result.accepted), len(result.rejected)) == (0, 3, 0)


# --- What can go wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize("known_zone", [False, True], ids=["first_request", "later_request"])
@pytest.mark.parametrize("fault", CLASSES, ids=str)
def test_one_bad_symbol_among_good_ones(
    loopback: YahooLoopback, source: YahooSource, fault: Fault, known_zone: bool
) -> None:
    good, bad, other = fresh(), fresh(), fresh()
    for symbol in (good, bad, other):
        loopback.market.add(symbol, SESSIONS)
    if known_zone:
        assert [o.status for o in source.fetch([request(bad)])] == [FetchStatus.OK]
        loopback.log.clear()
    loopback.faults.set(fault, bad)
    outcomes = list(source.fetch([request(good), request(bad), request(other)]))

    assert [o.request.symbol for o in outcomes] == [good, bad, other]
    for outcome in (outcomes[0], outcomes[2]):
        assert rows_of(outcome) == market_rows(loopback, outcome.request.symbol)
    failed = outcomes[1]
    assert failed.status is CLASSES[fault]
    assert failed.failed
    assert failed.bars.empty
    assert list(failed.bars.columns) == list(bars.RAW_COLUMNS)
    assert_readable(failed)
    assert failed.attempts == (ATTEMPTS if failed.status in throttle.TRANSIENT else 1)
    faulty = [r for r in loopback.log if r.fault is not None]
    shell_also_answers_the_probe = fault in (Fault.PHANTOM_SHELL, Fault.EMPTY_SHELL) and not known_zone
    per_attempt = 2 if fault in ASKED_TWICE or shell_also_answers_the_probe else 1
    # libcurl itself asks once more when a connection that it kept open is reset.
    assert len(faulty) == failed.attempts * per_attempt + (fault is Fault.RESET)


@pytest.mark.parametrize("fault", CLASSES, ids=str)
def test_a_fault_of_everything_ends_soon(loopback: YahooLoopback, source: YahooSource, fault: Fault) -> None:
    symbols = [fresh() for _ in range(GIVE_UP_AFTER + 2)]
    loopback.faults.set(fault)
    for symbol in symbols:
        loopback.market.add(symbol, SESSIONS)
    begun = time.monotonic()
    outcomes = list(source.fetch([request(s) for s in symbols]))
    # Without our limit, yfinance waits 10 s for each time zone.
    assert time.monotonic() - begun < 45
    assert {o.status for o in outcomes} == {CLASSES[fault]}
    attempts = ATTEMPTS if CLASSES[fault] in throttle.TRANSIENT else 1
    later = 0 if CLASSES[fault] in throttle.OF_THE_SERVICE else attempts
    assert [o.attempts for o in outcomes] == [attempts] * GIVE_UP_AFTER + [later] * 2
    for outcome in outcomes:
        assert_readable(outcome)
    if later == 0:
        assert outcomes[-1].detail == (
            f"{symbols[-1]}: not asked for, because the 3 symbols before it ended {CLASSES[fault]}"
        )
    assert len([r for r in loopback.log if r.fault]) <= len(symbols) * ATTEMPTS * 2


@pytest.mark.parametrize("fault", TRANSIENT, ids=str)
def test_a_fault_that_passes_is_survived(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], fault: Fault
) -> None:
    symbol = fresh()
    for listed in (symbol, warm_up := fresh()):
        loopback.market.add(listed, SESSIONS)
    fetch(warm_up)  # a connection is open
    requests = (ATTEMPTS - 1) * (2 if fault in ASKED_TWICE else 1) + (fault is Fault.RESET)
    loopback.faults.set(fault, symbol, times=requests)
    # A range in the past: yfinance would remember the broken reply.
    outcome = fetch(symbol, dt.date(2025, 6, 2), dt.date(2025, 6, 30))
    assert rows_of(outcome) == market_rows(loopback, symbol, dt.date(2025, 6, 2), dt.date(2025, 6, 30))
    assert outcome.attempts == ATTEMPTS


def test_dead_symbols_are_unknown_however_yfinance_says_so(loopback: YahooLoopback, source: YahooSource) -> None:
    # It asks for a summary of the first two only, and then raises something else.
    outcomes = list(source.fetch([request(fresh("DEAD")) for _ in range(4)]))
    assert {o.status for o in outcomes} == {FetchStatus.UNKNOWN_SYMBOL}
    assert {o.attempts for o in outcomes} == {1}
    assert outcomes[0].detail == (
        f"{outcomes[0].request.symbol}: Yahoo does not know it (HTTP 404): No data found, symbol may be delisted"
    )


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.HANG, Fault.RESET], ids=str)
def test_bars_arrive_without_cookie_and_crumb(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], fault: Fault
) -> None:
    symbol = fresh()
    loopback.market.add(symbol, SESSIONS)
    loopback.faults.set(Fault.UNAUTHORISED, symbol, times=1)  # makes yfinance ask for new ones
    loopback.faults.set(fault, endpoints=("cookie", "crumb", "consent"))
    outcome = fetch(symbol)
    assert rows_of(outcome) == market_rows(loopback, symbol)
    assert len([r for r in loopback.log if r.fault is fault]) >= 1


@pytest.mark.parametrize("known_zone", [False, True], ids=["first_request", "later_request"])
def test_the_consent_page_is_passed(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], known_zone: bool
) -> None:
    symbol = fresh()
    loopback.market.add(symbol, SESSIONS).dividends[dt.date(2025, 7, 9)] = 0.4
    if known_zone:
        fetch(symbol)
    loopback.faults.set(Fault.CONSENT, symbol, times=1)
    outcome = fetch(symbol)
    assert rows_of(outcome) == market_rows(loopback, symbol)
    assert on(outcome, dt.date(2025, 7, 9))["dividend"] == 0.4
    assert outcome.attempts == 1


@pytest.mark.parametrize("way", ["no_proxy_there", "proxy_refuses", "unknown_authority"])
def test_no_way_to_yahoo(
    loopback: YahooLoopback,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    symbol = fresh()
    loopback.market.add(symbol, SESSIONS)
    with YahooLoopback(loopback.market) as other:
        if way == "no_proxy_there":
            proxy = "http://user:swordfish@127.0.0.1:9"
        elif way == "proxy_refuses":
            proxy = loopback.environment["HTTPS_PROXY"]
            monkeypatch.setattr(loopback, "accepts", lambda host: False)
        else:
            proxy = other.environment["HTTPS_PROXY"]  # its certificate is of an authority that nobody trusts
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy)
        # Another folder, hence another session: one that has not connected yet.
        source = YahooSource(
            pause_seconds=0,
            timeout_seconds=PATIENCE,
            attempts=2,
            backoff_seconds=0,
            cache_dir=tmp_path / "unused",
        )
        (outcome,) = source.fetch([request(symbol)])
    assert (outcome.status, outcome.attempts) == (FetchStatus.UNREACHABLE, 2)
    assert_readable(outcome)


def test_a_process_with_the_environment_reaches_the_server_and_loads_the_client_late(
    loopback: YahooLoopback, tmp_path: Path
) -> None:
    symbol = fresh("P")
    loopback.market.add(symbol, SESSIONS, kind="FUTURE")
    program = f"""
import datetime as dt, pathlib, sys
from orchestration.market.fetch_plan import FetchRequest
from orchestration.sources.yahoo import YahooSource
assert not {{"yfinance", "curl_cffi"}} & set(sys.modules)
source = YahooSource(
    pause_seconds=0, timeout_seconds=30, attempts=1, backoff_seconds=0, cache_dir=pathlib.Path("cache")
)
(outcome,) = source.fetch([FetchRequest("{symbol}", "{symbol}", None, dt.date(2026, 3, 6), "forced")])
print(outcome.status, len(outcome.bars), oct(pathlib.Path("cache").stat().st_mode & 0o777))
"""
    root = Path(yahoo.__file__).parents[2]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), **loopback.environment}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("ok 307 0o700\n", "", 0)


# --- Rate limit ---------------------------------------------------------------------------------------------


def test_symbols_are_paced(loopback: YahooLoopback, source: YahooSource, sleeps: list[float]) -> None:
    symbols = listed(loopback, 3)
    assert list(source.fetch([])) == []
    outcomes = list(source.fetch([request(s, LAST, LAST) for s in symbols]))
    assert {o.status for o in outcomes} == {FetchStatus.OK}
    assert sleeps == [0.5, 0.5]
    assert Counter(r.symbol for r in loopback.requests()) == dict.fromkeys(symbols, 1)


def test_a_rate_limit_slows_down_what_follows_and_is_forgiven(
    loopback: YahooLoopback, source: YahooSource, sleeps: list[float]
) -> None:
    symbols = listed(loopback, 7)
    loopback.faults.set(Fault.RATE_LIMITED, symbols[1], times=4)  # two attempts
    outcomes = list(source.fetch([request(s) for s in symbols]))
    assert {o.status for o in outcomes} == {FetchStatus.OK}
    assert [o.attempts for o in outcomes] == [1, 3, 1, 1, 1, 1, 1]
    pause, first_retry, second_retry, *pauses = sleeps
    assert pause == 0.5
    assert 1 <= first_retry <= 3
    assert 2 <= second_retry <= 6
    assert pauses == [4, 2, 1, 0.5, 0.5]


def test_a_lasting_rate_limit_is_not_hammered(
    loopback: YahooLoopback, source: YahooSource, sleeps: list[float]
) -> None:
    symbols = [fresh() for _ in range(30)]
    loopback.faults.set(Fault.RATE_LIMITED)
    outcomes = list(source.fetch([request(s) for s in symbols]))
    assert {o.status for o in outcomes} == {FetchStatus.RATE_LIMITED}
    assert len(loopback.requests("timezone")) == GIVE_UP_AFTER * ATTEMPTS * 2
    assert len(loopback.log) <= GIVE_UP_AFTER * ATTEMPTS * 8
    assert max(sleeps) <= 90
    assert sum(sleeps) <= 200


# --- Several at a time --------------------------------------------------------------------------------------


@pytest.fixture
def parallel(cache_dir: Path) -> Callable[..., YahooSource]:
    def source(connections: int = 6, timeout: float = PATIENCE, backoff: float = 0.02) -> YahooSource:
        return YahooSource(
            pause_seconds=0.0,
            timeout_seconds=timeout,
            attempts=5,
            backoff_seconds=backoff,
            cache_dir=cache_dir,
            connections=connections,
        )

    return source


@pytest.fixture
def slow(loopback: YahooLoopback) -> Iterator[YahooLoopback]:
    """The stand-in, with answers that take a moment."""
    loopback.delay_seconds = 0.05
    yield loopback
    loopback.delay_seconds = 0.0


def test_several_at_a_time_bring_what_one_after_the_other_brings(
    slow: YahooLoopback, parallel: Callable[..., YahooSource]
) -> None:
    symbols = [fresh() for _ in range(18)]
    for symbol in symbols[:-2]:
        slow.market.add(symbol, SESSIONS)  # the last two are unknown
    asked = [request(s, None if n % 2 else dt.date(2025, 11, 3)) for n, s in enumerate(symbols)]
    slow.delay_seconds = 0.2  # so long that several are under way on a busy machine too
    together = {o.request.symbol: o for o in parallel(6).fetch(asked)}
    under_way = _most_at_a_time(slow, slow.delay_seconds)
    slow.delay_seconds = 0.0
    one_by_one = {o.request.symbol: o for o in parallel(1).fetch(asked)}
    assert under_way > 2
    assert sorted(together) == sorted(one_by_one) == sorted(symbols)
    for symbol in symbols:
        here, there = together[symbol], one_by_one[symbol]
        assert (here.status, here.currency, here.detail) == (there.status, there.currency, there.detail)
        pd.testing.assert_frame_equal(here.bars, there.bars)
    assert [together[s].status for s in symbols[-2:]] == [FetchStatus.UNKNOWN_SYMBOL] * 2


def test_a_rate_limit_in_the_middle_slows_down_and_loses_nothing(
    slow: YahooLoopback, parallel: Callable[..., YahooSource]
) -> None:
    symbols = listed(slow, 18)
    fetching = parallel(6, backoff=2.0).fetch([request(s) for s in symbols])
    outcomes = [next(fetching) for _ in range(6)]
    # Whatever comes next. yfinance asks again at once, so that six refusals could meet six connections once each and
    # nobody twice, as an attempt needs to fail; eight cannot, nor do they use up the five attempts of one symbol.
    slow.faults.set(Fault.RATE_LIMITED, times=8)
    outcomes += fetching
    assert Counter(o.request.symbol for o in outcomes) == dict.fromkeys(symbols, 1)
    for outcome in outcomes:
        assert rows_of(outcome) == market_rows(slow, outcome.request.symbol)
    assert max(o.attempts for o in outcomes) > 1
    moments = [r.at for r in slow.log]
    assert max(b - a for a, b in itertools.pairwise(moments)) > 0.2


def test_a_symbol_that_hangs_does_not_hold_the_others_up(
    slow: YahooLoopback, parallel: Callable[..., YahooSource]
) -> None:
    symbols = listed(slow, 12)
    slow.faults.set(Fault.HANG, symbols[0], times=1)
    fetching = parallel(3).fetch([request(s) for s in symbols])
    outcomes = [next(fetching) for _ in symbols[1:]]
    assert {o.request.symbol for o in outcomes} == set(symbols[1:])
    slow.let_go.set()
    outcomes += fetching
    assert [o.status for o in outcomes] == [FetchStatus.OK] * 12
    assert outcomes[-1].request.symbol == symbols[0]


def test_a_symbol_that_hangs_is_asked_again_beside_others(
    slow: YahooLoopback, parallel: Callable[..., YahooSource]
) -> None:
    symbols = listed(slow, 3)
    slow.faults.set(Fault.HANG, symbols[0], times=1)
    outcomes = {o.request.symbol: o for o in parallel(3, timeout=3.0).fetch([request(s) for s in symbols])}
    assert [outcomes[s].status for s in symbols] == [FetchStatus.OK] * 3
    assert outcomes[symbols[0]].attempts == 2


def test_ctrl_c_does_not_wait_for_an_answer(slow: YahooLoopback, tmp_path: Path) -> None:
    symbols = listed(slow, 6, "C")
    slow.faults.set(Fault.HANG)
    program = f"""
import datetime as dt, pathlib
from orchestration.market.fetch_plan import FetchRequest
from orchestration.sources.yahoo import YahooSource
source = YahooSource(
    pause_seconds=0, timeout_seconds=300, attempts=5, backoff_seconds=1, cache_dir=pathlib.Path("cache"), connections=6
)
list(source.fetch([FetchRequest(s, s, None, dt.date(2026, 3, 6), "forced") for s in {symbols!r}]))
"""
    root = Path(yahoo.__file__).parents[2]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), **slow.environment}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # A shell in the background has Ctrl-C ignored for all that it starts, the tests among them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            deadline = time.monotonic() + 300
            while len(slow.requests("timezone")) < 6 and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            begun = time.monotonic()
            _, said = process.communicate(timeout=250)
        finally:
            process.kill()
    assert time.monotonic() - begun < 15
    assert "KeyboardInterrupt" in said
    assert len(slow.requests("timezone")) == 6


def _most_at_a_time(loopback: YahooLoopback, seconds: float) -> int:
    """Answers that take so many seconds each, of which so many were due at the same moment."""
    moments = [r.at for r in loopback.log]
    return max(sum(at <= other < at + seconds for other in moments) for at in moments)


# --- Recorded replies ---------------------------------------------------------------------------------------


@pytest.fixture
def recorded() -> Path:
    if not RECORDED:
        pytest.skip("OREWATCH_YAHOO_REPLIES is not set: a folder of recorded replies of Yahoo")
    return Path(RECORDED)


def test_a_recorded_split(loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], recorded: Path) -> None:
    symbol = loopback.replay(recorded / "chart-NVDA-2021-02-01-to-2022-01-31-split.json")
    outcome = fetch(symbol, dt.date(2021, 2, 1), dt.date(2022, 1, 31))
    assert (symbol, outcome.status, outcome.currency) == ("NVDA", FetchStatus.OK, "USD")
    record = json.loads((recorded / "chart-NVDA-2021-02-01-to-2022-01-31-split.json").read_text())
    (chart,) = record["response"]["bodyJson"]["chart"]["result"]
    for name in ("open", "high", "low", "close", "volume"):
        assert outcome.bars[name].tolist() == chart["indicators"]["quote"][0][name]
    assert outcome.bars["adj_close"].tolist() == chart["indicators"]["adjclose"][0]["adjclose"]
    assert len(outcome.bars) == 252
    split = outcome.bars[outcome.bars["split_ratio"] != 0]
    assert split[["session_date", "split_ratio"]].to_numpy().tolist() == [[pd.Timestamp("2021-07-20"), 4.0]]
    days = outcome.bars["session_date"].dt.date.tolist()
    assert (days[0], days[-1]) == (dt.date(2021, 2, 1), dt.date(2022, 1, 28))


def test_recorded_dividends(loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], recorded: Path) -> None:
    symbol = loopback.replay(recorded / "chart-MSFT-2021-02-01-to-2022-01-31-dividends.json")
    outcome = fetch(symbol, dt.date(2021, 2, 1), dt.date(2022, 1, 31))
    paid = outcome.bars[outcome.bars["dividend"] != 0]
    assert [(str(d.date()), a) for d, a in zip(paid["session_date"], paid["dividend"], strict=True)] == [
        ("2021-02-17", 0.56),
        ("2021-05-19", 0.56),
        ("2021-08-18", 0.56),
        ("2021-11-17", 0.62),
    ]


def test_a_recorded_future_and_a_recorded_weekend(
    loopback: YahooLoopback, fetch: Callable[..., FetchOutcome], recorded: Path
) -> None:
    symbol = loopback.replay(recorded / "chart-GC=F-2020-01-01-to-2020-01-03.json")
    outcome = fetch(symbol, dt.date(2020, 1, 1), dt.date(2020, 1, 3))
    assert [(d, row[3]) for d, *row in rows_of(outcome)] == [(dt.date(2020, 1, 2), 1524.5)]
    symbol = loopback.replay(recorded / "chart-AAPL-2025-02-01-weekend-no-timestamps.json")
    outcome = fetch(symbol, dt.date(2025, 2, 1), dt.date(2025, 2, 2))
    assert outcome.status is FetchStatus.EMPTY


@pytest.mark.parametrize(
    ("record", "status"),
    [
        ("200_phantom_symbol_empty_shell.json", FetchStatus.UNKNOWN_SYMBOL),
        ("404_not_found_delisted.json", FetchStatus.UNKNOWN_SYMBOL),
        ("429_rate_limited.json", FetchStatus.RATE_LIMITED),
    ],
)
def test_a_recorded_error(
    loopback: YahooLoopback,
    fetch: Callable[..., FetchOutcome],
    recorded: Path,
    record: str,
    status: FetchStatus,
) -> None:
    symbol = loopback.replay(recorded / record, fresh("REC"))
    assert fetch(symbol).status is status


def assert_readable(outcome: FetchOutcome) -> None:
    """The detail is one line that names the symbol and gives nothing away."""
    detail = outcome.detail
    assert detail.startswith(f"{outcome.request.source_symbol}: ")
    assert len(detail) <= 200
    assert detail.isprintable()
    assert not re.search(r"loopback|crumb=|cookie|swordfish|https?:|127\.0\.0\.1", detail, re.IGNORECASE)
