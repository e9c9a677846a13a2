"""The sell-off of 30 January 2026 on real prices: run with OREWATCH_REAL_FILES=<drop folder>; skipped without.

The expected figures are facts about those prices (returns, ranks, dates), computed independently with R's
PerformanceAnalytics and pandas from the same vendor's series.
"""

import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest

from orchestration.settings import Settings
from orchestration.storage.warehouse import rows
from tests.jobs import published, run_job

FOLDER = os.environ.get("OREWATCH_REAL_FILES")

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
    bars = rows(settings.warehouse_path, "select * from int_adjusted_close where symbol = ? order by 2", [symbol])
    ours, theirs = bars[-1]["adj_close"], bars[-1]["vendor_adj_close"]
    worst = max(abs(bar["adj_close"] / ours / (bar["vendor_adj_close"] / theirs) - 1) for bar in bars)
    assert len(bars) > 4000
    assert worst < 1e-6
