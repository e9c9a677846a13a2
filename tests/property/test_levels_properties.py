"""Small histories of every shape through the SQL of the level models and through a plain loop."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.levels_oracle import Bar, Found, Level, Watched
from tests.levels_sql import LevelModels

pytestmark = pytest.mark.integration

FIRST = dt.date(2024, 1, 1)

moves = st.tuples(
    st.integers(-6, 6),  # close against the close before, in steps of a quarter
    st.integers(-3, 3),  # open against the close before
    st.integers(0, 3),  # high above the higher of both
    st.integers(0, 3),  # low below the lower of both
    st.sampled_from(["range", "range", "range", "range", "flat", "close"]),
    st.sampled_from([1, 1, 1, 1, 1, 2, 70]),  # sessions since the bar before
    st.sampled_from([1.0] * 20 + [2.0, 0.5]),  # split
)


@st.composite
def histories(draw: st.DrawFn) -> Watched:
    """Up to 60 bars on a grid of quarters, with two lines and two zones among them.

    With two splits at most, every price and every re-based level is on the tick of 1/32: which half of a tick a price
    between two ticks falls to is nothing that two implementations have to agree on.
    """
    price = draw(st.sampled_from([8.0, 10.0, 24.0, 100.0]))
    step = draw(st.sampled_from([0.25, 1.0]))
    bars: list[Bar] = []
    position = splits = 0
    for close, opened, above, below, kind, sessions, split in draw(st.lists(moves, min_size=2, max_size=60)):
        splits += split != 1.0
        if splits > 2:
            split = 1.0
        before = price / split
        price = max(before + close * step, 2.0)
        first = max(before + opened * step, 2.0)
        high, low = max(price, first) + above * step, max(min(price, first) - below * step, 1.0)
        position += sessions
        bar = Bar(FIRST + dt.timedelta(days=position), price, first, high, low, split, position)
        if kind == "flat":
            bar = replace(bar, open=price, high=price, low=price)
        elif kind == "close":
            bar = replace(bar, open=None, high=None, low=None)
        bars.append(bar)
    levels = []
    for number, width in enumerate((0.0, 0.0, 1.0, 4.0)):
        active_from = bars[draw(st.integers(0, len(bars) - 1)) if draw(st.booleans()) else 0].day
        lower = max(bars[draw(st.integers(0, len(bars) - 1))].close + step * draw(st.integers(-1, 1)), 1.0)
        levels.append(Level(f"level_{number}", lower, lower + width * step, active_from))
    return Watched("W", bars, levels)


@pytest.fixture(scope="module")
def models() -> LevelModels:
    return LevelModels()


CROSSINGS = {"close_cross", "gap_through", "zone_entered", "zone_exited", "zone_crossed_through"}


def many(examples: int) -> Any:
    """Of generated histories."""
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check_that_sql_and_loop_agree_and_neither_looks_ahead(models: LevelModels, watched: Watched, cut: int) -> None:
    events = models.events(watched)
    assert events == watched.events()
    keys = [(e.level_id, e.day, e.event) for e in events]
    assert len(set(keys)) == len(keys)

    # A flip comes with the second close, the second close comes with a crossing the bar before, a failed retest with
    # a crossing.
    days = [bar.day for bar in watched.bars]
    for event in events:
        at = days.index(event.day)
        if event.event == "role_flip":
            assert (event.level_id, event.day, "confirmed") in keys
            assert {event.role_before, event.role_after} == {"support", "resistance"}
        else:
            assert event.role_before == event.role_after
        if event.event == "confirmed":
            level = next(level for level in watched.levels if level.level_id == event.level_id)
            crossed = {(event.level_id, days[at - 1], crossing) for crossing in CROSSINGS}
            assert crossed & set(keys) or days[at - 1] < level.active_from
        if event.event == "retest_failed":
            assert {(event.level_id, event.day, crossing) for crossing in CROSSINGS} & set(keys)

    kept = max(len(watched.bars) - cut, 1)
    early = replace(watched, bars=watched.bars[:kept])
    still_named = [level for level in watched.levels if level.active_from <= early.bars[-1].day]
    early = replace(early, levels=still_named)
    # Extremes and round numbers need no name.
    not_yet_named = {level.level_id for level in watched.levels if level not in still_named}
    expected = [e for e in events if e.day <= early.bars[-1].day and e.level_id not in not_yet_named]
    assert models.events(early) == expected


def check_where_each_level_stood(models: LevelModels, watched: Watched) -> None:
    found, contradictions = models.standings(watched)
    assert found == watched.standings()
    assert contradictions == []


@many(15)
@given(watched=histories(), cut=st.integers(1, 59))
def test_sql_and_loop_agree_and_neither_looks_ahead(models: LevelModels, watched: Watched, cut: int) -> None:
    check_that_sql_and_loop_agree_and_neither_looks_ahead(models, watched, cut)


@pytest.mark.slow
@many(100)
@given(watched=histories(), cut=st.integers(1, 59))
def test_sql_and_loop_agree_on_more_histories(models: LevelModels, watched: Watched, cut: int) -> None:
    check_that_sql_and_loop_agree_and_neither_looks_ahead(models, watched, cut)


@many(12)
@given(watched=histories())
def test_where_each_level_stood_and_where_its_events_happened(models: LevelModels, watched: Watched) -> None:
    check_where_each_level_stood(models, watched)


@pytest.mark.slow
@many(60)
@given(watched=histories())
def test_where_each_level_stood_in_more_histories(models: LevelModels, watched: Watched) -> None:
    check_where_each_level_stood(models, watched)


def test_the_worked_example(models: LevelModels) -> None:
    """114 to 78 on one day crosses four round numbers, the line at 100 and the zone at 90 to 95, once each."""
    days = [FIRST + dt.timedelta(days=n) for n in range(4)]
    bars = [Bar(day, close, position=n) for n, (day, close) in enumerate(zip(days, (112, 114, 78, 77), strict=True))]
    levels = [Level("line", 100, 100, FIRST), Level("zone", 90, 95, FIRST)]
    assert models.events(Watched("W", bars, levels)) == [
        Found("W:round_numbers", days[2], "round_numbers_crossed", "down", 80, False, "", "", "110, 100, 90, 80"),
        Found("line", days[2], "close_cross", "down", 100, False, "support", "support"),
        Found("line", days[3], "confirmed", "down", 100, False, "support", "support"),
        Found("line", days[3], "role_flip", "down", 100, False, "support", "resistance"),
        Found("zone", days[2], "zone_crossed_through", "down", 90, False, "support", "support"),
        Found("zone", days[3], "confirmed", "down", 90, False, "support", "support"),
        Found("zone", days[3], "role_flip", "down", 90, False, "support", "resistance"),
    ]
