"""One check for volatility spikes of any instrument."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.signals import wording as phrases
from orchestration.signals.group import PLOT_DAYS, CheckGroup, Row, and_more

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VOLATILITY = dg.AssetKey("volatility")

# As many lines as one plot can be read with.
LINES = 4

VOLATILITIES = """
    select symbol, session_date, close_to_close_21 from volatility
    where symbol in (select unnest($symbols)) and session_date between $session - to_days($days) and $session
    order by symbol, session_date
"""


def volatility_checks() -> CheckGroup:
    """The check of spikes."""
    return CheckGroup(
        "volatility",
        VOLATILITY,
        {
            "volatility_spikes": "No instrument's 21-session volatility has begun to stand at 1.5 times its 252-session"
            " volatility or more, and in the top 5 percent of its year, since the last evaluation."
        },
        lambda _, rows: summary(rows),
        plot,
        # The ratio has it; a table that is wider than the page cannot be read.
        hidden=("close_to_close_252", "drawdown"),
    )


def summary(rows: Sequence[Row]) -> str:
    """The largest spikes in words."""
    largest = sorted(rows, key=lambda row: -row["volatility_ratio_21_252"])[:5]
    shown = [f"{row['symbol']} {phrases.spike(row)}" for row in largest]
    return f"{rows[0]['session_date']}: {and_more(shown, len(rows))}"


def plot(published: Path, _: str, rows: Sequence[Row]) -> "Figure | None":
    """The 21-session volatilities of a year."""
    from orchestration.duckdb_io import rows as query
    from orchestration.signals import plots

    largest = sorted(rows, key=lambda row: -row["volatility_ratio_21_252"])
    symbols = list(dict.fromkeys(row["symbol"] for row in largest))[:LINES]
    found = query(published, VOLATILITIES, {"symbols": symbols, "session": rows[0]["session_date"], "days": PLOT_DAYS})
    series = {
        symbol: plots.Series.of([row for row in found if row["symbol"] == symbol], "close_to_close_21")
        for symbol in symbols
    }
    return plots.lines("Volatility of 21 sessions, annualised", series, percent=True)
