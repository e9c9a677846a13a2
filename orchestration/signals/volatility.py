"""Volatilities that began to stand out of their year: one check for all instruments."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.signals.signal import (
    EVENTS_NAMED,
    AlertText,
    Price,
    Row,
    Signal,
    in_a_section_of_its_own,
    year_before,
)
from orchestration.signals.wording import and_more, named, short_price

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# As many lines as one plot can be read with.
LINES = 4

# Of the trends only sessions of events: DuckDB would read those of all years for a few rows.
SPIKES = """
    select
        signals.*, volatility.close_to_close_21, volatility.close_to_close_252, volatility.volatility_ratio_21_252,
        volatility.volatility_percentile_252, trend.trend_state, trend.drawdown
    from signals
    inner join volatility using (symbol, session_date)
    inner join (select * from trend where session_date in (select session_date from signals)) as trend
        using (symbol, session_date)
    order by session_date desc, symbol
"""

VOLATILITIES = """
    select symbol, session_date, close_to_close_21 from volatility
    where symbol in (select unnest($symbols)) and session_date between $session - to_days($days) and $session
    order by symbol, session_date
"""


def sentence(row: Row, name: str, _: Price) -> str:
    """How large a volatility is: "SLV volatility 139%, 2.8 times its year"."""
    return f"{name} volatility {row['close_to_close_21']:.0%}, {row['volatility_ratio_21_252']:.1f} times its year"


def summary(rows: Sequence[Row]) -> str:
    """The largest spikes in words."""
    lines = [sentence(row, row["symbol"], short_price) for row in _largest_first(rows)[:EVENTS_NAMED]]
    return f"{rows[0]['session_date']}: {and_more(lines, len(rows))}"


def alert(rows: Sequence[Row]) -> AlertText:
    """A spike beside the trend."""
    row = rows[0]
    lines = [f"252 sessions: {row['close_to_close_252']:.0%}; percentile {row['volatility_percentile_252']:.0%}"]
    if row.get("trend_state"):
        lines.append(f"trend {row['trend_state']}, drawdown {row['drawdown']:.2%}")
    return AlertText(sentence(row, named(row), short_price), tuple(lines), float(row["volatility_ratio_21_252"]))


def plot(published: Path, rows: Sequence[Row]) -> "Figure | None":
    """The 21-session volatilities of a year."""
    from orchestration.signals import plots

    symbols = list(dict.fromkeys(row["symbol"] for row in _largest_first(rows)))[:LINES]
    found = year_before(published, VOLATILITIES, rows[0]["session_date"], symbols=symbols)
    series = {
        symbol: plots.Series.of([row for row in found if row["symbol"] == symbol], "close_to_close_21")
        for symbol in symbols
    }
    return plots.lines("Volatility of 21 sessions, annualised", series, percent=True)


def _largest_first(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -row["volatility_ratio_21_252"])


VOLATILITY = Signal(
    name="volatility",
    title="Volatility spikes",
    order=6,
    mart="volatility",
    sql=SPIKES,
    checks=lambda _: {
        "volatility_spikes": "The 21-session volatility of instruments began to stand at 1.5 times their 252-session"
        " volatility or more, and in the top 5 percent of its year."
    },
    sentence=sentence,
    alert_kind="volatility",
    studied={"volatility_spike": lambda row: f"Volatility spikes of {row['scope_value']}"},
    # The ratio says how the year was; a table that is wider than the page cannot be read.
    columns="session_date symbol close_to_close_21 volatility_ratio_21_252 volatility_percentile_252 trend_state",
    summary=summary,
    plot=plot,
    alert=alert,
    brief=in_a_section_of_its_own,
)
