"""The sell-off of 30 January 2026 on real prices: run with OREWATCH_REAL_FILES=<drop folder>; skipped without.

The expected figures are facts about those prices (returns, ranks, dates), computed independently with R's
PerformanceAnalytics and pandas from the same vendor's series.
"""

import datetime as dt
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from orchestration.duckdb_io import rows
from orchestration.settings import Settings
from tests.jobs import published, run_job

FOLDER = os.environ.get("OREWATCH_REAL_FILES")
# A drop folder of long, dividend-adjusted closes alone, and R's scores of the moves of SLV in the first folder.
CLOSES = os.environ.get("OREWATCH_REAL_CLOSES")
SCORES = os.environ.get("OREWATCH_REAL_SCORES")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not FOLDER, reason="OREWATCH_REAL_FILES is not set: a drop folder of real prices"),
]

FALLS = {
    "SIL": -14.78,
    "AUAU": -12.56,
    "SILJ": -15.02,
    "GDX": -12.76,
    "GDXJ": -13.63,
    "SLV": -28.54,
    "SI=F": -31.35,
    "GC=F": -11.37,
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(source="files", files=Path(FOLDER or ""), home=tmp_path_factory.mktemp("home"))
    assert run_job(settings).success
    return settings


def test_falls_of_the_day(settings: Settings) -> None:
    rows = published(settings, "select symbol, return_1d from returns where session_date = '2026-01-30'")
    found = {row["symbol"]: round(100 * row["return_1d"], 2) for row in rows}
    assert {symbol: found[symbol] for symbol in FALLS} == FALLS


def test_year_to_date_of_sil_on_price(settings: Settings) -> None:
    (row,) = published(settings, "select * from returns where symbol = 'SIL' and session_date = '2026-01-30'")
    assert round(100 * row["price_return_ytd"], 2) == 12.91
    assert row["base_date_ytd"] == dt.date(2025, 12, 31)


@pytest.mark.parametrize(
    ("symbol", "rank", "of", "since"),
    [
        ("SI=F", 1, 6379, None),
        ("SLV", 1, 4970, None),
        ("GC=F", 1, None, None),
        ("AUAU", 1, 33, None),
        ("GDX", 7, 4954, dt.date(2020, 3, 18)),
        ("GDXJ", 3, 4078, dt.date(2020, 3, 18)),
    ],
)
def test_rank_and_largest_since(
    symbol: str, rank: int, of: int | None, since: dt.date | None, settings: Settings
) -> None:
    (row,) = published(settings, "select * from large_moves where symbol = ? and session_date = '2026-01-30'", symbol)
    assert (row["rank_since_inception"], row["largest_since"], row["is_record"]) == (rank, since, since is None)
    assert of is None or row["returns_since_inception"] == of


def test_the_record_falls_broke_every_rule_of_their_day(settings: Settings) -> None:
    rows = published(
        settings,
        "select symbol, list(distinct measure order by measure) as measures, bool_and(direction = 'down') as down,"
        " bool_or(bridges_gap) as gap from move_rule_hits where session_date = '2026-01-30'"
        " and symbol in ('SI=F', 'SLV') group by symbol order by symbol",
    )
    silver = ["cumulative_return", "percentile", "return_1d", "robust_z", "z_ewma", "z_score"]
    assert [(r["symbol"], r["measures"], r["down"], r["gap"]) for r in rows] == [
        ("SI=F", silver, True, False),
        # the fund also opened far below and was traded four times as much as usual
        ("SLV", sorted([*silver, "opening_gap", "volume_ratio"]), True, False),
    ]


def test_front_month_futures_never_have_a_volume_rule(settings: Settings) -> None:
    (row,) = published(
        settings,
        "select count(volume_ratio_20) as ratios, count(is_volume_confirmed) as verdicts, count(*) as moves"
        " from large_moves where symbol in ('SI=F', 'GC=F')",
    )
    assert (row["ratios"], row["verdicts"]) == (0, 0)
    assert row["moves"] > 400


@pytest.mark.skipif(not SCORES, reason="OREWATCH_REAL_SCORES is not set: a CSV of TTR's scores of SLV")
def test_scores_of_slv_are_those_of_ttr(settings: Settings) -> None:
    theirs = pd.read_csv(str(SCORES), parse_dates=["Date"]).set_index("Date")
    scores = rows(settings.paths.warehouse, "select * from int_move_scores where symbol = 'SLV'")
    mine = pd.DataFrame(scores).set_index(pd.DatetimeIndex([row["session_date"] for row in scores]).as_unit("us"))
    both = theirs.index.intersection(mine.index)
    assert len(both) > 200
    for column, answer in {
        "return_1d": "ret",
        "z_21": "z_exante_mean0_21",
        "z_63": "z_exante_mean0_63",
        "robust_z_252": "z_mad_exante_252",
    }.items():
        ours, peers = mine.loc[both, column].to_numpy(), theirs.loc[both, answer].to_numpy()
        np.testing.assert_allclose(ours, peers, rtol=1e-9, atol=1e-12, err_msg=column)


@pytest.mark.skipif(not CLOSES, reason="OREWATCH_REAL_CLOSES is not set: a drop folder of long closes")
def test_fall_of_sil_was_the_largest_since_march_2020(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(source="files", files=Path(CLOSES or ""), home=tmp_path_factory.mktemp("closes"))
    assert run_job(settings).success
    (row,) = published(settings, "select * from large_moves where symbol = 'SIL' and session_date = '2026-01-30'")
    assert (row["rank_since_inception"], row["largest_since"]) == (2, dt.date(2020, 3, 13))
    assert (round(100 * row["return_1d"], 2), round(100 * row["largest_since_return"], 2)) == (-14.78, -17.10)
    assert (row["history_start"], row["sessions_since_largest"]) == (dt.date(2010, 4, 20), 1478)
    # closes alone: neither an open nor a volume
    assert (row["overnight_return"], row["volume_ratio_20"], row["is_volume_confirmed"]) == (None, None, None)


def test_impossible_bars_keep_their_close_and_lose_their_range(settings: Settings) -> None:
    def counted(sql: str) -> dict[str, Any]:
        return {row["symbol"]: row["n"] for row in published(settings, sql)}

    kept = counted(
        "select symbol, count(*) as n from daily_bars where bar_quality = 'range_rejected' and close > 0"
        " and open is null and high is null and low is null group by symbol"
    )
    demoted = counted("select symbol, count(*) as n from rejected_bars where severity = 'demoted' group by symbol")
    assert kept == demoted == {"SI=F": 243, "GC=F": 441, "AUAU": 1}
    (row,) = published(settings, "select * from rejected_bars where symbol = 'AUAU'")
    assert (row["session_date"], row["rule"]) == (dt.date(2026, 9, 28), "impossible_range")


def test_the_hole_of_sil_shows(settings: Settings) -> None:
    (row,) = published(settings, "select * from data_coverage where symbol = 'SIL'")
    assert (row["missing_sessions"], row["first_missing"], row["last_missing"]) == (
        165,
        dt.date(2025, 2, 4),
        dt.date(2025, 9, 30),
    )


@pytest.mark.parametrize("symbol", ["GDX", "GDXJ", "SLV", "GLD"])
def test_adjusted_closes_equal_the_vendors(symbol: str, settings: Settings) -> None:
    """With every dividend of the history, to the vendor's float32 precision; later dividends move all closes alike."""
    query = """
        select adj_close, close / (previous_close - dividend) as growth
        from int_bars
        where symbol = ?
        order by session_date
    """
    bars = rows(settings.paths.warehouse, query, [symbol])
    ours, theirs = np.cumprod([1.0, *(bar["growth"] for bar in bars[1:])]), np.array([bar["adj_close"] for bar in bars])
    worst = np.abs(ours / ours[-1] / (theirs / theirs[-1]) - 1).max()
    assert len(bars) > 4000
    assert worst < 1e-6
