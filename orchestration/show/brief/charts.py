"""The brief's charts: price with levels, drawdown, volatility, relative strength."""

from typing import TYPE_CHECKING

from orchestration.show.brief.facts import MOST_LINES, Facts, compared
from orchestration.signals import plots
from orchestration.signals.wording import level_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def charts(facts: Facts) -> list[tuple[str, "Figure"]]:
    """Figures with a sentence that says what each shows."""
    found = _prices(facts)
    for title, column, base in (
        ("Drawdown", "drawdown", 0.0),
        ("Volatility of 21 sessions, annualised", "close_to_close_21", None),
    ):
        series = {symbol: _series(facts, symbol, column) for symbol in compared(facts.instruments, facts.pairs)}
        if series:
            found.append((title, plots.lines(title, series, percent=True, base=base)))
    strength = {
        f"{pair['long_symbol']} / {pair['short_symbol']}": plots.Series.of(
            [row for row in facts.pair_history if row["pair_id"] == pair["pair_id"]], "strength"
        )
        for pair in facts.pairs[:MOST_LINES]
    }
    if strength:
        title = "Relative strength, 1 a year before"
        found.append((title, plots.lines(title, strength, base=1.0)))
    return found


def _prices(facts: Facts) -> list[tuple[str, "Figure"]]:
    found = []
    # A ratio, and a multiple of an average, are on no price's scale.
    on_prices = [level for level in facts.levels if level["series"] is None]
    for symbol in dict.fromkeys(level["symbol"] for level in on_prices):
        levels = [level for level in on_prices if level["symbol"] == symbol]
        bands = [plots.Band(level_name({**level, "kind": None}), level["lower"], level["upper"]) for level in levels]
        events = [
            event
            for rows in facts.events.values()
            for event in rows
            if event.get("level_id") and not event.get("series")
        ]
        met = [event["session_date"] for event in events if event["symbol"] == symbol]
        title = f"{symbol} with its levels"
        figure = plots.price_with_levels(title, _series(facts, symbol, "close"), bands, met)
        found.append((f"{title}; {levels[0]['price_source']}", figure))
    return found


def _series(facts: Facts, symbol: str, column: str) -> plots.Series:
    return plots.Series.of([row for row in facts.history if row["symbol"] == symbol], column)
