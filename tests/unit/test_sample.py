"""The simulated market: its facts, its story, and that every bar of it is what a source may deliver."""

import csv
import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestration.market import bars, calendar
from orchestration.market.fetch_plan import FetchRequest
from orchestration.market.universe import Instrument, load_universe
from orchestration.market.validation import validate
from orchestration.settings import DBT_PROJECT_DIR, PROJECT_ROOT, SAMPLE_FIRST_SESSION, SAMPLE_LAST_AS_OF
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.sample import SIMULATED_LABEL, SampleSource, adjusted_close

AS_OF = dt.date(2026, 1, 30)
LATER = SAMPLE_LAST_AS_OF
EVENING = dt.datetime(2026, 3, 7, 1, 0, tzinfo=dt.UTC)
UNIVERSE = load_universe(DBT_PROJECT_DIR / "seeds").instruments
FALL = pd.Timestamp("2026-01-30")

# Open, high, low, close.
PINNED = {
    ("SI=F", "2018-01-02"): [17.105, 17.167, 16.872, 16.993],
    ("SI=F", "2026-01-30"): [102.083, 103.447, 76.025, 78.29],
    ("GC=F", "2020-03-16"): [1562.0, 1567.9, 1533.8, 1542.8],
    ("SIL", "2024-02-29"): [23.82, 24.05, 23.67, 23.9],
    ("FRES", "2022-06-15"): [1190.0, 1204.5, 1155.0, 1200.5],
    ("AEM", "2021-06-15"): [35.89, 35.94, 35.05, 35.32],
    ("SLV", "2026-03-06"): [79.45, 80.1, 79.02, 79.81],
}


def anchor_rows() -> list[dict[str, str]]:
    path = PROJECT_ROOT / "orchestration" / "sources" / "sample_anchors.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def ask(symbol: str, start: dt.date | None = None, end: dt.date = LATER, source_symbol: str = "") -> FetchRequest:
    return FetchRequest(symbol, source_symbol or symbol, start, end, "new_instrument")


def deliver(as_of: dt.date, instruments: tuple[Instrument, ...] = UNIVERSE) -> dict[str, FetchOutcome]:
    requests = [ask(i.symbol, end=as_of, source_symbol=i.source_symbol) for i in instruments]
    return {o.request.symbol: o for o in SampleSource(instruments, as_of).fetch(requests)}


def one(instrument: Instrument, as_of: dt.date = LATER) -> pd.DataFrame:
    (outcome,) = deliver(as_of, (instrument,)).values()
    assert outcome.status is FetchStatus.OK
    return outcome.bars.set_index("session_date")


def made_up(symbol: str, **changes: object) -> Instrument:
    row = {
        "symbol": symbol,
        "source_symbol": symbol,
        "name": "Somebody's own",
        "asset_class": "stock",
        "metal": "silver",
        "tier": "junior",
        "calendar": "XNYS",
        "currency": "USD",
        "tick_size": 0.01,
        "metal_symbol": "",
        "sector_symbol": "",
        "active_from": "",
    }
    return Instrument.model_validate(row | changes)


@pytest.fixture(scope="module")
def market() -> dict[str, pd.DataFrame]:
    """All bars up to the last as-of date, by symbol."""
    outcomes = deliver(LATER)
    assert all(o.status is FetchStatus.OK for o in outcomes.values())
    return {symbol: o.bars.set_index("session_date") for symbol, o in outcomes.items()}


@pytest.fixture(scope="module")
def returns(market: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Total returns of one session; columns are symbols."""
    return pd.DataFrame({s: (b["close"] + b["dividend"]) / b["close"].shift() - 1 for s, b in market.items()})


class TestFacts:
    @pytest.mark.parametrize("row", anchor_rows(), ids=lambda r: f"{r['symbol']}-{r['session_date']}")
    def test_anchor_is_exact(self, market: dict[str, pd.DataFrame], row: dict[str, str]) -> None:
        bar = market[row["symbol"]].loc[row["session_date"]]
        for field in ("close", "high", "low"):
            if row[field]:
                assert bar[field] == float(row[field])

    @pytest.mark.parametrize(
        ("symbol", "day", "fall"),
        [
            ("SIL", "2026-01-30", -0.1478),
            ("SILJ", "2026-01-30", -0.1502),
            ("AUAU", "2026-01-30", -0.1256),
            ("SI=F", "2026-01-30", -0.3135),
            ("SIL", "2020-03-13", -0.171),
            ("SILJ", "2020-03-12", -0.182),
            ("GDX", "2020-03-18", -0.228),
            ("GDXJ", "2020-03-18", -0.247),
        ],
    )
    def test_falls(self, returns: pd.DataFrame, symbol: str, day: str, fall: float) -> None:
        assert returns.loc[day, symbol] == pytest.approx(fall, abs=0.001)

    def test_performance_of_sil(self, market: dict[str, pd.DataFrame], returns: pd.DataFrame) -> None:
        close = market["SIL"]["close"]
        assert close[FALL] / close["2025-12-31"] - 1 == pytest.approx(0.129, abs=0.0005)
        one_year = (1 + returns.loc["2025-01-31":FALL, "SIL"]).prod() - 1
        assert one_year == pytest.approx(1.70, abs=0.015)


class TestStory:
    @pytest.mark.parametrize("symbol", ["SI=F", "SLV", "GC=F", "GLD", "AUAU"])
    def test_largest_fall_of_its_history(self, returns: pd.DataFrame, symbol: str) -> None:
        assert returns[symbol].idxmin() == FALL

    @pytest.mark.parametrize(
        ("symbol", "day"),
        [("SIL", "2020-03-13"), ("SILJ", "2020-03-12"), ("GDX", "2020-03-18"), ("GDXJ", "2020-03-18")],
    )
    def test_second_largest_fall_of_the_miners(self, returns: pd.DataFrame, symbol: str, day: str) -> None:
        assert list(returns[symbol].nsmallest(2).index) == [pd.Timestamp(day), FALL]

    def test_54_is_pierced_once_and_then_broken(self, market: dict[str, pd.DataFrame]) -> None:
        before = market["SI=F"].loc[:"2025-11-26"]
        assert list(before.index[before["high"] >= 54]) == [pd.Timestamp("2025-11-13")]
        assert before["close"].max() < 54
        broken = market["SI=F"].loc["2025-11-28"]
        assert broken["open"] < 54
        assert broken["close"] > 56

    def test_50_is_not_reached_before_its_day(self, market: dict[str, pd.DataFrame]) -> None:
        assert market["SI=F"].loc[:"2025-10-10", "high"].max() < 50

    def test_support_zone_is_not_visited_again(self, market: dict[str, pd.DataFrame]) -> None:
        assert market["SI=F"].loc["2025-12-01", "low"] > 56
        assert market["SI=F"].loc["2025-12-02":, "low"].min() > 56 * 1.01

    def test_100_is_won_and_lost(self, market: dict[str, pd.DataFrame]) -> None:
        silver = market["SI=F"]
        above = silver.index[silver["close"] > 100]
        assert (above[0], above[-1], len(above)) == (
            pd.Timestamp("2026-01-23"),
            pd.Timestamp("2026-01-29"),
            5,
        )
        assert silver.loc[:"2026-01-22", "high"].max() < 100
        assert silver.loc["2026-01-23", "open"] < 100 < silver.loc[FALL, "open"]  # crossings, no gaps

    def test_record_high_of_silver(self, market: dict[str, pd.DataFrame]) -> None:
        assert market["SI=F"]["high"].idxmax() == pd.Timestamp("2026-01-29")

    @pytest.mark.parametrize("symbol", ["SIL", "SILJ", "SLV", "SI=F", "GDX", "GLD"])
    def test_trend_is_up_on_the_day(self, market: dict[str, pd.DataFrame], symbol: str) -> None:
        close = market[symbol].loc[:FALL, "close"]
        assert close.iloc[-1] > close[-200:].mean() * 1.01
        assert close[-50:].mean() > close[-200:].mean() * 1.01

    def test_volatility_of_silver_has_spiked(self, returns: pd.DataFrame) -> None:
        daily = np.log1p(returns.loc[:FALL, "SLV"].dropna())
        assert daily[-21:].std() / daily[-252:].std() >= 1.5
        assert daily[-22:-1].std() / daily[-252:-1].std() < 2


class TestStatistics:
    def test_fund_follows_metal(self, returns: pd.DataFrame) -> None:
        assert returns[["SLV", "SI=F"]].dropna().corr().iloc[0, 1] > 0.9
        assert returns[["GLD", "GC=F"]].dropna().corr().iloc[0, 1] > 0.9

    @pytest.mark.parametrize("sessions", [252, 10_000])
    @pytest.mark.parametrize(("senior", "junior", "metal"), [("SIL", "SILJ", "SLV"), ("GDX", "GDXJ", "GLD")])
    def test_juniors_have_more_beta(
        self, returns: pd.DataFrame, senior: str, junior: str, metal: str, sessions: int
    ) -> None:
        window = returns.loc[:FALL, [senior, junior, metal]].dropna()[-sessions:]
        cov = window.cov()[metal] / window[metal].var()
        assert 0.4 < cov[senior] < 2
        assert cov[junior] > cov[senior]

    def test_tails_are_fat_even_without_the_great_fall(self, returns: pd.DataFrame) -> None:
        daily = np.log1p(returns["SI=F"].dropna())
        assert daily.kurt() > 3
        assert daily[:"2025-12-31"].kurt() > 1.5

    @pytest.mark.parametrize("symbol", ["GC=F", "SI=F", "SPY", "GDX"])
    def test_volatility_clusters(self, returns: pd.DataFrame, symbol: str) -> None:
        size = returns.loc[:"2025-12-31", symbol].dropna().abs()
        mean_autocorrelation = np.mean([size.autocorr(lag) for lag in range(1, 11)])
        assert mean_autocorrelation > 3 / len(size) ** 0.5

    def test_benchmark_is_mildly_correlated(self, returns: pd.DataFrame) -> None:
        assert 0 < returns["SPY"].corr(returns["GDX"]) < 0.5

    def test_volume_rises_with_the_move(self, market: dict[str, pd.DataFrame]) -> None:
        slv = market["SLV"]
        assert slv["volume"].rank().corr(slv["close"].pct_change().abs().rank()) > 0.3
        assert slv["volume"][FALL] > 2 * slv["volume"][:FALL][-22:-1].median()


class TestBars:
    @pytest.mark.parametrize("instrument", UNIVERSE, ids=lambda i: i.symbol)
    def test_accepted_whole_on_exactly_the_expected_sessions(
        self, market: dict[str, pd.DataFrame], instrument: Instrument
    ) -> None:
        delivered = market[instrument.symbol].reset_index()
        held = calendar.closed_sessions(instrument.calendar, EVENING, SAMPLE_FIRST_SESSION)
        closed = pd.DatetimeIndex(held["session_date"])
        result = validate(delivered, closed, closed)
        assert result.rejected.empty
        assert result.held_back == 0
        assert (result.accepted["bar_quality"] == "ok").all()
        expected = held.loc[held["bar_expected"], "session_date"]
        if instrument.active_from:
            expected = expected[expected >= pd.Timestamp(instrument.active_from)]
        assert result.accepted["session_date"].tolist() == expected.tolist()

    def test_raw_columns_and_label(self) -> None:
        outcome = deliver(AS_OF)["FRES"]
        assert tuple(outcome.bars.columns) == bars.RAW_COLUMNS
        assert outcome.currency == "GBp"
        assert SIMULATED_LABEL in outcome.detail
        assert set(outcome.bars["origin"]) == {SIMULATED_LABEL}

    def test_prices_are_in_ticks(self, market: dict[str, pd.DataFrame]) -> None:
        assert (market["FRES"][["open", "high", "low", "close"]] % 0.5 == 0).all(axis=None)
        assert (market["SIL"]["close"].round(2) == market["SIL"]["close"]).all()

    def test_auau_begins_when_it_was_listed(self, market: dict[str, pd.DataFrame]) -> None:
        assert market["AUAU"].index[0] == pd.Timestamp("2025-12-11")
        assert market["AUAU"]["dividend"].sum() == 0


class TestActions:
    @pytest.mark.parametrize("symbol", ["SIL", "SPY", "NEM", "AEM", "FRES", "SLV"])
    def test_adjusted_close_is_yahoos(self, market: dict[str, pd.DataFrame], symbol: str) -> None:
        rows = market[symbol]
        close, dividend = rows["close"].to_numpy(), rows["dividend"].to_numpy()
        expected, factor = np.empty(len(rows)), 1.0
        for t in range(len(rows) - 1, -1, -1):  # F_t = prod over s > t of (1 - D_s / C_{s-1})
            expected[t] = close[t] * factor
            factor *= 1 - dividend[t] / close[t - 1]
        np.testing.assert_allclose(rows["adj_close"], expected, rtol=1e-12)

    def test_adjusted_close_worked_by_hand(self) -> None:
        adjusted = adjusted_close(pd.Series([10.0, 20.0, 19.0]), pd.Series([0.0, 0.0, 1.0]))
        assert adjusted.tolist() == [9.5, 19.0, 19.0]

    @pytest.mark.parametrize(("symbol", "a_year"), [("SIL", 2), ("GDX", 2), ("SPY", 4), ("NEM", 4), ("WPM", 4)])
    def test_dividends_per_year(self, market: dict[str, pd.DataFrame], symbol: str, a_year: int) -> None:
        dividend = market[symbol]["dividend"]
        paid = dividend[dividend > 0].groupby(dividend[dividend > 0].index.year).count()
        assert (paid.loc[2018:2025] == a_year).all()

    @pytest.mark.parametrize("symbol", ["SLV", "GLD", "SI=F", "GC=F"])
    def test_metals_pay_nothing(self, market: dict[str, pd.DataFrame], symbol: str) -> None:
        assert market[symbol]["dividend"].eq(0).all()

    def test_no_dividend_in_the_month_of_the_fall_nor_on_a_fact(self, market: dict[str, pd.DataFrame]) -> None:
        assert all(b.loc["2026-01", "dividend"].eq(0).all() for b in market.values())
        for row in anchor_rows():
            assert market[row["symbol"]].loc[row["session_date"], "dividend"] == 0

    def test_one_split_without_a_jump(self, market: dict[str, pd.DataFrame], returns: pd.DataFrame) -> None:
        splits = {s: b["split_ratio"][b["split_ratio"] != 1] for s, b in market.items()}
        assert {s: x.to_dict() for s, x in splits.items() if len(x)} == {"AEM": {pd.Timestamp("2021-06-15"): 2.0}}
        assert abs(returns.loc["2021-06-15", "AEM"]) < 0.1


class TestDeterminism:
    @pytest.mark.parametrize("as_of", [dt.date(2019, 5, 3), AS_OF, dt.date(2026, 2, 3)])
    def test_moving_the_as_of_date_only_adds_sessions(self, market: dict[str, pd.DataFrame], as_of: dt.date) -> None:
        for symbol, outcome in deliver(as_of).items():
            later = market[symbol].loc[: pd.Timestamp(as_of)]
            if outcome.status is FetchStatus.EMPTY:
                assert later.empty
                continue
            earlier = outcome.bars.set_index("session_date")
            pd.testing.assert_frame_equal(earlier.drop(columns="adj_close"), later.drop(columns="adj_close"))
            assert earlier["adj_close"].iloc[-1] == earlier["close"].iloc[-1]

    def test_a_new_dividend_restates_adjusted_closes_only(self, market: dict[str, pd.DataFrame]) -> None:
        ex_date = market["NEM"]["dividend"].loc["2026-02-01":].gt(0).idxmax()
        before = deliver((ex_date - pd.Timedelta(days=1)).date())["NEM"].bars.set_index("session_date")
        restated = market["NEM"].loc[: before.index[-1], "adj_close"] / before["adj_close"]
        paid = 1 - market["NEM"].loc[ex_date, "dividend"] / before["close"].iloc[-1]
        np.testing.assert_allclose(restated, paid, rtol=1e-12)
        assert paid < 1

    def test_other_instruments_and_their_order_do_not_matter(self, market: dict[str, pd.DataFrame]) -> None:
        from orchestration.sources import sample_market

        sample_market.history.cache_clear()
        sample_market.log_path.cache_clear()
        again = deliver(LATER, (made_up("NEWCO"), *reversed(UNIVERSE)))
        for symbol, rows in market.items():
            pd.testing.assert_frame_equal(again[symbol].bars.set_index("session_date"), rows)

    def test_a_changed_result_of_the_caller_does_not_come_back(self) -> None:
        instrument = made_up("NEWCO")
        rows = one(instrument)
        rows["close"] = 0.0
        assert one(instrument)["close"].min() > 0

    def test_prices_of_this_release(self, market: dict[str, pd.DataFrame]) -> None:
        """Literal prices: a change of the simulation, or of a library under it, shows here first."""
        found = {
            (symbol, day): market[symbol].loc[day, ["open", "high", "low", "close"]].tolist() for symbol, day in PINNED
        }
        assert found == PINNED


class TestUsersOwnInstrument:
    def test_junior_follows_the_juniors(self, market: dict[str, pd.DataFrame]) -> None:
        rows = one(made_up("NEWCO"))
        own = rows["close"].pct_change()
        assert rows["close"].iloc[0] > 1
        assert 0.3 < own.corr(market["SILJ"]["close"].pct_change()) < 0.95
        assert own[FALL] < -0.07

    def test_two_instruments_differ(self) -> None:
        assert not one(made_up("NEWCO"))["close"].equals(one(made_up("OTHER"))["close"])

    @pytest.mark.parametrize(
        "changes",
        [
            {"asset_class": "etf", "tier": "metal", "calendar": "XLON", "currency": "GBp", "tick_size": 0.5},
            {"asset_class": "metal", "tier": "metal", "metal": "gold", "calendar": "CMES", "tick_size": 0.1},
            {"asset_class": "index", "tier": "benchmark", "metal": "", "calendar": "XTSE", "currency": "CAD"},
            {"tier": "royalty", "metal": "gold", "calendar": "XSAU", "currency": "SAR"},  # trades on Sundays
            {"tier": "senior", "metal": "", "calendar": "XASX", "currency": "AUD", "tick_size": 0.005},
            {"calendar": "24/7", "active_from": "2024-02-29"},
        ],
        ids=lambda c: c["calendar"],
    )
    def test_any_row_gives_valid_bars(self, changes: dict[str, object]) -> None:
        instrument = made_up("NEWCO", **changes)
        rows = one(instrument).reset_index()
        held = calendar.sessions(instrument.calendar, instrument.active_from or SAMPLE_FIRST_SESSION, LATER)
        closed = pd.DatetimeIndex(held["session_date"])
        result = validate(rows, closed, closed)
        assert result.rejected.empty
        assert (result.accepted["bar_quality"] == "ok").all()
        assert len(result.accepted) == held["bar_expected"].sum()


class TestRequests:
    def test_range_includes_both_ends(self) -> None:
        source = SampleSource(UNIVERSE, AS_OF)
        (outcome,) = source.fetch([ask("SIL", dt.date(2026, 1, 26), dt.date(2026, 1, 28))])
        assert [str(d.date()) for d in outcome.bars["session_date"]] == [
            "2026-01-26",
            "2026-01-27",
            "2026-01-28",
        ]
        whole = deliver(AS_OF)["SIL"].bars.set_index("session_date")
        assert outcome.bars["adj_close"].tolist() == whole.loc["2026-01-26":"2026-01-28", "adj_close"].tolist()

    def test_nothing_after_the_as_of_date(self) -> None:
        (outcome,) = SampleSource(UNIVERSE, AS_OF).fetch([ask("SIL", end=LATER)])
        assert outcome.bars["session_date"].max() == FALL

    def test_range_without_sessions_is_empty(self) -> None:
        source = SampleSource(UNIVERSE, AS_OF)
        weekend = ask("SIL", dt.date(2026, 1, 24), dt.date(2026, 1, 25))
        later = ask("SIL", dt.date(2026, 2, 2), LATER)
        assert [o.status for o in source.fetch([weekend, later])] == [FetchStatus.EMPTY, FetchStatus.EMPTY]
        assert [len(o.bars) for o in source.fetch([weekend, later])] == [0, 0]

    def test_not_listed_yet_is_empty(self) -> None:
        assert deliver(dt.date(2025, 12, 10))["AUAU"].status is FetchStatus.EMPTY
        instrument = made_up("NEWCO", active_from="2027-01-04")
        assert deliver(AS_OF, (instrument,))["NEWCO"].status is FetchStatus.EMPTY

    def test_unknown_symbol_does_not_hurt_the_others(self) -> None:
        source = SampleSource(UNIVERSE, AS_OF)
        outcomes = list(source.fetch([ask("NOSUCH"), ask("SIL")]))
        assert [o.status for o in outcomes] == [FetchStatus.UNKNOWN_SYMBOL, FetchStatus.OK]
        assert "NOSUCH" in outcomes[0].detail
        assert outcomes[0].bars.empty

    def test_requests_name_the_source_symbol(self) -> None:
        (outcome,) = SampleSource(UNIVERSE, AS_OF).fetch([ask("FRES", source_symbol="FRES.L")])
        assert outcome.status is FetchStatus.OK

    @pytest.mark.parametrize("as_of", [dt.date(2018, 1, 1), dt.date(2026, 3, 7)])
    def test_as_of_outside_the_history(self, as_of: dt.date) -> None:
        with pytest.raises(ValueError, match="allowed: a date from 2018-01-02 to 2026-03-06"):
            SampleSource(UNIVERSE, as_of)

    def test_first_session_alone(self) -> None:
        outcome = deliver(SAMPLE_FIRST_SESSION)["SIL"]
        assert len(outcome.bars) == 1

    def test_is_local(self) -> None:
        assert SampleSource(UNIVERSE, AS_OF).local


def test_anchors_are_package_files() -> None:
    assert Path(PROJECT_ROOT / "orchestration" / "sources" / "sample_anchors.csv").is_file()
    assert len(anchor_rows()) == 74
