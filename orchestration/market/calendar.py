"""When exchanges trade: sessions, their open and close, and the last one that has ended.

The sessions are those of exchange_calendars, corrected for metal futures (calendar CMES): they close at 17:00 New
York, on early days at 14:45; on United States bank holidays Globex trades but COMEX makes no settlement, so a bar may
exist and none is expected; and on two national days of mourning, when the library closes CMES, metals traded and
settled. See docs/decisions/0003-comex-sessions.md.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from exchange_calendars import ExchangeCalendar

# Yahoo's oldest daily bars are of this day. A calendar that begins later begins where it can, and older rows are
# rejected as `before_calendar`, not as if the exchange had been closed.
CALENDAR_START = dt.date(1962, 1, 2)

COMEX_DAYS_OF_MOURNING = (dt.date(2007, 1, 2), dt.date(2025, 1, 9))

# New York time. The library's CMES ends an hour later, when metals open for the next session. On days that end early it
# ends with the first of the exchange's products, hours before metals, whose latest early close this is.
COMEX_CLOSE = dt.timedelta(hours=17)
COMEX_EARLY_CLOSE = dt.timedelta(hours=14, minutes=45)


# A newer release of the library knows more; there is time to install it.
RUNNING_OUT_DAYS = 90

_SOME_YEAR = (dt.date(2024, 1, 1), dt.date(2024, 12, 31))

# Of each exchange the library's calendar that was built last.
_BUILT: "dict[str, ExchangeCalendar]" = {}

# exchange_calendars 4.13 cannot build these with pandas 3; a test says when it can again.
BROKEN_CALENDARS = frozenset({"ASEX", "XBEL", "XBSE", "XCYS", "XTAE"})

# Kept here so that reading the seeds does not import the library; a test holds it equal to the library's names.
CALENDAR_NAMES = frozenset(
    """
    24/5 24/7 AIXK BVMF CMES IEPA XAMS XASX XBDA XBKK XBOG XBOM XBRA XBRU XBUD XBUE XCBF XCSE XDUB XDUS XEEE XETR
    XEUR XFRA XHAM XHEL XHKG XICE XIDX XIST XJSE XKAR XKLS XKRX XLIM XLIS XLIT XLJU XLON XLUX XMAD XMEX XMIL XMOS
    XNYS XNZE XOSL XPAR XPHS XPRA XRIS XSAU XSES XSGO XSHG XSTO XSTU XSWX XTAI XTAL XTKS XTSE XWAR XWBO XZAG
    us_futures
    """.split()  # noqa: SIM905  (seventy lines otherwise)
)


def sessions(calendar: str, start: dt.date, end: dt.date) -> "pd.DataFrame":
    """Sessions of one exchange from `start` to `end`, both included.

    Returns:
        One row per session, ascending: calendar (str), session_date (datetime64[s], no zone), open_utc and
        close_utc (datetime64[us, UTC]), early_close (bool), bar_expected (bool: a daily bar ought to exist), is_listed
        (bool: the calendar has it; after the day up to which a calendar is recorded every weekday may be a session).
    """
    import pandas as pd

    # The library takes as long for a month as for all years: one range for whatever is asked about a year.
    frame = _all_sessions(calendar, min(start, CALENDAR_START), dt.date(end.year, 12, 31))
    inside = frame["session_date"].between(pd.Timestamp(start), pd.Timestamp(end))
    return frame[inside].reset_index(drop=True)


@lru_cache(maxsize=16)
def _all_sessions(calendar: str, start: dt.date, end: dt.date) -> "pd.DataFrame":
    """The rows of `sessions`, and where the library knows no range like this, others around it."""
    import pandas as pd

    exchange = _exchange(calendar, start, end)
    schedule = exchange.schedule
    frame = pd.DataFrame(
        {
            "session_date": schedule.index.to_numpy(),
            "open_utc": schedule["open"].dt.tz_convert(None).to_numpy(),
            "close_utc": schedule["close"].dt.tz_convert(None).to_numpy(),
            "early_close": schedule.index.isin(exchange.early_closes),
            "bar_expected": True,
            "is_listed": True,
        }
    )
    if calendar == "24/5":
        # Banks quote on every weekday but these two.
        frame["bar_expected"] = ~schedule.index.strftime("%m-%d").isin(("01-01", "12-25"))
    if calendar == "CMES":
        frame = _comex(frame, _exchange("XNYS", start, end).sessions, start, end)
    frame.insert(0, "calendar", calendar)
    frame["session_date"] = frame["session_date"].astype("datetime64[s]")
    for column in ("open_utc", "close_utc"):
        frame[column] = pd.to_datetime(frame[column], utc=True).astype("datetime64[us, UTC]")
    recorded = recorded_until(calendar)
    if recorded is not None and recorded < end:
        frame = with_unlisted(frame, pd.bdate_range(recorded + dt.timedelta(days=1), end))
    return frame


@lru_cache
def recorded_until(calendar: str) -> dt.date | None:
    """The last day of which the library knows whether it is a session; None if it knows the rules of all days."""
    last = _some_exchange(calendar).bound_max()
    return None if last is None else last.date()


def running_out(calendars: Iterable[str], today: dt.date) -> dict[str, dt.date]:
    """Calendars that are recorded for less than `RUNNING_OUT_DAYS` more, each with its last day."""
    found = {name: recorded_until(name) for name in sorted(set(calendars))}
    soon = today + dt.timedelta(days=RUNNING_OUT_DAYS)
    return {name: last for name, last in found.items() if last is not None and last < soon}


def with_unlisted(known: "pd.DataFrame", days: "pd.DatetimeIndex") -> "pd.DataFrame":
    """Sessions of one exchange, and days that its calendar does not have, at the hours of the session before each.

    Args:
        known: the columns of `sessions`, of one exchange.
        days: some of them may be known.
    """
    import pandas as pd

    zone = time_zone(known["calendar"].iloc[0])
    dates = known["session_date"].to_numpy()
    days = pd.DatetimeIndex(days).as_unit("s")
    days = days[~days.isin(known["session_date"]) & (days > pd.Timestamp(dates[0]))]
    before = known.iloc[known["session_date"].searchsorted(days) - 1].reset_index(drop=True)
    later = pd.Series(days) - before["session_date"]
    added = before.assign(session_date=days, early_close=False, bar_expected=False, is_listed=False)
    for column in ("open_utc", "close_utc"):
        clock = before[column].dt.tz_convert(zone).dt.tz_localize(None) + later
        there = clock.dt.tz_localize(zone, ambiguous=False, nonexistent="shift_forward")
        added[column] = there.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    return pd.concat([known, added], ignore_index=True).sort_values("session_date", ignore_index=True)


def closed_sessions(calendar: str, now: dt.datetime, start: dt.date = CALENDAR_START) -> "pd.DataFrame":
    """Sessions that have ended at `now` (UTC); the columns of `sessions`."""
    import pandas as pd

    # A week ahead: the last closed session never depends on where the calendar was cut.
    frame = sessions(calendar, start, now.date() + dt.timedelta(days=7))
    return frame[frame["close_utc"] <= pd.Timestamp(now)]


def closed_sessions_of(
    calendars: Iterable[str], now: dt.datetime, unlisted: "Mapping[str, pd.DatetimeIndex] | None" = None
) -> "pd.DataFrame":
    """Closed sessions of several exchanges, one below the other; the columns of `sessions`.

    Args:
        calendars: of the exchanges.
        now: UTC.
        unlisted: days by calendar that have a bar, whatever the calendar says.
    """
    import pandas as pd

    frames = {name: closed_sessions(name, now) for name in sorted(set(calendars))}
    frames |= {name: with_unlisted(frames[name], days) for name, days in (unlisted or {}).items() if name in frames}
    return pd.concat(frames.values(), ignore_index=True)


def price_times(sessions: "pd.DataFrame", clocks: "Mapping[str, tuple[str, dt.time | None]]") -> "pd.DataFrame":
    """When the closing prices of each session are made: at its close, or at a settlement before it.

    Args:
        sessions: the columns of `sessions`.
        clocks: by name an exchange's calendar, and the time of a settlement there, if there is one.

    Returns:
        One row per clock and session: clock (str), session_date (datetime64[s]), price_utc (datetime64[us, UTC]).
    """
    import pandas as pd

    found = []
    by_calendar = dict(iter(sessions.groupby("calendar")))
    for clock, (name, settlement) in sorted(clocks.items()):
        held = by_calendar.get(name, sessions[:0])
        at = held["close_utc"]
        if settlement is not None:
            after_midnight = pd.Timedelta(hours=settlement.hour, minutes=settlement.minute)
            local = (held["session_date"].astype("datetime64[us]") + after_midnight).dt.tz_localize(
                time_zone(name), ambiguous=False, nonexistent="shift_forward"
            )
            at = at.where(at < local, local.dt.tz_convert("UTC"))
        found.append(held[["session_date"]].assign(clock=clock, price_utc=at.astype("datetime64[us, UTC]")))
    return pd.concat(found, ignore_index=True)[["clock", "session_date", "price_utc"]]


def is_session(calendar: str, day: dt.date) -> bool:
    """Whether the exchange holds a session on which a bar is expected."""
    frame = sessions(calendar, day - dt.timedelta(days=10), day + dt.timedelta(days=10))
    return bool((frame["bar_expected"] & (frame["session_date"].dt.date == day)).any())


@lru_cache
def time_zone(calendar: str) -> str:
    """The zone whose dates an exchange's sessions have."""
    # The library's clock for CMES is Chicago's; COMEX is in New York.
    return "America/New_York" if calendar == "CMES" else str(_some_exchange(calendar).tz)


def _some_exchange(calendar: str) -> "ExchangeCalendar":
    """The library's calendar over any range: building one takes a tenth of a second."""
    return _BUILT[calendar] if calendar in _BUILT else _exchange(calendar, *_SOME_YEAR)


def _exchange(calendar: str, start: dt.date, end: dt.date) -> "ExchangeCalendar":
    """The library's calendar over the range, or over what it knows where that is less."""
    import warnings

    import pandas as pd

    with warnings.catch_warnings():
        # The library uses what pandas 4 will change; that is its affair.
        warnings.simplefilter("ignore", pd.errors.Pandas4Warning)
        _BUILT[calendar] = _known_exchange(calendar, start, end)
    return _BUILT[calendar]


def _known_exchange(calendar: str, start: dt.date, end: dt.date) -> "ExchangeCalendar":
    import exchange_calendars as xcals
    import pandas as pd
    from exchange_calendars.errors import NoSessionsError

    first, last = pd.Timestamp(start), pd.Timestamp(end)
    try:
        return xcals.get_calendar(calendar, start=first, end=last)
    except (ValueError, NoSessionsError):  # the calendar has bounds of its own, or no session in the range
        known = xcals.get_calendar(calendar)
        low, high = known.bound_min() or first, known.bound_max() or last
        if (first >= low and last <= high) or max(first, low) >= min(last, high):
            return known
        return xcals.get_calendar(calendar, start=max(first, low), end=min(last, high))


def _comex(globex: "pd.DataFrame", exchange_days: "pd.DatetimeIndex", start: dt.date, end: dt.date) -> "pd.DataFrame":
    """Globex sessions as metals keep them: two more, a settlement only on exchange days, and an earlier close."""
    import pandas as pd

    mourning = pd.DatetimeIndex([pd.Timestamp(day) for day in COMEX_DAYS_OF_MOURNING if start <= day <= end])
    frame = pd.concat(
        [
            globex.assign(bar_expected=globex["session_date"].isin(exchange_days)),
            pd.DataFrame({"session_date": mourning, "early_close": False, "bar_expected": True, "is_listed": True}),
        ],
        ignore_index=True,
    ).sort_values("session_date")
    opened = _in_new_york(frame["session_date"] - pd.Timedelta(hours=6))
    closed = _in_new_york(frame["session_date"] + COMEX_CLOSE)
    early = _in_new_york(frame["session_date"] + COMEX_EARLY_CLOSE)
    return frame.assign(open_utc=opened, close_utc=closed.where(~frame["early_close"], early))


def _in_new_york(moments: "pd.Series") -> "pd.Series":
    return moments.dt.tz_localize("America/New_York").dt.tz_convert("UTC")
