"""When exchanges trade: holidays, early closes, clock changes, and what is particular to COMEX."""

import datetime as dt

import exchange_calendars
import pandas as pd
import pytest

from orchestration.market.calendar import (
    BROKEN_CALENDARS,
    CALENDAR_NAMES,
    CALENDAR_START,
    closed_sessions,
    closed_sessions_of,
    is_session,
    recorded_until,
    running_out,
    sessions,
    time_zone,
    with_unlisted,
)


def days(frame: pd.DataFrame) -> list[str]:
    return [str(day.date()) for day in frame["session_date"]]


def between(calendar: str, start: str, end: str) -> pd.DataFrame:
    return sessions(calendar, dt.date.fromisoformat(start), dt.date.fromisoformat(end))


def close_of(calendar: str, day: str) -> str:
    frame = between(calendar, day, day)
    return str(frame["close_utc"].item())


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_columns() -> None:
    frame = between("XNYS", "2026-01-26", "2026-01-30")
    assert {name: str(kind) for name, kind in frame.dtypes.items() if name != "calendar"} == {
        "session_date": "datetime64[s]",
        "open_utc": "datetime64[us, UTC]",
        "close_utc": "datetime64[us, UTC]",
        "early_close": "bool",
        "bar_expected": "bool",
        "is_listed": "bool",
    }
    assert frame["calendar"].unique().tolist() == ["XNYS"]
    assert days(frame) == ["2026-01-26", "2026-01-27", "2026-01-28", "2026-01-29", "2026-01-30"]
    assert not frame["early_close"].any()
    assert frame["bar_expected"].all()


def test_thanksgiving_and_the_early_close_after_it() -> None:
    frame = between("XNYS", "2025-11-24", "2025-12-01")
    assert days(frame) == ["2025-11-24", "2025-11-25", "2025-11-26", "2025-11-28", "2025-12-01"]
    assert frame["early_close"].tolist() == [False, False, False, True, False]
    assert close_of("XNYS", "2025-11-26") == "2025-11-26 21:00:00+00:00"
    assert close_of("XNYS", "2025-11-28") == "2025-11-28 18:00:00+00:00"


def test_good_friday() -> None:
    assert days(between("XNYS", "2025-04-16", "2025-04-21")) == ["2025-04-16", "2025-04-17", "2025-04-21"]
    assert days(between("XLON", "2025-04-16", "2025-04-22")) == ["2025-04-16", "2025-04-17", "2025-04-22"]
    assert days(between("CMES", "2025-04-16", "2025-04-21")) == ["2025-04-16", "2025-04-17", "2025-04-21"]


@pytest.mark.parametrize(
    ("before", "after", "earlier", "later"),
    [
        ("2026-03-06", "2026-03-09", "21:00", "20:00"),  # clocks go forward on 2026-03-08
        ("2025-10-31", "2025-11-03", "20:00", "21:00"),  # and back on 2025-11-02
    ],
)
def test_clock_changes_in_new_york(before: str, after: str, earlier: str, later: str) -> None:
    assert close_of("XNYS", before) == f"{before} {earlier}:00+00:00"
    assert close_of("XNYS", after) == f"{after} {later}:00+00:00"


def test_clock_change_in_london_comes_at_another_time() -> None:
    assert close_of("XLON", "2026-03-27") == "2026-03-27 16:30:00+00:00"
    assert close_of("XLON", "2026-03-30") == "2026-03-30 15:30:00+00:00"


def test_bank_holiday_in_london() -> None:
    assert days(between("XLON", "2025-08-22", "2025-08-26")) == ["2025-08-22", "2025-08-26"]
    assert days(between("XNYS", "2025-08-22", "2025-08-26")) == ["2025-08-22", "2025-08-25", "2025-08-26"]


@pytest.mark.parametrize("day", ["2007-01-02", "2025-01-09"])
def test_comex_settled_on_days_of_mourning(day: str) -> None:
    frame = between("CMES", day, day)
    assert days(frame) == [day]
    assert frame["bar_expected"].item()
    assert close_of("CMES", day) == f"{day} 22:00:00+00:00"  # 17:00 in New York
    assert is_session("CMES", dt.date.fromisoformat(day))
    assert not is_session("XNYS", dt.date.fromisoformat(day))


def test_days_of_mourning_stand_in_order() -> None:
    assert days(between("CMES", "2025-01-07", "2025-01-13")) == [
        "2025-01-07", "2025-01-08", "2025-01-09", "2025-01-10", "2025-01-13",
    ]  # fmt: skip


def test_globex_trades_on_bank_holidays_without_settlement() -> None:
    frame = between("CMES", "2026-01-16", "2026-01-20")  # Martin Luther King day on Monday
    assert days(frame) == ["2026-01-16", "2026-01-19", "2026-01-20"]
    assert frame["bar_expected"].tolist() == [True, False, True]
    assert not is_session("CMES", dt.date(2026, 1, 19))
    assert is_session("CMES", dt.date(2026, 1, 20))


def test_no_weekends_on_comex() -> None:
    frame = between("CMES", "2020-01-01", "2025-12-31")
    assert frame["session_date"].dt.day_of_week.max() == 4
    assert frame["session_date"].is_monotonic_increasing
    assert frame["session_date"].is_unique


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-01-30T20:59:59.999999", "2026-01-29"),
        ("2026-01-30T21:00:00", "2026-01-30"),
        ("2026-01-31T12:00:00", "2026-01-30"),
        ("2026-02-01T12:00:00", "2026-01-30"),
        ("2025-11-28T17:59:59", "2025-11-26"),
        ("2025-11-28T18:00:00", "2025-11-28"),
    ],
)
def test_a_session_is_closed_from_its_close_on(now: str, last: str) -> None:
    assert days(closed_sessions("XNYS", utc(now), dt.date(2025, 11, 1)))[-1] == last


def test_closed_sessions_begin_at_the_start() -> None:
    frame = closed_sessions("XNYS", utc("2026-01-30T22:00"))
    assert days(frame)[0] == "1962-01-02"
    assert len(closed_sessions("XNYS", utc("2026-01-30T22:00"), dt.date(2026, 1, 27))) == 4


def test_closed_sessions_of_several_exchanges() -> None:
    # 17:00 UTC on a Monday that is a holiday in New York: London has closed, Globex trades.
    frame = closed_sessions_of(["XLON", "CMES", "XLON"], utc("2026-01-19T17:00"))
    last = frame.groupby("calendar")["session_date"].max().dt.date.to_dict()
    assert last == {"CMES": dt.date(2026, 1, 16), "XLON": dt.date(2026, 1, 19)}
    assert not frame.duplicated(["calendar", "session_date"]).any()


def test_range_without_sessions() -> None:
    assert between("XNYS", "2026-01-31", "2026-02-01").empty
    assert not is_session("XNYS", dt.date(2026, 1, 31))


@pytest.mark.parametrize(
    ("calendar", "first"),
    [("XTKS", "1997-01-06"), ("XBOM", "1997-01-01"), ("AIXK", "2017-01-04"), ("XSAU", "2021-01-03")],
)
def test_calendars_with_a_beginning_of_their_own(calendar: str, first: str) -> None:
    frame = between(calendar, "1990-01-02", "2026-01-30")
    assert days(frame)[0] == first
    assert days(frame)[-1] in ("2026-01-29", "2026-01-30")
    assert between(calendar, "1992-01-01", "1992-03-01").empty


def test_names_are_those_of_the_library() -> None:
    names = set(exchange_calendars.get_calendar_names(include_aliases=False))
    assert names == CALENDAR_NAMES | BROKEN_CALENDARS
    assert not CALENDAR_NAMES & BROKEN_CALENDARS


# Where metals and their miners trade.
OURS = {"CMES", "XASX", "XJSE", "XLON", "XMEX", "XNYS", "XTSE"}


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in sorted(CALENDAR_NAMES - OURS)]


@pytest.mark.parametrize("calendar", [*sorted(OURS), *OTHERS])
def test_every_calendar_that_a_seed_may_name(calendar: str) -> None:
    frame = between(calendar, "2026-01-02", "2026-02-27")
    assert 30 <= len(frame) <= 57
    assert frame["session_date"].between(pd.Timestamp("2026-01-02"), pd.Timestamp("2026-02-27")).all()
    assert frame["session_date"].is_monotonic_increasing
    assert (frame["close_utc"] > frame["open_utc"]).all()


@pytest.mark.integration
@pytest.mark.parametrize("calendar", [*sorted(OURS), *OTHERS])
def test_every_calendar_over_all_years(calendar: str) -> None:
    frame = sessions(calendar, CALENDAR_START, dt.date(2026, 1, 30))
    assert len(frame) > 1200
    assert days(frame)[-1] in ("2026-01-29", "2026-01-30")
    assert frame["session_date"].is_monotonic_increasing
    assert frame["session_date"].is_unique


@pytest.mark.parametrize("calendar", ["XNYS", "XLON", "CMES"])
def test_the_oldest_bars_of_yahoo_lie_in_the_calendar(calendar: str) -> None:
    frame = closed_sessions(calendar, utc("2026-01-30T23:00"))
    assert days(frame)[0] == "1962-01-02"
    assert frame["session_date"].diff().max() < pd.Timedelta(days=8)


def test_new_york_closed_on_wednesdays_in_the_paperwork_crisis() -> None:
    assert days(between("XNYS", "1968-07-15", "1968-07-19")) == ["1968-07-15", "1968-07-16", "1968-07-18", "1968-07-19"]


@pytest.mark.parametrize("calendar", sorted(BROKEN_CALENDARS))
def test_broken_calendars_are_still_broken(calendar: str) -> None:
    """When this fails, the library builds the calendar again: take it out of BROKEN_CALENDARS."""
    with pytest.raises((NotImplementedError, ValueError)):
        between(calendar, "2020-01-02", "2026-02-27")


def test_metals_close_at_five_in_new_york_and_on_early_days_at_a_quarter_to_three() -> None:
    assert close_of("CMES", "2026-01-30") == "2026-01-30 22:00:00+00:00"
    assert close_of("CMES", "2026-07-06") == "2026-07-06 21:00:00+00:00"
    assert close_of("CMES", "2025-11-28") == "2025-11-28 19:45:00+00:00"
    assert close_of("CMES", "2026-11-27") == "2026-11-27 19:45:00+00:00"


@pytest.mark.parametrize("calendar", ["XSHG", "XBOM", "XSES"])
def test_past_the_end_of_a_calendar_every_weekday_may_be_a_session(calendar: str) -> None:
    last = recorded_until(calendar)
    assert last is not None
    begin, end = last - dt.timedelta(days=10), last + dt.timedelta(days=20)
    frame = between(calendar, f"{begin}", f"{end}")
    after = frame[frame["session_date"] > pd.Timestamp(last)]
    assert list(after["session_date"]) == list(pd.bdate_range(last + dt.timedelta(days=1), end))
    assert not after[["bar_expected", "is_listed"]].any(axis=None)
    assert frame["is_listed"].sum() == len(frame) - len(after)
    # At the exchange's hours.
    zone = time_zone(calendar)
    assert frame["close_utc"].dt.tz_convert(zone).dt.time.nunique() == 1
    soon = last - dt.timedelta(days=89)
    assert (
        running_out([calendar, "XNYS"], soon)
        == running_out([calendar], last + dt.timedelta(days=9))
        == {calendar: last}
    )
    assert running_out([calendar], last - dt.timedelta(days=90)) == {}


def test_a_day_that_a_calendar_lacks_has_the_hours_of_the_day_before() -> None:
    known = between("XNYS", "2026-03-02", "2026-03-13")
    frame = with_unlisted(known, pd.DatetimeIndex(["2026-03-07", "2026-03-08", "2026-03-09"]))
    added = frame[~frame["is_listed"]]
    assert days(added) == ["2026-03-07", "2026-03-08"]
    # The clock changes in the night to the 8th.
    assert [str(moment) for moment in added["close_utc"]] == ["2026-03-07 21:00:00+00:00", "2026-03-08 20:00:00+00:00"]
    assert not added["bar_expected"].any()
