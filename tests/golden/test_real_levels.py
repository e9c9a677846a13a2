"""Levels on real prices against the plain loop, over the whole history: run with OREWATCH_REAL_FILES=<drop folder>."""

import os
from pathlib import Path

import pytest

from orchestration.settings import DBT_PROJECT_DIR, Settings
from tests.jobs import published, run_job, write_seeds
from tests.levels_oracle import Bar, Found, Level, Watched, ticked

FOLDER = os.environ.get("OREWATCH_REAL_FILES")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not FOLDER, reason="OREWATCH_REAL_FILES is not set: a drop folder of real prices"),
]

# Beside those that are shipped: 50, 54, 56, 100 and the zone 54-56 of SI=F.
MORE_LEVELS = "".join(
    f"level_{number},{symbol},{lower},{upper},support,{since},\n"
    for number, (symbol, lower, upper, since) in enumerate(
        [
            *(("SI=F", price, price, "2000-01-01") for price in (5, 10, 15, 20, 25, 30, 35, 40)),
            ("SI=F", 28, 30, "2000-01-01"),
            ("SI=F", 17.5, 17.6, "2010-01-04"),
            *(("SLV", price, price, "2000-01-01") for price in (15, 20, 30, 100)),
            ("SLV", 15, 17, "2020-01-02"),
            ("GDX", 30, 30, "2006-06-01"),
        ]
    )
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("levels")
    shipped = (DBT_PROJECT_DIR / "seeds" / "price_levels.csv").read_text("utf-8")
    seeds = write_seeds(folder / "seeds", price_levels=shipped + MORE_LEVELS)
    settings = Settings(source="files", files=Path(FOLDER or ""), home=folder / "home", seeds=seeds)
    assert run_job(settings).success
    return settings


def watched(settings: Settings, symbol: str) -> Watched:
    """The published bars as traded, with the instrument's levels."""
    from orchestration.market.universe import load_universe

    universe = load_universe(settings.seeds)
    tick = universe.instrument(symbol).tick_size
    rows = published(settings, "select * from daily_bars where symbol = ? order by session_date", symbol)
    bars, position = [], 0
    for row in rows:
        position += row["sessions_since_previous"] or 1
        factor = row["close_as_traded"] / row["close"]
        traded = {
            name: None if row[name] is None else ticked(row[name] * factor, tick)
            for name in ("open", "high", "low", "close")
        }
        bars.append(Bar(row["session_date"], **traded, split=row["split_ratio"], position=position))
    levels = [Level(x.level_id, x.lower, x.upper, x.active_from) for x in universe.levels if x.symbol == symbol]
    return Watched(symbol, bars, levels, tick)


@pytest.mark.parametrize("symbol", ["SI=F", "GC=F", "SLV", "GDX"])
def test_every_event_is_the_loops_event(symbol: str, settings: Settings) -> None:
    instrument = watched(settings, symbol)
    rows = published(
        settings,
        "select level_id, session_date, event, direction, level, is_repeat, coalesce(role_before, ''),"
        " coalesce(role_after, ''), coalesce(levels_crossed, '') from level_events where symbol = ?",
        symbol,
    )
    found, expected = sorted(Found(*row.values()) for row in rows), sorted(instrument.events())
    # An old price in the shares of today may lie between two ticks.
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.level == pytest.approx(theirs.level, abs=instrument.tick * 1.001)
        assert {**vars(ours), "level": 0} == {**vars(theirs), "level": 0}
    assert len(found) > 400
    assert len({event.level_id for event in found}) >= len(instrument.levels)


def test_silver_at_its_levels(settings: Settings) -> None:
    rows = published(
        settings,
        "select session_date, level_id, event, direction, role_after from level_events where symbol = 'SI=F'"
        " and level_id in"
        " ('silver_54_resistance', 'silver_56_resistance', 'silver_54_56_zone', 'silver_100_psychological')"
        " and session_date between '2025-08-01' and '2026-03-31' order by session_date, level_id, event",
    )
    found = [(str(r["session_date"]), r["level_id"].split("_", 1)[1], *list(r.values())[2:]) for r in rows]
    assert found == [
        ("2025-11-13", "54_56_zone", "pierce_rejected", "up", "resistance"),
        ("2025-11-13", "54_resistance", "pierce_rejected", "up", "resistance"),
        ("2025-11-28", "54_56_zone", "zone_crossed_through", "up", "resistance"),
        ("2025-11-28", "54_resistance", "close_cross", "up", "resistance"),
        ("2025-11-28", "56_resistance", "close_cross", "up", "resistance"),
        ("2025-12-01", "54_56_zone", "confirmed", "up", "resistance"),
        ("2025-12-01", "54_56_zone", "role_flip", "up", "support"),
        ("2025-12-01", "54_resistance", "confirmed", "up", "resistance"),
        ("2025-12-01", "54_resistance", "role_flip", "up", "support"),
        ("2025-12-01", "56_resistance", "confirmed", "up", "resistance"),
        ("2025-12-01", "56_resistance", "role_flip", "up", "support"),
        ("2025-12-04", "56_resistance", "retest_held", "up", "support"),
        ("2026-01-23", "100_psychological", "close_cross", "up", "resistance"),
        ("2026-01-26", "100_psychological", "confirmed", "up", "resistance"),
        ("2026-01-26", "100_psychological", "role_flip", "up", "support"),
        ("2026-01-30", "100_psychological", "close_cross", "down", "support"),
        ("2026-01-30", "100_psychological", "retest_failed", "down", "support"),
        ("2026-02-02", "100_psychological", "confirmed", "down", "support"),
        ("2026-02-02", "100_psychological", "role_flip", "down", "resistance"),
    ]
    (sweep,) = published(
        settings,
        "select levels_crossed, level, price_source from level_events where level_id = 'SI=F:round_numbers'"
        " and session_date = '2026-01-30'",
    )
    assert sweep == {
        "levels_crossed": "110, 100, 90, 80",
        "level": 80,
        "price_source": "Silver futures (front month), SI=F",
    }
