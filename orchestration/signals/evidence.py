"""What usually followed events like one, and how rare it is, in sentences that lead with what is sure."""

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from orchestration.signals.signal import Row, Signal
from orchestration.signals.wording import TOO_FEW

if TYPE_CHECKING:
    import duckdb

# A month.
SESSIONS = 21
TABLES = ("move_return_periods", "signal_outcomes", "signal_statistics")
# What studies say is read from here; of a past day from a table that is made for it.
STATISTICS, OF_A_DAY = "signal_statistics", "statistics_of_the_day"

# A verdict is no market signal; its study counts the sessions on which it begins.
VERDICTS = {"up": "consolidation", "down": "reversal"}

COUNTED_EVENTS = """
    wanted as (
        select event_id, symbol, session_date from market_signals
        where event_id in (select unnest($events)) and signal = $signal
    ),
    counted as (
        select wanted.event_id, outcomes.* exclude (event_id) from wanted
        inner join signal_outcomes as outcomes using (event_id)
        where outcomes.sessions = $sessions and not $once_a_session
        union all
        select wanted.event_id, outcomes.* exclude (event_id) from wanted
        inner join signal_outcomes as outcomes using (symbol, session_date)
        where outcomes.sessions = $sessions and $once_a_session
    ),
"""
COUNTED_VERDICTS = """
    counted as (
        select * from signal_outcomes where sessions = $sessions and session_date = $session and signal = 'verdict'
    ),
"""
# Of each event the study that counts it, of several the one of the largest returns; and how rare the return is.
EVIDENCE = """
    with {counted}
    begun as (
        select study_id, series, level_id, direction, year(min(session_date)) as since
        from signal_outcomes where sessions = $sessions group by all
    )
    select counted.event_id, begun.since, counted.symbol, studies.*, periods.period_years, periods.period_lower,
        periods.period_upper
    from counted
    inner join begun
        on (counted.study_id, counted.series, counted.direction) = (begun.study_id, begun.series, begun.direction)
        and counted.level_id is not distinct from begun.level_id
    inner join {statistics} as studies
        on studies.scope in ('symbol', 'pair') and studies.sessions = $sessions
        and (counted.study_id, counted.series, counted.direction)
        = (studies.study_id, studies.scope_value, studies.direction)
        and counted.level_id is not distinct from studies.level_id
    left join move_return_periods as periods
        on $once_a_session and periods.basis = 'plain'
        and counted.symbol = periods.symbol and counted.session_date = periods.session_date
    where counted.signal in (select unnest($studied))
    qualify row_number() over (partition by counted.event_id order by studies.threshold desc nulls last) = 1
"""


class Evidence:
    """What is known of events of a published version: none if it is of an earlier release.

    Args:
        connection: to the version.
        day: a past one, of which all is told as it was known then; None for what is known now.
    """

    def __init__(self, connection: "duckdb.DuckDBPyConnection", day: dt.date | None = None) -> None:
        from orchestration.duckdb_io import query

        named = query(connection, "select table_name from information_schema.tables")
        self.connection, self.is_known = connection, set(TABLES) <= {row["table_name"] for row in named}
        self.statistics = STATISTICS
        if day and self.is_known:
            from orchestration.evidence.as_of import statistics_as_of

            connection.register(OF_A_DAY, statistics_as_of(connection, day))
            self.statistics = OF_A_DAY

    def sentences(self, kind: Signal, events: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """Sentences about each event by its id; none of what no study counts.

        Args:
            kind: of the events.
            events: their ids.
        """
        if not kind.studied or not self.is_known:
            return {}
        from orchestration.duckdb_io import query

        about = {"signal": kind.name, "studied": list(kind.studied), "once_a_session": kind.once_a_session}
        sql = EVIDENCE.format(counted=COUNTED_EVENTS, statistics=self.statistics)
        rows = query(self.connection, sql, {"events": list(events), "sessions": SESSIONS, **about})
        return {
            row["event_id"]: tuple(
                filter(None, (rarity(row), followed(row, kind.studied[row["signal"]](row)), record(row)))
            )
            for row in rows
        }

    def verdicts(self, session: dt.date) -> Mapping[str, tuple[str, ...]]:
        """Sentences about each verdict that begins on a session, by its instrument."""
        if not self.is_known:
            return {}
        from orchestration.duckdb_io import query

        sql = EVIDENCE.format(counted=COUNTED_VERDICTS, statistics=self.statistics)
        about = {"session": session, "sessions": SESSIONS, "studied": ["verdict"], "once_a_session": False}
        found = {}
        for row in query(self.connection, f"{sql} order by counted.symbol", about):
            verdict = VERDICTS[row["direction"]]
            counts = f"{verdict.capitalize()}s of {row['symbol']}"
            said = (f"{row['symbol']}: a {verdict} begins.", followed(row, counts), record(row))
            found[row["symbol"]] = tuple(filter(None, said))
        return found


def followed(row: Row, counts: str) -> str:
    """What usually followed: "Falls of 5% or more in SLV: 42 separate ones since 2006; 21 sessions later ...".

    Args:
        row: of signal_statistics, with the year since when.
        counts: what it counts.
    """
    one = row["episodes"] == 1
    counted = f"{counts}: {row['episodes']} separate {'one' if one else 'ones'} since {row['since']}"
    if row["finding"] == "too few":
        return f"{counted}, {TOO_FEW}."
    later = "the first had gained on the second" if row["scope_value"] != row["symbol"] else "higher"
    return (
        f"{counted}; {row['sessions']} sessions later {later} in {row['up']} of {row['matured']} "
        f"({fraction(row['share_up_lower'])} to {fraction(row['share_up_upper'])}); any session "
        f"{fraction(row['base_share_up'])}: {row['finding']}{'' if row['finding'] == 'not different' else ' it'}."
    )


def record(row: Row) -> str:
    """How often such calls came true, whatever that says; empty of what is no call, or none has ended."""
    calls = row["calls"]
    if not calls:
        return ""
    right = f"Its record over {row['sessions']} sessions: right in {row['hits']} of {calls}"
    if row["hit_lower"] is None:
        return f"{right}, too few to judge it."
    share = f"{right} ({fraction(row['hit_lower'])} to {fraction(row['hit_upper'])})"
    if row["skill"] is None:
        return f"{share}; any session {fraction(row['base_hit_rate'])}."
    better = f"better by {row['skill']:.0%}" if row["skill"] > 0 else "no better"
    return f"{share}; any session {fraction(row['base_hit_rate'])}; as a forecast {better} than that."


def rarity(row: Row) -> str:
    """How rare a move is: "SLV: rarer than once in 15 years (best guess 137, ...)."; empty if unknown."""
    if row["period_lower"] is None:
        return ""
    lower, best, upper = row["period_lower"], row["period_years"], row["period_upper"]
    guess = "no end" if best is None else years(best)
    end = "beyond 1,000" if upper is None else years(upper)
    symbol, least = row["symbol"], years(lower, math.floor)
    if lower >= 1:
        return f"{symbol}: rarer than once in {least} years (best guess {guess}, upper end {end})."
    return f"{symbol}: as far about once in {guess} years ({least} to {end})."


def years(number: float, whole: Callable[[float], int] = round) -> str:
    """In few digits; beyond 1,000 no more than that.

    Args:
        number: of years.
        whole: how it is rounded; a lower end downward, so that it says no more than is known.
    """
    if number >= 1000:
        return "1,000"
    return str(whole(number)) if number >= 10 else f"{whole(number * 10) / 10:g}"


def fraction(number: float) -> str:
    """.40, as shares are written beside their interval."""
    return f"{number:.2f}".removeprefix("0")
