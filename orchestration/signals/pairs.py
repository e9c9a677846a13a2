"""One check per pair: it fails when the gap between the two began to widen unusually."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.market.universe import Pair, Universe
from orchestration.signals import wording as phrases
from orchestration.signals.group import PLOT_DAYS, CheckGroup, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIR_SPREADS = dg.AssetKey("pair_spreads")

SPREADS = """
    select session_date, spread_21d from pair_spreads
    where pair_id = $pair and session_date between $session - to_days($days) and $session
    order by session_date
"""


def pair_checks(universe: Universe) -> CheckGroup:
    """The checks of all pairs."""
    return CheckGroup(
        "pairs",
        PAIR_SPREADS,
        {pair.pair_id: describe(pair) for pair in universe.pairs},
        lambda _, rows: summary(rows),
        plot,
        hidden=("pair_id", "symbol"),
    )


def describe(pair: Pair) -> str:
    """The pair in words."""
    kind = pair.kind.replace("_", " ")
    return (
        f"The gap between {pair.long_symbol} and {pair.short_symbol} ({kind}) has not begun to widen"
        f" by {pair.z_threshold:g} or more standard deviations since the last evaluation."
    )


def summary(rows: Sequence[Row]) -> str:
    """The latest widening in words."""
    return f"{rows[0]['session_date']}: {phrases.widening_pair(rows[0])}"


def plot(published: Path, pair_id: str, rows: Sequence[Row]) -> "Figure | None":
    """The 21-session difference over a year."""
    from orchestration.duckdb_io import rows as query
    from orchestration.signals import plots

    spreads = query(published, SPREADS, {"pair": pair_id, "session": rows[0]["session_date"], "days": PLOT_DAYS})
    name = f"{rows[0]['long_symbol']} less {rows[0]['short_symbol']}"
    series = {name: plots.Series.of(spreads, "spread_21d")}
    return plots.lines("Difference of log returns over 21 sessions", series, base=0.0)
