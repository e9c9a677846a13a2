"""Checks of levels: one per level of price_levels.csv, one for new extremes, one for round numbers."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.market.universe import PriceLevel, Universe
from orchestration.signals import wording as phrases
from orchestration.signals.group import PLOT_DAYS, CheckGroup, Row, and_more

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from orchestration.signals.plots import Band

LEVEL_EVENTS = dg.AssetKey("level_events")

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


def level_checks(universe: Universe) -> CheckGroup:
    """One check per level: it fails when the price met it."""

    def summary(_: str, rows: Sequence[Row]) -> str:
        first, more = rows[0], len(rows) - 1
        what = phrases.level_event(first, phrases.place(first, price_text))
        text = f"{first['session_date']}: {what}, close {price_text(first['close'])}"
        return text + (f", and {more} more" if more else "")

    def plot(published: Path, _: str, rows: Sequence[Row]) -> "Figure | None":
        return level_plot(published, rows)

    return CheckGroup(
        "levels",
        LEVEL_EVENTS,
        {level.level_id: describe(level) for level in universe.levels},
        summary,
        plot,
        # The check names the level, and a table that is wider than the page cannot be read.
        hidden=("level_id", "event_id", "direction", "lower", "upper", "price_source"),
    )


def extreme_checks() -> CheckGroup:
    """New 52-week and all-time extremes, and round numbers, of every instrument."""

    def summary(_: str, rows: Sequence[Row]) -> str:
        shown = [f"{row['symbol']} " + phrases.level_event(row, price_text(row["level"])) for row in rows[:5]]
        return f"{rows[0]['session_date']}: {and_more(shown, len(rows))}"

    def plot(published: Path, _: str, rows: Sequence[Row]) -> "Figure | None":
        symbol = rows[0]["symbol"]
        return price_plot(published, symbol, [row for row in rows if row["symbol"] == symbol])

    return CheckGroup(
        "extremes",
        LEVEL_EVENTS,
        {
            "new_extremes": "No instrument has closed beyond its 52-week or all-time extreme for the first time in a"
            " run since the last evaluation.",
            "round_numbers": "No instrument has crossed round numbers since the last evaluation.",
        },
        summary,
        plot,
        hidden=("event_id", "kind", "event", "price_source"),
    )


def describe(level: PriceLevel) -> str:
    """The level in words, as the seed names it: in the prices of its first day."""
    note = f": {level.note}" if level.note else ""
    return f"{level.symbol} has not met {in_words(level)} ({level.kind}) since the last evaluation{note}."


def in_words(level: PriceLevel) -> str:
    """54, or the zone 54-56."""
    return f"the zone {edges_text(level.lower, level.upper)}" if level.is_zone else price_text(level.lower)


def edges_text(lower: float, upper: float) -> str:
    """54, or 54-56 for a zone."""
    return f"{price_text(lower)}-{price_text(upper)}" if lower < upper else price_text(lower)


def price_text(price: float) -> str:
    """54, not 54.0."""
    return f"{price:.10g}"


def level_plot(published: Path, rows: Sequence[Row]) -> "Figure | None":
    """The closes of a year with the level that was met, where it stood in the latest of the sessions.

    Closes and level are in the prices of that session, so a split moves neither against the other.
    """
    from orchestration.signals import plots

    latest = max(rows, key=lambda row: row["session_date"])
    band = plots.Band(edges_text(latest["lower"], latest["upper"]), latest["lower"], latest["upper"])
    return price_plot(published, latest["symbol"], rows, [band])


def price_plot(published: Path, symbol: str, rows: Sequence[Row], bands: "Sequence[Band]" = ()) -> "Figure | None":
    """The closes of a year with levels and the sessions of events."""
    from orchestration.duckdb_io import rows as query
    from orchestration.signals import plots

    latest: dt.date = max(row["session_date"] for row in rows)
    closes = query(published, CLOSES, {"symbol": symbol, "session": latest, "days": PLOT_DAYS})
    marked = [row["session_date"] for row in rows]
    return plots.price_with_levels(symbol, plots.Series.of(closes, "close"), bands, marked)
