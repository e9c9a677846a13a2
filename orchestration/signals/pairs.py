"""Gaps between two instruments that began to widen unusually: one check per pair."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.market.universe import Pair
from orchestration.signals.signal import AlertText, Price, Row, Signal, in_a_section_of_its_own, year_before
from orchestration.signals.wording import short_price, spaced, way

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDENINGS = """
    select
        signals.*, spreads.long_symbol, spreads.short_symbol, spreads.kind, spreads.spread_21d, spreads.z_252,
        spreads.percentile_252, spreads.z_threshold, parts.metal_symbol, parts.gap_21d, parts.metal_part_21d,
        parts.rest_21d, parts.rest_z_252
    from signals
    inner join pair_spreads as spreads using (pair_id, session_date)
    inner join gap_parts as parts using (pair_id, session_date)
    order by session_date desc, pair_id
"""

SPREADS = """
    select session_date, spread_21d from pair_spreads
    where pair_id = $pair and session_date between $session - to_days($days) and $session
    order by session_date
"""


def describe(pair: Pair) -> str:
    """The pair in words."""
    return (
        f"The gap between {pair.long_symbol} and {pair.short_symbol} ({spaced(pair.kind)}) began to widen"
        f" by {pair.z_threshold:g} or more standard deviations."
    )


def sentence(row: Row, _: str, __: Price) -> str:
    """Who has gained on whom: "SILJ ahead of SIL by 8.1% over 21 sessions beyond what SLV's move makes, z +2.3"."""
    ahead, behind = row["long_symbol"], row["short_symbol"]
    judged_on_rest = row.get("rest_z_252") is not None
    gap, z = (row["rest_21d"], row["rest_z_252"]) if judged_on_rest else (row["spread_21d"], row["z_252"])
    if gap < 0:
        ahead, behind = behind, ahead
    size = f"{abs(gap):.1%}" if judged_on_rest else f"{abs(gap):.3f} (log)"
    beyond = f" beyond what {row['metal_symbol']}'s move makes" if judged_on_rest else ""
    return f"{ahead} ahead of {behind} by {size} over 21 sessions{beyond}, z {z:+.1f}"


def summary(rows: Sequence[Row]) -> str:
    """The latest widening in words."""
    return f"{rows[0]['session_date']}: {sentence(rows[0], '', short_price)}"


def alert(rows: Sequence[Row]) -> AlertText:
    """A gap that began to widen, from which threshold on."""
    row = rows[0]
    threshold = f"{row['z_threshold']:g} standard deviations"
    lines = [f"pair {row['pair_id']} ({spaced(row['kind'])}), flagged from {threshold} on"]
    if row.get("rest_z_252") is not None:
        lines.append(f"the gap is {row['gap_21d']:+.1%}, of which {row['metal_part_21d']:+.1%} is the metal's part")
    elif row.get("percentile_252") is not None:
        lines.append(f"percentile {row['percentile_252']:.0%} of the 252 values before")
    symbols = (row["long_symbol"], row["short_symbol"])
    return AlertText(sentence(row, "", short_price), tuple(lines), abs(row.get("rest_z_252") or row["z_252"]), symbols)


def plot(published: Path, rows: Sequence[Row]) -> "Figure | None":
    """The 21-session difference over a year."""
    from orchestration.signals import plots

    spreads = year_before(published, SPREADS, rows[0]["session_date"], pair=rows[0]["pair_id"])
    series = {f"{rows[0]['long_symbol']} less {rows[0]['short_symbol']}": plots.Series.of(spreads, "spread_21d")}
    return plots.lines("Difference of log returns over 21 sessions", series, base=0.0)


PAIRS = Signal(
    name="pair",
    title="Widening gaps",
    order=5,
    mart="pair_spreads",
    sql=WIDENINGS,
    checks=lambda universe: {pair.pair_id: describe(pair) for pair in universe.pairs},
    sentence=sentence,
    alert_kind="pair",
    studied={"pair_widening": lambda row: f"Widening gaps of {spaced(row['scope_value'])} {way(row)}"},
    columns="session_date long_symbol short_symbol gap_21d metal_part_21d rest_21d rest_z_252 z_252 z_threshold",
    summary=summary,
    plot=plot,
    alert=alert,
    brief=in_a_section_of_its_own,
)
