"""Alerts from the rows that market checks flag.

A group of checks flags rows of a mart (`checks.flags`); one `Group` here says what to tell of them. All it relies on
are `symbol` and `session_date` of a flagged row, `event_id` where it has one, and the published marts, from which it
reads the rest. A group without an entry is told in plain words of its row, so that a new check is never silent.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.alerts.messages import Alert
from orchestration.market.universe import PriceLevel, Universe

Row = Mapping[str, Any]

# One order for moves, which have a z score, and for what has none. Records come first; then the levels that somebody
# chose to watch, if the price went through; then moves by their score; a level that held comes last.
RECORD_RANK, CROSS_RANK, OTHER_EVENT_RANK, TOUCH_RANK = 100.0, 50.0, 40.0, 0.0

# A record of fewer returns than a year's is none that anybody would call so.
RECORD_NEEDS = 252

# The price came to the level and went back, or stayed where it had been.
TOUCHES = ("pierce_rejected", "retest_held", "confirmed")

HISTORY_OF_LEVELS = """
    select * from level_events where level_id in (select unnest(?)) order by session_date, event_id
"""
MOVES = "select * from large_moves where symbol in (select unnest(?)) and session_date in (select unnest(?))"
NAMES = "select symbol, name from instruments"


@dataclass(frozen=True)
class Facts:
    """What alerts need to know beyond the flagged rows.

    Attributes:
        names: of instruments, by symbol.
        levels: watched levels, by id.
        level_history: all published events of the flagged levels, by level, oldest first.
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
    told = GROUPS.get(group) or other_group(group)
    events: dict[str, list[Row]] = {}
    for row in rows:
        events.setdefault(told.event_id(row), []).append(row)
    return [told.alert(event_id, found, facts) for event_id, found in events.items()]


def load_facts(group: str, rows: Sequence[Row], published: Path, universe: Universe) -> Facts:
    """What the alerts of a group need, from one published version.

    Args:
        group: name of the group of checks.
        rows: its flagged rows.
        published: the version's DuckDB file.
        universe: the seeds.
    """
    from orchestration.storage.warehouse import rows as query

    names = {row["symbol"]: row["name"] for row in query(published, NAMES)}
    levels = {level.level_id: level for level in universe.levels}
    history: dict[str, list[Row]] = {}
    moves = {}
    if group == "moves":
        symbols, sessions = ([*{row[name] for row in rows}] for name in ("symbol", "session_date"))
        moves = {(row["symbol"], row["session_date"]): row for row in query(published, MOVES, [symbols, sessions])}
    elif wanted := [*{row["level_id"] for row in rows if "level_id" in row}]:
        for event in query(published, HISTORY_OF_LEVELS, [wanted]):
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
    rank = TOUCH_RANK if event in TOUCHES else CROSS_RANK if event in ("close_cross", "gap_through") else None
    return Alert(
        event_id,
        "level",
        "info" if event in TOUCHES else "warning",
        (row["symbol"],),
        row["session_date"],
        f"{_named(row['symbol'], facts)} {_what(row, level)}",
        tuple(lines),
        OTHER_EVENT_RANK if rank is None else rank,
    )


def move_alert(event_id: str, rows: Sequence[Row], facts: Facts) -> Alert:
    """A large move: how unusual, and the largest since when."""
    row = {**rows[0], **facts.moves.get((rows[0]["symbol"], rows[0]["session_date"]), {})}
    change = row.get("return_1d")
    way = "fall" if (change or 0) < 0 else "rise"
    lines = []
    record = bool(row.get("is_record")) and (row.get("returns_since_inception") or RECORD_NEEDS) >= RECORD_NEEDS
    if row.get("is_record"):
        lines.append(f"the largest daily {way} since the history begins, {row.get('history_start')}")
    elif row.get("largest_since"):
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
    if row.get("bridges_gap"):
        lines.append("bars are missing before it: the move spans more than one session")
    broken = (str(r.get("rules_hit") or r.get("rule_id") or "") for r in [row, *rows])
    rules = dict.fromkeys(rule for text in broken for rule in text.split(", ") if rule)
    lines.append(f"rules {', '.join(rules)}")
    unusual = max((abs(row[name]) for name in ("z_21", "z_63", "z_ewma") if row.get(name) is not None), default=0.0)
    return Alert(
        event_id,
        "move",
        "warning",
        (row["symbol"],),
        row["session_date"],
        f"{_named(row['symbol'], facts)} " + ("moved" if change is None else f"{change:+.2%}"),
        tuple(lines),
        unusual + (RECORD_RANK if record else 0.0),
    )


def other_group(group: str, kind: str | None = None) -> Group:
    """How a group is told that has no words of its own: the columns of its row as they are."""

    def event_id(row: Row) -> str:
        return str(row.get("event_id") or f"{_subject(row)}|{row['session_date']}|{group}")

    def alert(event_id: str, rows: Sequence[Row], facts: Facts) -> Alert:  # noqa: ARG001  (the signature of a group)
        row = rows[0]
        shown = [f"{_words(name)} {_cell(value)}" for name, value in row.items() if value is not None]
        symbols = (row["symbol"],) if row.get("symbol") else ()
        title = f"{_subject(row)}: {_words(group)}"
        return Alert(event_id, kind or "level", "warning", symbols, row["session_date"], title, (", ".join(shown),))

    return Group(kind or "level", event_id, alert)


# By name of the group in `checks.flags`.
GROUPS: dict[str, Group] = {
    "levels": Group("level", lambda row: str(row["event_id"]), level_alert),
    # Several rules that one move breaks are one event.
    "moves": Group("move", lambda row: f"{row['symbol']}|{row['session_date']}|move", move_alert),
    "pairs": other_group("pairs", "pair"),
    "volatility": other_group("volatility", "volatility"),
}


def _what(row: Row, level: PriceLevel | None) -> str:
    """What the price did to the level."""
    up = row.get("direction") == "up"
    if level and level.is_zone:
        at = f"the zone {_price(level.lower)} to {_price(level.upper)}"
    else:
        at = "" if row.get("level") is None else _price(row["level"])
    sentences = {
        "close_cross": f"closed {'above' if up else 'below'} {at}",
        "gap_through": f"gapped {'up' if up else 'down'} through {at}",
        "pierce_rejected": f"reached {at} from {'below' if up else 'above'} and closed back",
        "zone_entered": f"entered {at} from {'below' if up else 'above'}",
        "zone_exited": f"left {at} {'upwards' if up else 'downwards'}",
        "zone_crossed_through": f"went {'up' if up else 'down'} through {at} in one session",
    }
    words = f"{_words(row['event'])} {row.get('direction') or ''}".rstrip()
    return sentences.get(str(row["event"]), f"{words} at {at or row['level_id']}")


def _subject(row: Row) -> str:
    return str(row.get("symbol") or row.get("pair_id") or row.get("level_id") or "")


def _named(symbol: str, facts: Facts) -> str:
    name = facts.names.get(symbol)
    return f"{symbol} ({name})" if name and name != symbol else symbol


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _price(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.3f}".rstrip("0").rstrip(".")


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
