"""The contracts behind a front-month series, through the genuine client: rolls, missing and expired months."""

import datetime as dt
from pathlib import Path

import pytest

from orchestration.ingest.lake import Lake
from tests.jobs import ClockedSettings, evaluations, published, run_job, write_seeds
from tests.yahoo_loopback import Fault, Market, YahooLoopback, weekdays

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")]

FIRST, LAST_OF_MARCH, LAST = dt.date(2026, 2, 17), dt.date(2026, 2, 27), dt.date(2026, 3, 31)
# The last session on which the series shows March, the one on which it shows May, and those after it.
BEFORE, ROLL, AFTER = dt.date(2026, 2, 25), dt.date(2026, 2, 26), dt.date(2026, 2, 27)
INSTRUMENTS = """\
symbol,source_symbol,name,asset_class,metal,tier,calendar,currency,tick_size,metal_symbol,sector_symbol,active_from,contract_months
SI=F,SI=F,Silver futures,metal,silver,metal,CMES,USD,0.001,,,,HK.CMX
AAA,AAA,AAA fund,etf,silver,senior,XNYS,USD,0.01,,,,
"""
SERIES = "select * from returns where symbol = 'SI=F' order by session_date"
FRONTS = "select session_date, contract from futures_contracts where is_front order by session_date"


def evening(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(23, 30), tzinfo=dt.UTC)


@pytest.fixture
def yahoo(yahoo_server: YahooLoopback) -> YahooLoopback:
    """May costs a tenth more than March; the series goes from one to the other."""
    market = Market(evening(BEFORE))
    days = weekdays(FIRST, LAST)
    market.add("AAA", days, kind="ETF")
    march = market.add("SIH26.CMX", days, kind="FUTURE")
    may = market.add("SIK26.CMX", days, kind="FUTURE")
    may.bars = {
        day: bar._replace(open=1.1 * bar.open, high=1.1 * bar.high, low=1.1 * bar.low, close=1.1 * bar.close)
        for day, bar in march.bars.items()
    }
    series = market.add("SI=F", days, kind="FUTURE")
    series.bars = {day: (march if day < ROLL else may).bars[day] for day in days}
    yahoo_server.faults.clear()
    yahoo_server.market = market
    return yahoo_server


def settings_on(home: Path, day: dt.date) -> ClockedSettings:
    return ClockedSettings(
        source="yahoo",
        home=home,
        seeds=write_seeds(
            home / "seeds",
            instruments=INSTRUMENTS,
            price_levels="level_id,symbol,lower,upper,kind,active_from,note\n",
            pairs="pair_id,long_symbol,short_symbol,kind,z_threshold\n",
            move_rules="rule_id,scope,scope_value,measure,sessions,threshold,note\ndaily,all,,return_1d,1,7%,\n",
            published_claims=(
                "claim_id,published_on,publisher,symbol,measure,argument,session_date,claimed,tolerance,note\n"
            ),
        ),
        moment=evening(day),
        yahoo_pause_seconds=0.0,
        yahoo_backoff_seconds=0.01,
        yahoo_attempts=2,
    )


@pytest.mark.slow
def test_a_roll_is_seen_said_and_kept(yahoo: YahooLoopback, tmp_path: Path) -> None:
    settings = settings_on(tmp_path, BEFORE)
    first = run_job(settings)
    assert first.success
    # May of next year is not listed yet, and no failure.
    assert evaluations(first)["fetch_outcome"].passed
    assert {row["contract"] for row in published(settings, FRONTS)} == {"SIH26.CMX"}
    rolls = [row["is_roll"] for row in published(settings, SERIES)]
    assert rolls[0] is None
    assert set(rolls[1:]) == {False}

    for day in (ROLL, AFTER):
        yahoo.market.now = evening(day)
        settings = settings_on(tmp_path, day)
        assert run_job(settings).success
    assert [row["contract"] for row in published(settings, FRONTS)][-3:] == ["SIH26.CMX", "SIK26.CMX", "SIK26.CMX"]
    assert {row["session_date"] for row in published(settings, SERIES) if row["is_roll"]} == {ROLL}
    (move,) = published(settings, "select * from large_moves where symbol = 'SI=F' and session_date = ?", ROLL)
    assert move["is_roll"]
    # No other instrument has anything of it.
    assert published(settings, "select distinct is_roll from returns where symbol = 'AAA'") == [{"is_roll": None}]
    assert {row["symbol"] for row in published(settings, "select symbol from instruments")} == {"SI=F", "AAA"}

    # March expires: the vendor has nothing of it any more, and here it stays.
    del yahoo.market.listings["SIH26.CMX"]
    yahoo.market.now = evening(dt.date(2026, 3, 30))
    settings = settings_on(tmp_path, dt.date(2026, 3, 30))
    later = run_job(settings)
    assert later.success
    assert evaluations(later)["fetch_outcome"].passed
    kept = published(settings, "select session_date, close from futures_contracts where contract = 'SIH26.CMX'")
    assert max(row["session_date"] for row in kept) == AFTER
    assert {row["session_date"] for row in published(settings, SERIES) if row["is_roll"]} == {ROLL}


@pytest.mark.slow
def test_a_contract_that_comes_late_shows_the_roll_after_all(yahoo: YahooLoopback, tmp_path: Path) -> None:
    yahoo.faults.set(Fault.RATE_LIMITED, "SIK26.CMX")
    yahoo.market.now = evening(AFTER)
    settings = settings_on(tmp_path, AFTER)
    result = run_job(settings)
    assert result.success
    assert not evaluations(result)["fetch_outcome"].passed
    by_day = {row["session_date"]: row["is_roll"] for row in published(settings, SERIES)}
    assert (by_day[BEFORE], by_day[ROLL], by_day[AFTER]) == (False, None, None)

    yahoo.faults.clear()
    assert run_job(settings).success
    by_day = {row["session_date"]: row["is_roll"] for row in published(settings, SERIES)}
    assert (by_day[BEFORE], by_day[ROLL], by_day[AFTER]) == (False, True, False)
    # Nothing of it is stored twice.
    bars = Lake(settings.paths.lake).read("bars", ["symbol", "session_date"]).to_pylist()
    assert len(bars) == len({(row["symbol"], row["session_date"]) for row in bars})
