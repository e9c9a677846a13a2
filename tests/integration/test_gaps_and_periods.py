"""Gaps taken apart, falls from peaks, and returns of weeks, months, quarters and years, beside pandas."""

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from orchestration.duckdb_io import rows
from orchestration.market.calendar import closed_sessions
from orchestration.settings import Settings

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
FREQUENCIES = {"week": "W-SUN", "month": "M", "quarter": "Q", "year": "Y"}


@pytest.fixture(scope="module")
def market(sample_home: Path) -> Path:
    return Settings(home=sample_home).paths.warehouse


def table(market: Path, sql: str) -> pd.DataFrame:
    """Of the warehouse, with timestamps instead of dates."""
    found = pd.DataFrame(rows(market, sql))
    for name in found.columns[found.columns.str.endswith(("_date", "_start", "_end", "_session"))]:
        found[name] = pd.to_datetime(found[name])
    return found


@pytest.fixture(scope="module")
def indexes(market: Path) -> pd.DataFrame:
    """Total-return index: one column per symbol."""
    bars = table(market, "select symbol, session_date, total_return_index from daily_bars")
    return bars.pivot_table(index="session_date", columns="symbol", values="total_return_index")


@pytest.mark.parametrize(
    ("pair_id", "long", "short", "metal"),
    [
        ("silver_juniors_to_seniors", "SILJ", "SIL", "SLV"),
        ("gold_juniors_to_seniors", "GDXJ", "GDX", "GLD"),
    ],
)
def test_a_gap_is_its_metals_part_and_a_rest(
    market: Path, indexes: pd.DataFrame, pair_id: str, long: str, short: str, metal: str
) -> None:
    betas = table(market, "select symbol, session_date, beta_252 from sector_relative").pivot_table(
        index="session_date", columns="symbol", values="beta_252"
    )
    paired = indexes[[long, short, metal]].dropna(subset=[long, short])
    returns = paired.pct_change(fill_method=None)
    beta = (betas[long] - betas[short]).reindex(paired.index).shift(1)
    expected = pd.DataFrame({"gap": returns[long] - returns[short], "metal_part": beta * returns[metal]})
    expected["rest"] = expected["gap"] - expected["metal_part"]
    for name in ("gap", "metal_part", "rest"):
        expected[f"{name}_21d"] = expected[name].rolling(21).sum()
    before = expected["rest_21d"].shift(1).rolling(252)
    expected["rest_z_252"] = (expected["rest_21d"] - before.mean()) / before.std()
    sign_of = expected["rest_21d"].gt(0), expected["rest_21d"].shift(5).gt(0)
    is_larger = expected["rest_21d"].abs() > expected["rest_21d"].shift(5).abs()
    state = is_larger.map({True: "widening", False: "narrowing"}).where(sign_of[0] == sign_of[1], "turned")
    state = state.where(expected["rest_21d"].shift(5).notna())

    found = table(market, f"select * from gap_parts where pair_id = '{pair_id}'")  # noqa: S608
    found = found.set_index("session_date").sort_index()
    pd.testing.assert_frame_equal(found[expected.columns], expected, rtol=0, atol=1e-9, check_freq=False)
    assert found["rest_z_252"].notna().sum() > 1_000
    assert (
        found["state_rest"].where(found["state_rest"].notna(), None).tolist()
        == state.where(state.notna(), None).tolist()
    )
    assert (found["metal_symbol"] == metal).all()


def test_pairs_without_a_common_metal_are_not_taken_apart(market: Path) -> None:
    (row,) = rows(
        market,
        "select count(gap) as gaps, count(metal_part) as parts, count(rest) as rests from gap_parts"
        " where pair_id = 'gold_to_silver'",
    )
    assert row["gaps"] > 1_000
    assert (row["parts"], row["rests"]) == (0, 0)


def test_a_pair_is_judged_by_the_rest_where_it_is_known(market: Path) -> None:
    expected = set()
    for row in rows(market, "select * from gap_parts inner join pair_spreads using (pair_id, session_date)"):
        by_rest = row["rest_z_252"] is not None
        if row["rest_widening_began"] if by_rest else row["widening_began"]:
            gap, z = (row["rest_21d"], row["rest_z_252"]) if by_rest else (row["spread_21d"], row["z_252"])
            expected.add((row["pair_id"], row["session_date"], "down" if gap < 0 else "up", abs(z), by_rest))
    signals = rows(market, "select * from market_signals where signal = 'pair'")
    assert {(s["pair_id"], s["session_date"], s["direction"], s["strength"]) for s in signals} == {
        event[:4] for event in expected
    }
    assert {event[4] for event in expected} == {True, False}


@pytest.mark.parametrize("period", FREQUENCIES)
def test_a_period_returns_what_the_index_grew(market: Path, indexes: pd.DataFrame, period: str) -> None:
    found = table(market, f"select * from period_returns where period = '{period}'")  # noqa: S608
    points = {
        row["symbol"] for row in rows(market, "select symbol from returns group by 1 having count(return_1d) = 0")
    }
    assert set(found["symbol"]) == set(indexes.columns) - points
    for symbol, ours in found.groupby("symbol"):
        index = indexes[symbol].dropna()
        last = index.groupby(index.index.to_period(FREQUENCIES[period])).last()
        ours = ours.set_index("period_start").sort_index()
        assert ours.index.equals(pd.DatetimeIndex(last.index.start_time, name="period_start"))
        assert ours["period_end"].tolist() == last.index.end_time.normalize().tolist()
        expected = last.pct_change(fill_method=None).to_numpy()
        assert (
            ours["period_return"].notna().sum() >= len(expected) - 3
        )  # the first has no base, nor what follows a hole
        known = ours["period_return"].notna().to_numpy()
        assert abs(ours["period_return"].to_numpy()[known] - expected[known]).max() < 1e-9
        complete = ours[ours["is_complete"]]
        assert ours["periods"].unique().tolist() == [len(complete)]
        assert (
            complete["rank"].tolist()
            == complete["period_return"].round(12).rank(ascending=False, method="min").tolist()
        )
        assert ours.loc[~ours["is_complete"], "rank"].isna().all()


@pytest.mark.parametrize(("period", "is_over"), [("week", True), ("month", True), ("quarter", False), ("year", False)])
def test_what_has_closed_on_its_last_weekday_is_complete(market: Path, period: str, is_over: bool) -> None:
    sessions = closed_sessions("XNYS", NOW)["session_date"]
    assert sessions.max() == pd.Timestamp(2026, 1, 30)
    of_slv = rows(
        market,
        "select is_complete, last_session from period_returns"  # noqa: S608
        f" where symbol = 'SLV' and period = '{period}' order by period_start",
    )
    assert of_slv[-1] == {"is_complete": is_over, "last_session": dt.date(2026, 1, 30)}
    assert {row["is_complete"] for row in of_slv[1:-1]} == {True}
    assert of_slv[0]["is_complete"] is False


def test_falls_from_a_peak_of_five_percent_and_more(market: Path, indexes: pd.DataFrame) -> None:
    expected = set()
    for symbol in indexes.columns:
        index = indexes[symbol].dropna()
        peak = trough = 0
        for at in range(1, len(index) + 1):
            is_back = at < len(index) and index.iloc[at] >= index.iloc[peak] * (1 - 1e-12)
            if at == len(index) or is_back:
                if index.iloc[trough] / index.iloc[peak] - 1 <= -0.05:
                    end = index.index[at] if is_back else None
                    expected.add((symbol, index.index[peak], index.index[trough], end, trough - peak, at - trough))
                peak = trough = at
            elif round(index.iloc[at] / index.iloc[peak], 12) < round(index.iloc[trough] / index.iloc[peak], 12):
                trough = at
    expected = {(*row[:5], None if row[3] is None else row[5]) for row in expected}
    columns = ["symbol", "peak_date", "trough_date", "recovery_date", "sessions_down", "sessions_up"]
    found = table(market, "select * from drawdown_episodes")
    ours = found[columns].astype(object).where(found[columns].notna(), None)
    assert set(ours.itertuples(index=False, name=None)) == expected
    assert len(expected) > 300
    deepest = found.loc[found["symbol"] == "SI=F"].sort_values("depth").iloc[0]
    assert deepest["depth"] < -0.3
