"""Large moves: one check per move rule."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.market.universe import DATA_MEASURES, MoveRule
from orchestration.signals.signal import (
    EVENTS_NAMED,
    AlertText,
    Price,
    Row,
    Signal,
    TextTable,
    in_a_section_of_its_own,
    year_before,
)
from orchestration.signals.wording import and_more, beyond_the_day, change, in_points, is_of_the_day, named, score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Before all other alerts.
RECORD_RANK = 100.0

# A record of fewer returns than a year's is none that anybody would call so.
RECORD_NEEDS = 252

# Moves that the terminal shows.
MOVES_SHOWN = 15

# One row per broken rule; what the session's row of large_moves says stands beside each.
HITS = """
    select
        signals.*, hits.measure, hits.sessions, hits.score, hits.bridges_gap, moves.return_1d, moves.point_change_1d,
        moves.z_21, moves.z_63, moves.z_ewma, moves.robust_z_252, moves.rank_since_inception,
        moves.returns_since_inception, moves.largest_since, moves.largest_since_return, moves.is_record,
        moves.history_start, moves.sessions_since_previous, moves.is_roll, moves.rules_hit
    from signals
    inner join large_moves as moves using (symbol, session_date)
    inner join move_rule_hits as hits
        on (signals.symbol, signals.session_date, signals.check_name) = (hits.symbol, hits.session_date, hits.rule_id)
    order by signals.session_date desc, abs(return_1d) desc, signals.symbol, measure, sessions, rule_id
"""

RETURNS = """
    select session_date, coalesce(return_1d, point_change_1d) as change from returns
    where symbol = $symbol and session_date between $session - to_days($days) and $session
    order by session_date
"""


def describe(rule: MoveRule) -> str:
    """The rule in words."""
    who = "any instrument" if rule.scope == "all" else f"{rule.scope.replace('_', ' ')} {rule.scope_value}"
    before = f"of the {rule.sessions} returns before it"
    what = {
        "return_1d": f"A daily total return of {rule.threshold:.1%} or more, up or down",
        "point_change": f"A daily change of {rule.threshold:g} points or more, up or down",
        "drawdown": f"The total return fell to {rule.threshold:.1%} or more below its peak",
        "distance_from_52w_high": f"A close fell to {rule.threshold:.1%} or more below the highest of 52 weeks",
        "opening_gap": f"An opening gap of {rule.threshold:.1%} or more, up or down",
        "cumulative_return": f"A total return over {rule.sessions} sessions reached {rule.threshold:.1%}, up or down",
        "z_score": f"A return of {rule.threshold:g} or more standard deviations {before}",
        "z_ewma": f"A return of {rule.threshold:g} or more times the RiskMetrics volatility known the day before",
        "robust_z": f"A return of {rule.threshold:g} or more robust standard deviations {before} (median, MAD)",
        "percentile": f"A return at or beyond the percentile {rule.threshold:g}, or 1 less it, {before}",
        "volume_ratio": f"A large move on {rule.threshold:g} or more times the median volume of the {rule.sessions} "
        "sessions before it",
        "price_correction": f"A price or dividend was corrected by {rule.threshold:.1%} or more by the vendor",
    }[rule.measure]
    return f"{what}, in {who}."


def summary(rows: Sequence[Row]) -> str:
    """The largest moves in words: the scores that broke the rule."""
    # Percentiles are all at the edge: the return tells them apart.
    size = _today if rows[0]["measure"] == "percentile" else lambda row: row["score"]
    largest = sorted(rows, key=lambda row: -abs(size(row)))
    lines = [
        f"{row['symbol']} {score(row)}{' across a roll of contracts' if row.get('is_roll') else ''}"
        for row in largest[:EVENTS_NAMED]
    ]
    return f"{largest[0]['session_date']}: {and_more(lines, len(largest))}"


def alert(rows: Sequence[Row]) -> AlertText:
    """A large move: how unusual, the largest since when, and what else it broke."""
    row, of_the_day, beyond = rows[0], is_of_the_day(rows), beyond_the_day(rows)
    lines = [*_place_in_history(row)] if of_the_day else []
    scores = [
        f"{row[name]:+.1f} against {text}"
        for name, text in (("z_21", "21 sessions"), ("z_63", "63"), ("robust_z_252", "252, robust"))
        if row.get(name) is not None
    ]
    if scores:
        lines.append(f"standard deviations: {'; '.join(scores)}")
    if beyond and of_the_day:
        lines.append("; ".join(beyond))
    if (row.get("sessions_since_previous") or 1) > 1:
        lines.append("bars are missing before it: the move spans more than one session")
    elif any(hit["bridges_gap"] for hit in rows):
        lines.append("bars are missing inside it")
    if row.get("is_roll"):
        lines.append("the front month changed: the move lies between two contracts")
    lines.append(f"rules {row['rules_hit']}")
    today = change(row)
    what = today if of_the_day else f"{', '.join(beyond)} ({today} on the day)"
    unusual = max((abs(row[name]) for name in ("z_21", "z_63", "z_ewma") if row.get(name) is not None), default=0.0)
    known = (row.get("returns_since_inception") or RECORD_NEEDS) >= RECORD_NEEDS
    record = of_the_day and bool(row.get("is_record")) and known
    return AlertText(f"{named(row)} {what}", tuple(lines), unusual + (RECORD_RANK if record else 0.0))


def _place_in_history(row: Row) -> list[str]:
    way = "fall" if _today(row) < 0 else "rise"
    if row.get("is_record"):
        return [f"the largest daily {way} since the history begins, {row.get('history_start')}"]
    if not row.get("largest_since"):
        return []
    then = f" ({change(row, 'largest_since_return')})" if row.get("largest_since_return") is not None else ""
    place = f", number {row['rank_since_inception']} of all" if row.get("rank_since_inception") else ""
    return [f"the largest {way} since {row['largest_since']}{then}{place}"]


def _moves(study: Row) -> str:
    return "Falls" if study["direction"] == "down" else "Rises"


def _today(row: Row) -> float:
    """The return of the session, or its change in points."""
    value: float = row["point_change_1d" if in_points(row) else "return_1d"]
    return value


def _by_size(row: Row) -> tuple[bool, float]:
    """Sorts the largest returns first, and what moves in points behind them."""
    return in_points(row), -abs(_today(row))


def table(rows: Sequence[Row], _: Price) -> TextTable:
    """The largest moves for the terminal, one row per symbol and session; records in bold."""
    from rich.markup import escape

    moves: dict[tuple[str, dt.date], list[Row]] = {}
    for row in rows:
        moves.setdefault((row["symbol"], row["session_date"]), []).append(row)
    shown = sorted(moves.values(), key=lambda found: _by_size(found[0]))[:MOVES_SHOWN]
    cells = []
    for found in shown:
        row = found[0]
        largest = row["largest_since"]
        since = "record" if largest is None else f"{largest} {change(row, 'largest_since_return')}"
        cells.append(
            (
                str(row["session_date"]),
                escape(row["symbol"]),
                change(row) + ("*" if row["sessions_since_previous"] > 1 else ""),
                f"{row['rank_since_inception']} of {row['returns_since_inception']:,}",
                f"[bold]{since}[/]" if row["is_record"] else since,
                _also(found),
            )
        )
    columns = {"session": "left", "symbol": "left", "1 day": "right", "rank": "right", "largest since": "right"}
    return TextTable(
        {**columns, "also": "wraps"},
        cells,
        f" (the largest {MOVES_SHOWN} of {len(moves)})" if len(moves) > MOVES_SHOWN else "",
        "* spans missing sessions" if any(hit["bridges_gap"] for found in shown for hit in found) else None,
    )


def _also(hits: Sequence[Row]) -> str:
    """What a move broke beside the daily threshold, in few words: z-7 5d-17%* open-6% volume.

    Of several z scores, and of several cumulative returns, the largest; move_rule_hits holds all.
    """
    largest: dict[str, Row] = {}
    for hit in sorted(hits, key=lambda hit: abs(hit["score"])):
        largest["z" if hit["measure"] in ("z_score", "z_ewma", "robust_z") else hit["measure"]] = hit
    words = []
    if "z" in largest:
        words.append(f"z{largest['z']['score']:+.0f}")
    elif "percentile" in largest:
        words.append("extreme")
    if several := largest.get("cumulative_return"):
        words.append(f"{several['sessions']}d{several['score']:+.0%}" + ("*" if several["bridges_gap"] else ""))
    for measure, word in (("drawdown", "drawdown"), ("distance_from_52w_high", "52w")):
        if measure in largest:
            words.append(f"{word}{largest[measure]['score']:+.0%}")
    if opened := largest.get("opening_gap"):
        words.append(f"open{opened['score']:+.0%}")
    if "volume_ratio" in largest:
        words.append("volume")
    if hits[0].get("is_roll"):
        words.append("roll")
    return " ".join(words)


def plot(published: Path, rows: Sequence[Row]) -> "Figure | None":
    """The returns of a year of the instrument that moved most, with the sessions in question."""
    from orchestration.signals import plots

    largest = min(rows, key=_by_size)
    symbol, session = largest["symbol"], largest["session_date"]
    series = plots.Series.of(year_before(published, RETURNS, session, symbol=symbol), "change")
    marked = [row["session_date"] for row in rows if row["symbol"] == symbol]
    what = "daily change in points" if in_points(largest) else "daily total return"
    return plots.return_against_history(f"{symbol}, {what}", series, marked, in_percent=not in_points(largest))


MOVES = Signal(
    name="move",
    title="Large moves",
    order=4,
    mart="large_moves",
    sql=HITS,
    checks=lambda universe: {
        rule.rule_id: describe(rule) for rule in universe.move_rules if rule.measure not in DATA_MEASURES
    },
    sentence=lambda row, name, _: f"{name} {score(row)}",
    alert_kind="move",
    studied={
        "return_1d": lambda row: f"{_moves(row)} of {row['threshold'] * 100:.3g}% or more in {row['scope_value']}",
        "large_move": lambda row: f"Large {_moves(row).lower()} of {row['scope_value']}",
    },
    once_a_session=True,
    # Some are the same in all rows of a check; a table that is wider than the page cannot be read.
    columns="session_date symbol score return_1d rank_since_inception largest_since is_record bridges_gap",
    summary=summary,
    plot=plot,
    # Several rules that one move breaks are one alert.
    alert_id=lambda row: f"{row['symbol']}|{row['session_date']}|move",
    alert=alert,
    table=table,
    brief=in_a_section_of_its_own,
)
