"""What is asked for, given what is expected, what is stored and what was seen before."""

import datetime as dt

import pandas as pd
import pytest

from orchestration.market.fetch_plan import (
    AnsweredRanges,
    FetchRequest,
    PlanRules,
    Stored,
    expected_sessions,
    needs_whole_history,
    plan,
)
from orchestration.market.universe import Instrument

NOW = dt.datetime(2026, 1, 30, 22, 0, tzinfo=dt.UTC)
# Every weekday of January 2026 but the two holidays.
CLOSED = pd.DatetimeIndex(
    [day for day in pd.bdate_range("2026-01-02", "2026-01-30") if str(day.date()) not in ("2026-01-19",)]
)
RULES = PlanRules(restatement_sessions=3)


def instrument(symbol: str = "SIL", calendar: str = "XNYS", active_from: str | None = None) -> Instrument:
    return Instrument(
        symbol=symbol,
        source_symbol=f"{symbol}.X",
        name=symbol,
        asset_class="etf",
        metal="silver",
        tier="senior",
        calendar=calendar,
        currency="USD",
        tick_size=0.01,
        metal_symbol=None,
        sector_symbol=None,
        active_from=None if active_from is None else dt.date.fromisoformat(active_from),
    )


def stored(*without: str, last: str = "2026-01-30", first: str = "2026-01-02", age_days: float | None = 1) -> Stored:
    """All sessions from first to last but some, whole history delivered some days ago."""
    days = [d for d in CLOSED if first <= str(d.date()) <= last and str(d.date()) not in without]
    at = None if age_days is None else NOW - dt.timedelta(days=age_days)
    return Stored(pd.DatetimeIndex(days), at)


def ask(held: Stored | None, rules: PlanRules = RULES, active_from: str | None = None) -> FetchRequest | None:
    has = {} if held is None else {"SIL": held}
    requests = plan([instrument(active_from=active_from)], {"XNYS": CLOSED}, has, NOW, rules)
    assert len(requests) <= 1
    return requests[0] if requests else None


def wanted(start: str | None, reason: str, end: str = "2026-01-30") -> FetchRequest:
    begin = None if start is None else dt.date.fromisoformat(start)
    return FetchRequest("SIL", "SIL.X", begin, dt.date.fromisoformat(end), reason, "XNYS")  # type: ignore[arg-type]


def test_new_instrument() -> None:
    assert ask(None) == wanted(None, "new_instrument")
    assert ask(Stored(CLOSED[:0], NOW)) == wanted(None, "new_instrument")
    request = ask(None)
    assert request is not None
    assert request.whole_history


def test_nothing_missing_asks_for_the_restatement_window_and_one_session_before() -> None:
    assert ask(stored()) == wanted("2026-01-27", "restatement")  # 28, 29 and 30 are the window


def test_nothing_missing_and_no_window() -> None:
    assert ask(stored(), PlanRules(restatement_sessions=0)) is None


def test_new_sessions() -> None:
    assert ask(stored(last="2026-01-29"), PlanRules(0)) == wanted("2026-01-29", "new_sessions")
    assert ask(stored(last="2026-01-20"), PlanRules(0)) == wanted("2026-01-20", "new_sessions")
    assert ask(stored(last="2026-01-29")) == wanted("2026-01-27", "new_sessions")


def test_gap() -> None:
    assert ask(stored("2026-01-07"), PlanRules(0)) == wanted("2026-01-06", "gap")
    assert ask(stored("2026-01-07", "2026-01-08", "2026-01-13")) == wanted("2026-01-06", "gap")
    # The last stored session before the gap, over the holiday on the 19th.
    assert ask(stored("2026-01-20")) == wanted("2026-01-16", "gap")


def test_gap_and_new_sessions() -> None:
    assert ask(stored("2026-01-07", last="2026-01-28")) == wanted("2026-01-06", "gap")


def test_sessions_before_the_first_stored_one_are_not_missing() -> None:
    assert ask(stored(first="2026-01-13")) == wanted("2026-01-27", "restatement")


def test_active_from_says_where_history_ought_to_begin() -> None:
    assert ask(stored(first="2026-01-13"), active_from="2026-01-08") == wanted("2026-01-08", "gap")
    assert ask(stored("2026-01-07"), active_from="2026-01-08") == wanted("2026-01-27", "restatement")


# ---- holes of the vendor


def answered(held: Stored, *ranges: tuple[str | None, str]) -> Stored:
    """With a log of requests that were answered."""
    days = [(None if s is None else dt.date.fromisoformat(s), dt.date.fromisoformat(e)) for s, e in ranges]
    return Stored(held.sessions, held.whole_history_at, AnsweredRanges.of(days))


def test_a_hole_that_the_vendor_has_is_left_to_the_whole_history() -> None:
    held = stored("2026-01-07")
    assert ask(answered(held, (None, "2026-01-29"))) == wanted("2026-01-27", "restatement")
    assert ask(answered(held, ("2026-01-07", "2026-01-07"))) == wanted("2026-01-27", "restatement")
    assert ask(answered(held, (None, "2026-01-29")), PlanRules(0)) is None
    old = answered(stored("2026-01-07", age_days=7), (None, "2026-01-29"))
    assert ask(old) == wanted(None, "whole_history")


def test_a_hole_that_nothing_was_asked_about_is_a_gap() -> None:
    held = stored("2026-01-07", "2026-01-21")
    assert ask(answered(held)) == wanted("2026-01-06", "gap")
    assert ask(answered(held, (None, "2026-01-06"))) == wanted("2026-01-06", "gap")
    assert ask(answered(held, (None, "2026-01-09"))) == wanted("2026-01-20", "gap")
    assert ask(answered(held, (None, "2026-01-09"), ("2026-01-22", "2026-01-29"))) == wanted("2026-01-20", "gap")
    assert ask(answered(held, ("2026-01-20", "2026-01-22"))) == wanted("2026-01-06", "gap")


def test_a_hole_in_the_window_is_asked_for_with_the_window() -> None:
    held = answered(stored("2026-01-28"), (None, "2026-01-30"))
    assert ask(held) == wanted("2026-01-27", "restatement")


def test_the_newest_sessions_are_asked_for_until_they_come() -> None:
    # A vendor that is late has answered without them.
    held = answered(stored(last="2026-01-29"), (None, "2026-01-29"), ("2026-01-29", "2026-01-30"))
    assert ask(held, PlanRules(0)) == wanted("2026-01-29", "new_sessions")


def test_years_before_the_listing_are_not_asked_for_over_and_over() -> None:
    held = answered(stored(first="2026-01-13"), (None, "2026-01-30"))
    assert ask(held, active_from="2026-01-08") == wanted("2026-01-27", "restatement")


def test_a_request_does_not_begin_right_after_a_hole() -> None:
    # A dividend of the 26th may have been carried to the 27th.
    held = answered(stored("2026-01-23", "2026-01-26"), (None, "2026-01-30"))
    assert ask(held) == wanted("2026-01-22", "restatement")
    alone = answered(stored("2026-01-26", first="2026-01-27"), (None, "2026-01-30"))
    assert ask(alone, active_from="2026-01-26") == wanted("2026-01-27", "restatement")


def test_what_was_asked() -> None:
    day = dt.date
    assert AnsweredRanges.of([]) == AnsweredRanges()
    ranges = [(None, day(2026, 1, 9)), (None, day(2026, 1, 16)), (day(2026, 1, 5), day(2026, 1, 16))]
    assert AnsweredRanges.of(ranges) == AnsweredRanges(day(2026, 1, 16))
    later = (day(2026, 1, 5), day(2026, 1, 17))
    assert AnsweredRanges.of([*ranges, later]) == AnsweredRanges(day(2026, 1, 16), (later,))
    assert AnsweredRanges.of([later]) == AnsweredRanges(None, (later,))


def test_a_window_longer_than_history() -> None:
    assert ask(stored(first="2026-01-29"), PlanRules(100)) == wanted("2026-01-02", "restatement")


def test_stored_sessions_that_were_not_expected_do_no_harm() -> None:
    held = stored()
    extra = Stored(held.sessions.union(pd.DatetimeIndex(["2026-01-19"])), held.whole_history_at)
    assert ask(extra) == wanted("2026-01-27", "restatement")


@pytest.mark.parametrize(
    ("age_days", "reason"),
    [(6.99, "restatement"), (7, "whole_history"), (30, "whole_history"), (None, "whole_history")],
)
def test_whole_history_comes_again_after_some_days(age_days: float | None, reason: str) -> None:
    request = ask(stored(age_days=age_days))
    assert request is not None
    assert request.reason == reason
    assert request.whole_history == (reason == "whole_history")


def test_age_of_the_whole_history_can_be_set() -> None:
    rules = PlanRules(restatement_sessions=3, whole_history_days=30)
    assert ask(stored(age_days=29), rules) == wanted("2026-01-27", "restatement")
    assert ask(stored(age_days=30), rules) == wanted(None, "whole_history")


def test_local_sources_are_read_as_a_whole_every_time() -> None:
    assert ask(stored(), PlanRules(restatement_sessions=None)) == wanted(None, "whole_history")


def test_full_refresh() -> None:
    assert ask(stored(), PlanRules(3, full=True)) == wanted(None, "forced")
    assert ask(None, PlanRules(3, full=True)) == wanted(None, "forced")


def test_forced_range() -> None:
    rules = PlanRules(3, start=dt.date(2026, 1, 5), end=dt.date(2026, 1, 9))
    assert ask(stored(), rules) == wanted("2026-01-05", "forced", end="2026-01-09")
    assert ask(None, rules) == wanted("2026-01-05", "forced", end="2026-01-09")
    assert ask(stored(age_days=None), rules) == wanted("2026-01-05", "forced", end="2026-01-09")


def test_forced_range_ends_with_the_last_closed_session() -> None:
    start = dt.date(2026, 1, 5)
    assert ask(stored(), PlanRules(3, start=start)) == wanted("2026-01-05", "forced")
    assert ask(stored(), PlanRules(3, start=start, end=dt.date(2027, 1, 1))) == wanted("2026-01-05", "forced")
    assert ask(stored(), PlanRules(3, start=dt.date(2026, 1, 31))) is None


def test_symbol_filter_and_order() -> None:
    three = [instrument("C"), instrument("A"), instrument("B")]
    everything = plan(three, {"XNYS": CLOSED}, {}, NOW, RULES)
    assert [request.symbol for request in everything] == ["C", "A", "B"]
    some = plan(three, {"XNYS": CLOSED}, {}, NOW, PlanRules(3, symbols=frozenset({"B", "C"})))
    assert [request.symbol for request in some] == ["C", "B"]


def test_each_instrument_has_its_own_calendar() -> None:
    expected = {"XNYS": CLOSED, "XLON": CLOSED[:-1]}
    requests = plan([instrument("SIL"), instrument("FRES", "XLON")], expected, {}, NOW, RULES)
    assert [(r.symbol, r.source_symbol, r.end) for r in requests] == [
        ("SIL", "SIL.X", dt.date(2026, 1, 30)),
        ("FRES", "FRES.X", dt.date(2026, 1, 29)),
    ]


@pytest.mark.parametrize("rules", [RULES, PlanRules(3, full=True), PlanRules(3, start=dt.date(2026, 1, 5))])
def test_calendar_without_closed_sessions(rules: PlanRules) -> None:
    assert plan([instrument()], {"XNYS": CLOSED[:0]}, {}, NOW, rules) == []


def test_no_instruments() -> None:
    assert plan([], {}, {}, NOW, RULES) == []


def test_expected_sessions() -> None:
    first = pd.Timestamp("2026-01-28")
    assert len(expected_sessions(CLOSED, None, None)) == 0
    assert expected_sessions(CLOSED, first, None).tolist() == CLOSED[-3:].tolist()
    assert expected_sessions(CLOSED, first, dt.date(2026, 1, 29)).tolist() == CLOSED[-2:].tolist()
    assert expected_sessions(CLOSED, None, dt.date(2026, 1, 31)).tolist() == []


# ---- a changed basis


def bars(*rows: tuple[str, float, float, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["session_date", "close", "adj_close", "dividend", "split_ratio"])
    return frame.assign(session_date=pd.to_datetime(frame["session_date"]))


HELD = bars(
    ("2026-01-26", 100.0, 99.0, 0.0, 1.0),
    ("2026-01-27", 102.0, 101.0, 0.5, 1.0),
    ("2026-01-28", 104.0, 103.0, 0.0, 1.0),
)
NAN = float("nan")


def changed(day: int, **values: float) -> pd.DataFrame:
    """What is stored, delivered again with other values in one row."""
    frame = HELD.copy()
    for column, value in values.items():
        frame.loc[day, column] = value
    return frame


@pytest.mark.parametrize(
    ("delivered", "expected"),
    [
        (HELD, False),
        (HELD.iloc[1:], False),  # a dividend that is stored already
        (pd.concat([HELD, bars(("2026-01-29", 106.0, 105.0, 0.0, 1.0))]), False),
        (pd.concat([HELD, bars(("2026-01-29", 106.0, 105.0, 0.25, 1.0))]), True),  # a new dividend
        (pd.concat([HELD, bars(("2026-01-29", 53.0, 53.0, 0.0, 2.0))]), True),  # a new split
        (changed(2, dividend=0.1), True),  # a dividend that came late
        (changed(1, dividend=0.4), True),  # a dividend that was corrected
        (changed(1, dividend=0.0), True),  # a dividend that was taken back
        (changed(1, split_ratio=3.0), True),
        (changed(0, close=50.0, adj_close=49.5), True),  # split-adjusted anew
        (changed(0, adj_close=98.5), True),  # dividend-adjusted anew
        (changed(0, adj_close=99.0 * (1 + 0.9e-6)), False),  # noise
        (changed(0, close=100.0 * (1 + 0.9e-6)), False),
        (changed(0, adj_close=99.0 * (1 + 1.1e-6)), True),
        (changed(1, close=102.5), False),  # a correction of one bar, not of the basis
        (changed(2, close=90.0, adj_close=89.0), False),
        (changed(0, adj_close=NAN), False),
        (bars(("2026-01-29", 1.0, 1.0, 0.0, 1.0)), False),  # nothing to compare with
        # The row before is one that the vendor had not delivered until now.
        (pd.concat([bars(("2026-01-23", 1.0, 1.0, 0.0, 1.0)), changed(0, close=50.0)]), True),
        (pd.concat([bars(("2026-01-23", 1.0, 1.0, 0.0, 1.0)), changed(1, close=50.0)]), False),
        (HELD.iloc[:0], False),
    ],
)
def test_needs_whole_history(delivered: pd.DataFrame, expected: bool) -> None:
    before = delivered.copy()
    assert needs_whole_history(delivered, HELD) is expected
    pd.testing.assert_frame_equal(delivered, before)


def test_nothing_stored_needs_no_second_history() -> None:
    assert needs_whole_history(changed(0, dividend=1.0), HELD.iloc[:0]) is False


def test_actions_that_are_unknown_in_the_lake_count_as_none() -> None:
    held = HELD.assign(dividend=NAN, split_ratio=NAN)
    assert needs_whole_history(HELD.assign(dividend=0.0), held) is False
    assert needs_whole_history(HELD, held) is True
