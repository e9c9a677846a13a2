"""Alerts from the rows that market checks flag.

A group of checks flags rows of a mart (`signals.new_events`); one `Group` here says what to tell of them. All it
relies on are `symbol` and `session_date` of a flagged row, `event_id` where it has one, and the published marts, from
which it reads the rest. A test demands an entry for every group of checks.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.alerts.messages import Alert
from orchestration.market.universe import PriceLevel, Universe
from orchestration.signals import wording as phrases

Row = Mapping[str, Any]

# One order for moves, which have a z score, and for what has none. Records come first; then the levels that somebody
# chose to watch, if the price went through; then moves by their score; a level that held comes last.
RECORD_RANK, CROSS_RANK, OTHER_EVENT_RANK, TOUCH_RANK = 100.0, 50.0, 40.0, 0.0

# A record of fewer returns than a year's is none that anybody would call so.
RECORD_NEEDS = 252

# The price came to the level and went back, or stayed where it had been.
TOUCHES = ("pierce_rejected", "retest_held", "confirmed")
# Nobody chose these levels.
UNCHOSEN = ("extreme", "round_number")

HISTORY_OF_LEVELS = """
    select * from level_events where level_id in (select unnest(?)) order by session_date, event_order desc
"""
MOVES = "select * from large_moves where symbol in (select unnest(?)) and session_date in (select unnest(?))"
NAMES = "select symbol, name from instruments"


@dataclass(frozen=True)
class Facts:
    """What alerts need to know beyond the flagged rows.

    Attributes:
        names: of instruments, by symbol.
        levels: watched levels, by id.
        level_history: all published events of the flagged levels, by level, oldest first; of one session the one that
            says most last.
        moves: published large moves, by symbol and session.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, PriceLevel] = field(default_factory=dict)
    level_history: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    moves: Mapping[tuple[str, dt.date], Row] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """How the rows of one group of checks are told.

    Attributes:
        kind: one of `channels.KINDS`.
        event_id: of a row; rows with the same id are one alert.
        alert: from the id and its rows.
    """

    kind: str
    event_id: Callable[[Row], str]
    alert: Callable[[str, Sequence[Row], Facts], Alert]


def alerts_of(group: str, rows: Iterable[Row], facts: Facts) -> list[Alert]:
    """The alerts of a group's flagged rows, one per event."""
    told = GROUPS[group]
    events: dict[str, list[Row]] = {}
    for row in rows:
        events.setdefault(told.event_id(row), []).append(row)
    return [told.alert(event_id, found, facts) for event_id, found in events.items()]


def load_facts(flagged: Mapping[str, Sequence[Row]], published: Path, universe: Universe) -> Facts:
    """What the alerts of all groups need, from one published version.

    Args:
        flagged: the flagged rows of each group of checks, by its name.
        published: the version's DuckDB file.
        universe: the seeds.
    """
    from orchestration.duckdb_io import rows as query

    names = {row["symbol"]: row["name"] for row in query(published, NAMES)}
    levels = {level.level_id: level for level in universe.levels}
    history: dict[str, list[Row]] = {}
    moves = {}
    if moved := flagged.get("moves"):
        symbols, sessions = ([*{row[name] for row in moved}] for name in ("symbol", "session_date"))
        moves = {(row["symbol"], row["session_date"]): row for row in query(published, MOVES, [symbols, sessions])}
    if wanted := {row["level_id"] for rows in flagged.values() for row in rows if "level_id" in row}:
        for event in query(published, HISTORY_OF_LEVELS, [[*wanted]]):
            history.setdefault(event["level_id"], []).append(event)
    return Facts(names, levels, history, moves)


def level_alert(event_id: str, rows: Sequence[Row], facts: Facts) -> Alert:
    """An event of a watched level, with what happened at that level before."""
    history = facts.level_history.get(rows[0]["level_id"], ())
    row = {**rows[0], **next((event for event in history if event["event_id"] == event_id), {})}
    level = facts.levels.get(row["level_id"])
    event = str(row["event"])
    lines = []
    if row.get("close") is not None:
        before = f" after {_price(row['prev_close'])}" if row.get("prev_close") is not None else ""
        reach = f"; low {_price(row['low'])}, high {_price(row['high'])}" if row.get("low") and row.get("high") else ""
        lines.append(f"close {_price(row['close'])}{before}{reach}")
    described = ": ".join(part for part in (level.kind, level.note) if part) if level else ""
    lines.append(f"level {row['level_id']}" + (f" ({described})" if described else ""))
    earlier = [e for e in history if e["session_date"] < row["session_date"]]
    if earlier:
        last = earlier[-1]
        lines.append(
            f"last event there {last['session_date']}: {_words(last['event'])} {last.get('direction') or ''}".rstrip()
            + f"; {len(earlier)} before this one"
        )
    else:
        lines.append("the first event at this level in the stored history")
    minor = event in TOUCHES or row.get("kind") in UNCHOSEN
    crossed = event in ("close_cross", "gap_through")
    return Alert(
        event_id,
        "level",
        "info" if minor else "warning",
        (row["symbol"],),
        row["session_date"],
        f"{_named(row['symbol'], facts)} {phrases.level_event(row, phrases.place(row, _price))}",
        tuple(lines),
        TOUCH_RANK if minor else CROSS_RANK if crossed else OTHER_EVENT_RANK,
    )


def move_alert(event_id: str, rows: Sequence[Row], facts: Facts) -> Alert:
    """A large move: how unusual, the largest since when, and what else it broke.

    Args:
        event_id: of the alert.
        rows: the rules that the move broke, as rows of `move_rule_hits` with those of `large_moves`.
        facts: the published moves.
    """
    row = {**rows[0], **facts.moves.get((rows[0]["symbol"], rows[0]["session_date"]), {})}
    change = row["return_1d"]
    way = "fall" if change < 0 else "rise"
    of_the_day = phrases.is_of_the_day(rows)
    beyond = phrases.beyond_the_day(rows)
    lines = []
    record = (
        of_the_day
        and bool(row.get("is_record"))
        and (row.get("returns_since_inception") or RECORD_NEEDS) >= RECORD_NEEDS
    )
    if of_the_day and row.get("is_record"):
        lines.append(f"the largest daily {way} since the history begins, {row.get('history_start')}")
    elif of_the_day and row.get("largest_since"):
        then = f" ({row['largest_since_return']:+.2%})" if row.get("largest_since_return") is not None else ""
        place = f", number {row['rank_since_inception']} of all" if row.get("rank_since_inception") else ""
        lines.append(f"the largest {way} since {row['largest_since']}{then}{place}")
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
    lines.append(f"rules {row['rules_hit']}")
    unusual = max((abs(row[name]) for name in ("z_21", "z_63", "z_ewma") if row.get(name) is not None), default=0.0)
    return Alert(
        event_id,
        "move",
        "warning",
        (row["symbol"],),
        row["session_date"],
        f"{_named(row['symbol'], facts)} "
        + (f"{change:+.2%}" if of_the_day else f"{', '.join(beyond)} ({change:+.2%} on the day)"),
        tuple(lines),
        unusual + (RECORD_RANK if record else 0.0),
    )


def pair_alert(event_id: str, rows: Sequence[Row], facts: Facts) -> Alert:  # noqa: ARG001  (the signature of a group)
    """A gap between two instruments that began to widen."""
    row = rows[0]
    lines = (
        f"pair {row['pair_id']} ({_words(row['kind'])}), flagged from {row['z_threshold']:g} standard deviations on",
        "" if row.get("percentile_252") is None else f"percentile {row['percentile_252']:.0%} of the 252 values before",
    )
    symbols = (row["long_symbol"], row["short_symbol"])
    title = phrases.widening_pair(row)
    told = tuple(line for line in lines if line)
    return Alert(event_id, "pair", "warning", symbols, row["session_date"], title, told, abs(row["z_252"]))


def spike_alert(event_id: str, rows: Sequence[Row], facts: Facts) -> Alert:
    """A volatility that began to stand out of its year."""
    row = rows[0]
    lines = [f"252 sessions: {row['close_to_close_252']:.0%}; percentile {row['volatility_percentile_252']:.0%}"]
    if row.get("trend_state"):
        lines.append(f"trend {row['trend_state']}, drawdown {row['drawdown']:.2%}")
    title = f"{_named(row['symbol'], facts)} {phrases.spike(row)}"
    rank = float(row["volatility_ratio_21_252"])
    return Alert(event_id, "volatility", "warning", (row["symbol"],), row["session_date"], title, tuple(lines), rank)


# By name of the group in `signals.new_events`.
GROUPS: dict[str, Group] = {
    "levels": Group("level", lambda row: str(row["event_id"]), level_alert),
    "extremes": Group("level", lambda row: str(row["event_id"]), level_alert),
    # Several rules that one move breaks are one event.
    "moves": Group("move", lambda row: f"{row['symbol']}|{row['session_date']}|move", move_alert),
    "pairs": Group("pair", lambda row: f"{row['pair_id']}|{row['session_date']}|widening", pair_alert),
    "volatility": Group("volatility", lambda row: f"{row['symbol']}|{row['session_date']}|spike", spike_alert),
}


def _named(symbol: str, facts: Facts) -> str:
    name = facts.names.get(symbol)
    return f"{symbol} ({name})" if name and name != symbol else symbol


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _price(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.3f}".rstrip("0").rstrip(".")
