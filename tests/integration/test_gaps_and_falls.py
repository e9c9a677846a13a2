"""Gaps taken apart, and falls from peaks, beside pandas and a plain loop."""

from pathlib import Path

import pandas as pd
import pytest

from orchestration.duckdb_io import rows
from orchestration.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def market(sample_home: Path) -> Path:
    return Settings(home=sample_home).paths.warehouse


def table(market: Path, sql: str) -> pd.DataFrame:
    """Of the warehouse, with timestamps instead of dates."""
    found = pd.DataFrame(rows(market, sql))
    for name in found.columns[found.columns.str.endswith("_date")]:
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
