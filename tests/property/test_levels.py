"""The level tables against a plain loop, on random walks across random levels: event for event."""

import datetime as dt
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestration.market.calendar import closed_sessions
from orchestration.settings import Settings
from tests.jobs import ClockedSettings, publish_tables, published
from tests.level_walks import cut, deliver, seeds, walk
from tests.levels_oracle import Found, Standing, Watched, ticked

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
SESSIONS = [d.date() for d in closed_sessions("XNYS", NOW)["session_date"]][-420:]
SEED = 20260130

ROWS = """
    select
        level_id, session_date, event, direction, level, is_repeat, coalesce(role_before, ''), coalesce(role_after, ''),
        coalesce(levels_crossed, '')
    from level_events
"""


@pytest.fixture(scope="module")
def market() -> list[Watched]:
    return [walk(f"W{number:02}", SESSIONS, SEED) for number in range(40)]


@pytest.fixture(scope="module")
def earlier(market: list[Watched]) -> list[Watched]:
    """The same market as it was known up to 150 bars earlier, each instrument at another time."""
    return [cut(watched, 1 + 37 * number % 150) for number, watched in enumerate(market)]


def refresh(home: Path, drop: Path, market: list[Watched]) -> Settings:
    settings = ClockedSettings(source="files", home=home, files=drop, seeds=seeds(home / "seeds", market), moment=NOW)
    publish_tables(settings)
    return settings


def found(settings: Settings) -> list[Found]:
    return sorted(Found(*row.values()) for row in published(settings, ROWS))


def ids(settings: Settings) -> list[dict[str, Any]]:
    return published(settings, "select * exclude (source) from level_events order by event_id")


class Homes:
    def __init__(self, folder: Path, market: list[Watched], earlier: list[Watched]) -> None:
        deliver(folder / "drop", earlier)
        first = refresh(folder / "chunks", folder / "drop", market)
        self.early, self.early_ids = found(first), ids(first)
        # The whole history on the basis of today: what was a price of 100 may be delivered as 50 now.
        deliver(folder / "drop", market)
        self.whole = refresh(folder / "chunks", folder / "drop", market)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, market: list[Watched], earlier: list[Watched]) -> Homes:
    return Homes(tmp_path_factory.mktemp("levels"), market, earlier)


def test_every_event_is_the_loops_event(homes: Homes, market: list[Watched]) -> None:
    expected = sorted(event for watched in market for event in watched.events())
    assert found(homes.whole) == expected
    # The walks are worth the name: everything happens often, repeated and not.
    seen = Counter((event.event, event.is_repeat) for event in expected)
    for event in ("close_cross", "gap_through", "pierce_rejected", "confirmed", "role_flip", "new_extreme"):
        assert seen[event, True] > 50, event
        assert seen[event, False] > 50, event
    for event in ("retest_held", "retest_failed", "zone_entered", "zone_exited", "zone_crossed_through"):
        assert seen[event, False] > 30, event
    assert seen["round_numbers_crossed", True] > 100
    assert sum(", " in event.levels_crossed for event in expected) > 20


def test_every_session_knew_where_the_level_stood(homes: Homes, market: list[Watched]) -> None:
    rows = published(
        homes.whole,
        "select level_id, session_date, lower, upper, coalesce(side, ''), coalesce(role, '') from level_daily",
    )
    standings = sorted(standing for watched in market for standing in watched.standings())
    assert sorted(Standing(*row.values()) for row in rows) == standings
    roles = Counter(standing.role for standing in standings)
    assert min(roles["support"], roles["resistance"], roles[""]) > 100


@pytest.mark.slow
def test_chunks_of_arrival_do_not_matter(homes: Homes, tmp_path: Path, market: list[Watched]) -> None:
    deliver(tmp_path / "drop", market)
    assert ids(homes.whole) == ids(refresh(tmp_path / "at_once", tmp_path / "drop", market))


def test_earlier_events_knew_nothing_of_later_bars(homes: Homes, earlier: list[Watched]) -> None:
    until = {watched.symbol: watched.bars[-1].day for watched in earlier}
    kept = [row for row in ids(homes.whole) if row["session_date"] <= until[row["symbol"]]]
    assert homes.early_ids == kept
    assert len(kept) > 1000


def test_no_event_without_a_crossing_and_no_crossing_without_an_event(homes: Homes, market: list[Watched]) -> None:
    """From the closes alone, without the loop: whose side of each line the closes were on, first to last."""
    crossings = {"close_cross", "gap_through"}
    events = {(e.level_id, e.day) for e in found(homes.whole) if e.event in crossings}
    expected = set()
    for watched in market:
        for level in watched.levels:
            if level.lower != level.upper:
                continue
            named = max(i for i, bar in enumerate(watched.bars) if bar.day <= level.active_from)
            # every close in the prices of the day that the level is named on
            factor, closes = 1.0, {}
            for bar in watched.bars[named + 1 :]:
                factor *= bar.split
                closes[bar.day] = bar.close * factor
            factor = 1.0
            for bar in reversed(watched.bars[: named + 1]):
                closes[bar.day] = bar.close * factor
                factor /= bar.split
            off_the_line = [(day, close > level.lower) for day, close in sorted(closes.items()) if close != level.lower]
            for (_, before), (day, after) in pairwise(off_the_line):
                if before != after and day >= level.active_from:
                    expected.add((level.level_id, day))
    assert events == expected
    assert len(expected) > 500


def test_the_status_is_that_of_the_last_bar(homes: Homes, market: list[Watched]) -> None:
    status = {row["level_id"]: row for row in published(homes.whole, "select * from level_status")}
    events = found(homes.whole)
    by_level: dict[str, list[Found]] = {}
    for event in events:
        by_level.setdefault(event.level_id, []).append(event)
    for watched in market:
        last = watched.bars[-1]
        for level in watched.levels:
            row = status[level.level_id]
            latest = by_level.get(level.level_id)
            assert (row["close"], row["session_date"]) == (last.close, last.day)
            assert row["last_event_date"] == (latest[-1].day if latest else None)
            if latest:
                assert row["role"] == (latest[-1].role_after or row["role"])
            gap = max(row["lower"] - last.close, last.close - row["upper"], 0)
            assert abs(row["distance"]) == pytest.approx(
                gap / (row["lower"] if last.close < row["lower"] else row["upper"]), abs=1e-12
            )
        above, below = (status[f"{watched.symbol}:round_number_{place}"] for place in ("above", "below"))
        assert below["upper"] <= last.close <= above["lower"]
        assert below["upper"] < above["lower"]
        factor, closes = 1.0, []
        for bar in reversed(watched.bars):
            closes.append(bar.close * factor)
            factor /= bar.split
        high, low = (status[f"{watched.symbol}:all_time_{name}"] for name in ("high", "low"))
        assert (high["upper"], low["lower"]) == (ticked(max(closes), watched.tick), ticked(min(closes), watched.tick))
        assert (high["side"], low["side"]) == (
            "at" if closes[0] == max(closes) else "below",
            "at" if closes[0] == min(closes) else "above",
        )
