"""Tests of levels, on cases that can be counted by hand and beside a plain loop. All prices are made up."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orchestration.evidence.level_statistics import level_statistics
from orchestration.evidence.levels import Bars, LevelTest, level_tests, moved, round_numbers
from orchestration.evidence.tables import table

FIRST = np.datetime64("2020-01-01", "D")


def line(price: float, sessions: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((1, sessions), price), np.full((1, sessions), price)


def bars(*closes: float, low: dict[int, float] | None = None) -> Bars:
    close = np.array(closes, dtype=float)
    lows = close.copy()
    for place, price in (low or {}).items():
        lows[place] = price
    return Bars(lows, close, close, np.full(len(close), np.nan))


@pytest.mark.parametrize(
    ("closes", "low", "found"),
    [
        # away, a bar within 1 %, then away again on the old side
        ((110, 102, 103), {1: 100.9}, [("above", 1, True)]),
        # the bar itself counts for neither
        ((110, 102), {1: 100.9}, []),
        ((110, 99, 98, 97), {}, [("above", 1, False)]),
        # one close beyond is no failure
        ((110, 100.5, 99, 100.5, 102), {}, [("above", 1, True)]),
        # reached, but not from away: 1 % is not more than 1 %
        ((101, 100, 102), {}, []),
        ((90, 99.5, 98), {}, [("below", 1, True)]),
        ((90, 99.5, 101, 102), {}, [("below", 1, False)]),
        # not near enough
        ((110, 104, 106), {1: 101.1}, []),
        # the second one begins after the first has ended
        ((110, 100.5, 102, 100.5, 102), {}, [("above", 1, True), ("above", 3, True)]),
        # open after 21 sessions
        ((110, *[100.5] * 22, 102, 100.5, 102), {}, [("above", 24, True)]),
        ((110, *[100.5] * 21, 102), {}, [("above", 1, True)]),
    ],
)
def test_a_test_of_a_level(closes: tuple[float, ...], low: dict[int, float], found: list[tuple[Any, ...]]) -> None:
    tests = list(level_tests(bars(*closes, low=low), *line(100.0, len(closes))))
    assert tests == [LevelTest(*test) for test in found]


def test_half_the_average_range_is_away() -> None:
    held = bars(110, 100.5, 102, 104)
    wide = Bars(held.low, held.high, held.close, np.full(4, 6.0))
    assert [test.place for test in level_tests(wide, *line(100.0, 4))] == [1]
    assert list(level_tests(Bars(held.low[:3], held.high[:3], held.close[:3], np.full(3, 6.0)), *line(100.0, 3))) == []


def test_a_zone_is_met_at_the_near_edge_and_fails_beyond_the_far_one() -> None:
    lower, upper = np.full((1, 5), 95.0), np.full((1, 5), 100.0)
    assert list(level_tests(bars(110, 98, 97, 96, 102), lower, upper)) == [LevelTest("above", 1, True)]
    assert list(level_tests(bars(110, 98, 94, 93, 102), lower, upper)) == [LevelTest("above", 1, False)]
    assert list(level_tests(bars(90, 96, 97, 101, 102), lower, upper)) == [LevelTest("below", 1, False)]


def test_where_no_level_is_watched_none_is_tested() -> None:
    lower, upper = line(100.0, 4)
    lower[:, :2] = upper[:, :2] = np.nan
    assert list(level_tests(bars(110, 100.5, 102, 103), lower, upper)) == []


def plain_tests(bars: Bars, level: float) -> Iterator[LevelTest]:
    """The same, one bar after the other."""
    place = 1
    while place < len(bars.close):

        def away(at: int) -> int:
            least = round(max(0.01 * level, bars.atr[at] / 2), 6)
            off = round(bars.close[at] - level, 6)
            return 1 if off > least else -1 if off < -least else 0

        from_above = away(place - 1) > 0 and round(bars.low[place], 6) <= round(1.01 * level, 6)
        from_below = away(place - 1) < 0 and round(bars.high[place], 6) >= round(0.99 * level, 6)
        if not from_above and not from_below:
            place += 1
            continue
        sign, beyond, end = (1 if from_above else -1), 0, place + 21
        for at in range(place + 1, min(place + 22, len(bars.close))):
            beyond = beyond + 1 if round(sign * (bars.close[at] - level), 6) < 0 else 0
            if sign * away(at) > 0 or beyond == 2:
                yield LevelTest("above" if sign > 0 else "below", place, beyond < 2)
                end = at
                break
        place = end + 1


@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_a_plain_loop_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.015, 3_000)))
    spread = close * np.abs(rng.normal(0, 0.01, 3_000))
    walk = Bars(close - spread, close + spread, close, np.full(3_000, 1.5 * close.std() / 50))
    level = float(np.quantile(close, 0.4))
    found = list(level_tests(walk, *line(level, 3_000)))
    both = np.array([np.full(3_000, level), np.full(3_000, level * 1.1)])
    assert list(level_tests(walk, both, both)) == [*found, *level_tests(walk, both[1:], both[1:])]
    assert found == list(plain_tests(walk, level))
    assert len(found) > 10


def test_placebo_leaves_out_what_is_near_a_watched_level() -> None:
    lower = np.full(3, 100.0)
    edges, _ = moved(lower, lower, np.array([lower, np.full(3, 109.5)]))
    shifts = edges[:, 0].tolist()
    assert len(shifts) == 19
    assert 109.0 not in np.round(shifts, 6)
    assert sorted(np.round(shifts, 6))[:2] == [70.0, 73.0]


def test_round_numbers_have_the_step_of_their_magnitude() -> None:
    assert round_numbers(8, 31).tolist() == [8, 9, 10, 20, 30]
    assert round_numbers(8, 31, 0.37) == pytest.approx([8.37, 9.37, 13.7, 23.7])


def test_each_level_and_kind_is_counted_and_hindsight_said() -> None:
    """A zigzag that turns at 104 again and again; a split halves the prices as traded on the way."""
    close = np.tile([128.0, 116, 104, 116], 60)
    days = FIRST + np.arange(len(close)) * np.timedelta64(1, "D")
    splits = np.where(np.arange(len(close)) < 120, 2.0, 1.0)
    traded = close * splits / 2
    prices = pa.table(
        {"symbol": ["A"] * len(close), "session_date": pa.array(days), "low": traded, "high": traded, "close": traded,
         "atr_14": np.full(len(close), np.nan), "splits_to_come": splits}
    )  # fmt: skip
    known = days[100].astype(object)
    level = {"symbol": "A", "kind": "support", "active_from": dt.date(2019, 1, 1), "known_since": known}
    levels = [
        level | {"level_id": "turns", "lower": 104.0, "upper": 104.0},
        level | {"level_id": "never", "lower": 10.0, "upper": 10.0, "known_since": None},
    ]
    found = table("level_statistics", level_statistics(prices, levels)).to_pylist()
    rows = {(row["scope"], row["level_id"], row["side"], row["in_hindsight"]): row for row in found}
    turns = rows["level", "turns", "above", False]
    assert (turns["tests"], turns["held"]) == (35, 35)
    assert turns["finding"] in ("above", "not different")
    hindsight = rows["level", "turns", "above", True]
    assert (hindsight["tests"], hindsight["finding"]) == (25, "in hindsight")
    assert rows["kind", None, "above", False]["tests"] == 35
    assert turns["placebo_tests"] > 0
    assert ("level", "never", "above", False) not in rows
    assert any(row["scope"] == "round_numbers" and row["symbol"] == "A" for row in found)
