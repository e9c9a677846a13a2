"""One check per move rule: it fails, as a warning, when a move broke the rule since the last evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.market.universe import DATA_MEASURES, MoveRule, Universe
from orchestration.signals import wording as phrases
from orchestration.signals.group import PLOT_DAYS, CheckGroup, Row, and_more

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGE_MOVES = dg.AssetKey("large_moves")

# Columns of a flagged row that are the same in all rows of a check.
SAID_BY_THE_RULE = ("rule_id", "measure", "sessions", "threshold")

# Stands in the asset's table: one that is wider than the page cannot be read.
LEFT_OUT = (
    "direction",
    "z_21",
    "z_63",
    "returns_since_inception",
    "largest_since_return",
    "history_start",
    "sessions_since_previous",
    "is_volume_confirmed",
    "rules_hit",
)

# Moves that the words of a check name; its table has all.
MOVES_NAMED = 5

RETURNS = """
    select session_date, return_1d from returns
    where symbol = $symbol and session_date between $session - to_days($days) and $session
    order by session_date
"""


def move_checks(universe: Universe) -> CheckGroup:
    """The checks of all move rules."""
    rules = {rule.rule_id: rule for rule in universe.move_rules if rule.measure not in DATA_MEASURES}
    return CheckGroup(
        "moves",
        LARGE_MOVES,
        {name: describe(rule) for name, rule in rules.items()},
        lambda name, rows: summary(rules[name], rows),
        plot,
        hidden=(*SAID_BY_THE_RULE, *LEFT_OUT),
    )


def plot(published: Path, _: str, rows: Sequence[Row]) -> "Figure | None":
    """The returns of a year of the instrument that moved most, with the sessions in question."""
    from orchestration.duckdb_io import rows as query
    from orchestration.signals import plots

    largest = max(rows, key=lambda row: abs(row["return_1d"]))
    symbol, session = largest["symbol"], largest["session_date"]
    found = query(published, RETURNS, {"symbol": symbol, "session": session, "days": PLOT_DAYS})
    series = plots.Series.of(found, "return_1d")
    marked = [row["session_date"] for row in rows if row["symbol"] == symbol]
    return plots.return_against_history(f"{symbol}, daily total return", series, marked)


def describe(rule: MoveRule) -> str:
    """The rule in words."""
    who = "every instrument" if rule.scope == "all" else f"{rule.scope.replace('_', ' ')} {rule.scope_value}"
    before = f"of the {rule.sessions} returns before it"
    what = {
        "return_1d": f"daily total return of {rule.threshold:.1%} or more, up or down",
        "opening_gap": f"opening gap of {rule.threshold:.1%} or more, up or down",
        "cumulative_return": f"total return over {rule.sessions} sessions reaching {rule.threshold:.1%}, up or down",
        "z_score": f"return of {rule.threshold:g} or more standard deviations {before}",
        "z_ewma": f"return of {rule.threshold:g} or more times the RiskMetrics volatility known the day before",
        "robust_z": f"return of {rule.threshold:g} or more robust standard deviations {before} (median, MAD)",
        "percentile": f"return at or beyond the percentile {rule.threshold:g}, or 1 less it, {before}",
        "volume_ratio": f"large move on {rule.threshold:g} or more times the median volume of the {rule.sessions} "
        "sessions before it",
        "price_correction": f"price or dividend corrected by {rule.threshold:.1%} or more by the vendor",
    }[rule.measure]
    return f"No {what}, in {who}."


def summary(rule: MoveRule, moves: Sequence[Row]) -> str:
    """The largest moves in words: the scores that broke the rule."""
    if rule.measure == "percentile":  # all at the edge: the return tells them apart
        largest = sorted(moves, key=lambda row: -abs(row["return_1d"]))
    else:
        largest = sorted(moves, key=lambda row: -abs(row["score"]))
    named = [f"{row['symbol']} {phrases.score(row)}" for row in largest[:MOVES_NAMED]]
    return f"{largest[0]['session_date']}: {and_more(named, len(largest))}"
