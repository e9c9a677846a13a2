"""Events of the watched levels: one check per row of price_levels.csv."""

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.market.universe import AVERAGES, PriceLevel
from orchestration.signals.signal import AlertText, Price, Row, Signal, TextTable, year_before
from orchestration.signals.wording import (
    is_zone,
    level_in_words,
    money,
    named,
    of_currency,
    plain_price,
    short_price,
    spaced,
    subject,
    tick_price,
    way,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from orchestration.signals.plots import Band

# In the order of alerts: levels that somebody chose to watch come after records and before other moves, whose rank is a
# z score, if the price went through; a level that held comes last.
CROSS_RANK, OTHER_EVENT_RANK, TOUCH_RANK = 50.0, 40.0, 0.0

# With what happened at the level before; of one session the event that says most is the last one.
EVENT_ROWS = """
    select
        signals.*, events.series, events.kind, events.event, events.level, events.lower, events.upper,
        events.levels_crossed, events.prev_close, events.open, events.high, events.low, events.close,
        events.role_after, status.note,
        earlier.events as earlier_events, earlier.event as earlier_event, earlier.direction as earlier_direction,
        earlier.session_date as earlier_date
    from signals
    inner join level_events as events on signals.event_id = events.event_id
    left join level_status as status on events.level_id = status.level_id
    left join lateral (
        select count(*) over () as events, event, direction, session_date
        from level_events
        where level_id = events.level_id and session_date < events.session_date
        order by session_date desc, event_order
        limit 1
    ) as earlier on true
    order by events.session_date desc, events.symbol, events.level_id, events.event_order
"""

# As traded on the latest of the sessions: later splits are taken out of the closes before it.
CLOSES = """
    select b.session_date, b.close * latest.splits_to_come as close
    from daily_bars as b
    cross join (
        select close_as_traded / close as splits_to_come from daily_bars
        where symbol = $symbol and session_date = $session
    ) as latest
    where b.symbol = $symbol and b.session_date between $session - to_days($days) and $session
    order by b.session_date
"""


# Of what is computed, as it was.
SERIES = """
    select session_date, close from level_daily
    where level_id = $level_id and session_date between $session - to_days($days) and $session
    order by session_date
"""


def event_words(row: Row, level: str) -> str:
    """What the price did: "closed above 54".

    Args:
        row: a row of `level_events`.
        level: as it is to be written: 54, the zone 54-56.
    """
    up = row.get("direction") == "up"
    beyond, along, back = ("above", "upwards", "below") if up else ("below", "downwards", "above")
    name = str(row["event"])
    words = {
        "close_cross": f"closed {beyond} {level}",
        "gap_through": f"opened and closed {beyond} {level}",
        # a bar that pierces a zone has reached its nearer edge
        "pierce_rejected": f"{'reached' if is_zone(row) else f'traded {beyond}'} {level} and closed back {back}",
        "confirmed": f"closed {beyond} {level} a second time",
        "role_flip": f"has turned {level} into {row.get('role_after')} with two closes {beyond} it",
        "retest_held": f"came back to {level}, which held as {'support' if up else 'resistance'}",
        "retest_failed": f"closed back {beyond} {level} in a failed retest",
        "zone_entered": f"closed inside {level}",
        "zone_exited": f"left {level} {along}",
        "zone_crossed_through": f"jumped {level} {along}",
    }
    return words.get(name, f"{spaced(name)} {along} at {level}")


def place(row: Row, price: Price) -> str:
    """Where an event happened, in the prices of its session: 54, or the zone 54-56."""
    if row.get("series") in AVERAGES:
        return level_in_words(row)
    if is_zone(row):
        return f"the zone {price(row['lower'])}-{price(row['upper'])}"
    return str(row.get("level_id")) if row.get("level") is None else price(row["level"])


def sentence(row: Row, name: str, price: Price) -> str:
    """An event in words."""
    return f"{subject(row, name)} {event_words(row, place(row, price))}"


def describe(level: PriceLevel) -> str:
    """The level in words, as the seed names it: in the prices of its first day."""
    row = level.model_dump()
    where = f"the zone {edges_text(level.lower, level.upper)}" if level.is_zone else plain_price(level.lower)
    if level.series in AVERAGES:
        where = level_in_words(row)
    return f"{subject(row, level.symbol)} met {where} ({level.kind}){f': {level.note}' if level.note else ''}."


def edges_text(lower: float, upper: float) -> str:
    """54, or 54-56 for a zone."""
    return f"{plain_price(lower)}-{plain_price(upper)}" if lower < upper else plain_price(lower)


def summary(rows: Sequence[Row]) -> str:
    """The latest event in words; the check names the instrument."""
    first, more = rows[0], len(rows) - 1
    text = f"{first['session_date']}: {event_words(first, place(first, plain_price))}"
    return f"{text}, close {plain_price(first['close'])}{of_currency(first)}" + (f", and {more} more" if more else "")


def alert(rows: Sequence[Row]) -> AlertText:
    """What happened, at which level, and what happened there before."""
    row = rows[0]
    crossed = row["event"] in ("close_cross", "gap_through")
    rank = TOUCH_RANK if row["severity"] == "info" else CROSS_RANK if crossed else OTHER_EVENT_RANK
    about = ": ".join(part for part in (row.get("kind"), row.get("note")) if part)
    return AlertText(sentence(row, named(row), short_price), level_lines(row, about), rank)


def level_lines(row: Row, about: str = "") -> tuple[str, ...]:
    """The bar, the level and what happened there before, for an alert."""
    lines = []
    if row.get("close") is not None:
        before = f" after {short_price(row['prev_close'])}" if row.get("prev_close") is not None else ""
        reach = ""
        if row.get("low") and row.get("high"):
            reach = f"; low {short_price(row['low'])}, high {short_price(row['high'])}"
        lines.append(f"close {short_price(row['close'])}{of_currency(row)}{before}{reach}")
    lines.append(f"level {row['level_id']}" + (f" ({about})" if about else ""))
    if row.get("earlier_events"):
        last = f"{spaced(row['earlier_event'])} {row['earlier_direction'] or ''}".rstrip()
        lines.append(f"last event there {row['earlier_date']}: {last}; {row['earlier_events']} before this one")
    else:
        lines.append("the first event at this level in the stored history")
    return tuple(lines)


def table(rows: Sequence[Row], price: Price) -> TextTable:
    """The events for the terminal."""
    from rich.markup import escape

    columns = {"session": "left", "level": "wraps", "event": "wraps", "close before": "right", "close": "right"}
    cells = [
        (
            str(row["session_date"]),
            escape(row["level_id"]),
            f"{spaced(row['event'])} {row['direction']}",
            price(row["prev_close"]),
            price(row["close"]),
        )
        for row in rows
    ]
    return TextTable(columns, cells)


def brief(rows: Sequence[Row]) -> list[str]:
    """A sentence for each event that no other says as well."""
    return [brief_sentence(row) for row in rows if not _said_by_another(row, rows)] or ["No watched level was met."]


def brief_sentence(row: Row) -> str:
    """What one event was."""
    close, before = money(row, row["close"]), tick_price(row, row["prev_close"])
    text = f"{subject(row, row['symbol'])} {event_words(row, level_in_words(row))}, at {close}"
    text += f" after {before}" if before else ""
    # The price flutters around the level: checks and alerts leave such an event out.
    return text + ("; no close has got away from it since its last event." if row["is_repeat"] else ".")


def _said_by_another(row: Row, rows: Iterable[Row]) -> bool:
    """Whether another event of the level says the same and more: a role flip, or a cross that was a failed retest."""
    more = {"confirmed": "role_flip", "close_cross": "retest_failed"}
    return any(other["event"] == more.get(row["event"]) and other["level_id"] == row["level_id"] for other in rows)


def plot(published: Path, rows: Sequence[Row]) -> "Figure | None":
    """The closes of a year with the level that was met, where it stood in the latest of the sessions.

    Closes and level are in the prices of that session, so a split moves neither against the other.
    """
    from orchestration.signals import plots

    latest = max(rows, key=lambda row: row["session_date"])
    band = plots.Band(edges_text(latest["lower"], latest["upper"]), latest["lower"], latest["upper"])
    if latest.get("series"):
        values = year_before(published, SERIES, latest["session_date"], level_id=latest["level_id"])
        title = subject(latest, f"{latest['symbol']} as a multiple of its average")
        return plots.price_with_levels(
            title, plots.Series.of(values, "close"), [band], [row["session_date"] for row in rows]
        )
    return price_plot(published, latest["symbol"], rows, [band])


def price_plot(published: Path, symbol: str, rows: Sequence[Row], bands: "Sequence[Band]" = ()) -> "Figure | None":
    """The closes of a year with levels and the sessions of events."""
    from orchestration.signals import plots

    latest: dt.date = max(row["session_date"] for row in rows)
    closes = year_before(published, CLOSES, latest, symbol=symbol)
    marked = [row["session_date"] for row in rows]
    return plots.price_with_levels(symbol, plots.Series.of(closes, "close"), bands, marked)


def _way_of(study: Row) -> str:
    return f"{spaced(study['level_id'])} {way(study)}"


LEVELS = Signal(
    name="level",
    title="Levels",
    order=1,
    mart="level_events",
    sql=EVENT_ROWS,
    checks=lambda universe: {level.level_id: describe(level) for level in universe.levels},
    sentence=sentence,
    alert_kind="level",
    studied={
        "level_cross": lambda row: f"Closes across {_way_of(row)}",
        "level_confirmed": lambda row: f"Confirmed breaks of {_way_of(row)}",
        "level_retest": lambda row: f"Retests of {_way_of(row)}",
        "role_flip": lambda row: f"Changes of role of {_way_of(row)}",
        "zone": lambda row: f"Events at {_way_of(row)}",
        "level_pierce": lambda row: f"Failed attempts at {_way_of(row)}",
    },
    # The check names the level, and a table that is wider than the page cannot be read.
    columns="session_date symbol event level prev_close open high low close currency role_after",
    summary=summary,
    plot=plot,
    alert=alert,
    table=table,
    brief=brief,
)
