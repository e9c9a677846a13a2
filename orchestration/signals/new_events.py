"""What happened in the market and was not seen before: the rows that market checks and the command line show.

Each check remembers the events that it has seen, by key. An event that appears later is flagged, up to 30 days late:
a skipped day, a bar that came late, a correction. A flag stays until its instrument has a further session, so that
it does not vanish because somebody refreshed twice. What is seen for the first time (a new level, a new rule, a new
instrument) flags its latest session only: history is not news. Nor is what changed definitions (another version of the
models, an edited row of the seeds) see in sessions that were there before: only what is later is flagged then. What is
gone from tables that end earlier than before (the clock was set back, an older lake was restored) stays known, or it
would be news again.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from orchestration.duckdb_io import rows
from orchestration.files import write_text
from orchestration.publish.manifest import current_manifest, version_file
from orchestration.settings import Settings
from orchestration.transform.fingerprint import definitions_of

SPANS = "select symbol, min(session_date) as first, max(session_date) as latest from daily_bars group by symbol"

# Of the levels in price_levels.csv, and no fluttering.
LEVEL_EVENTS = """
    select
        session_date, symbol, level_id, event, direction, level, lower, upper, prev_close, open, high, low, close,
        role_after, price_source, event_id
    from level_events
    where not is_repeat and kind not in ('extreme', 'round_number')
    order by session_date desc, symbol, level_id, event_order
"""

# One row per broken rule; what the session's row of large_moves says stands beside each.
LARGE_MOVES = """
    select
        hits.session_date, hits.symbol, hits.rule_id, hits.measure, hits.sessions, hits.score, hits.threshold,
        hits.direction, moves.return_1d, moves.z_21, moves.z_63, moves.rank_since_inception,
        moves.returns_since_inception, moves.largest_since, moves.largest_since_return, moves.is_record,
        moves.history_start, moves.sessions_since_previous, hits.bridges_gap, moves.is_volume_confirmed, moves.rules_hit
    from move_rule_hits as hits
    inner join large_moves as moves on hits.symbol = moves.symbol and hits.session_date = moves.session_date
    order by hits.session_date desc, abs(moves.return_1d) desc, hits.symbol, hits.measure, hits.sessions, hits.rule_id
"""

# 52-week and all-time extremes and round numbers, when a run begins; an all-time extreme is one of 52 weeks as well.
EXTREMES = """
    select
        session_date, symbol, kind, level_id, event, direction, level, levels_crossed, prev_close, close, price_source,
        event_id
    from level_events
    where not is_repeat and kind in ('extreme', 'round_number')
    qualify not (
        kind = 'extreme'
        and level_id like '%:52w\\_%' escape '\\'
        and count(case when level_id like '%:all\\_time\\_%' escape '\\' then 1 end)
            over (partition by symbol, session_date, direction) > 0
    )
    order by session_date desc, symbol, level_id
"""

WIDENING_PAIRS = """
    select
        session_date, pair_id, long_symbol as symbol, long_symbol, short_symbol, kind, spread_21d, z_252,
        percentile_252, z_threshold
    from pair_spreads where widening_began order by session_date desc, pair_id
"""

SPIKES = """
    select
        v.session_date, v.symbol, v.close_to_close_21, v.close_to_close_252, v.volatility_ratio_21_252,
        v.volatility_percentile_252, t.trend_state, t.drawdown
    from volatility as v
    inner join trend as t on v.symbol = t.symbol and v.session_date = t.session_date
    where v.spike_began order by v.session_date desc, v.symbol
"""


@dataclass(frozen=True)
class Group:
    """A mart whose rows market checks flag.

    Attributes:
        sql: its rows, the latest session first; each has a symbol and a session_date.
        check: name of the check that a row concerns.
        key: what a row is known by, within its check.
    """

    sql: str
    check: Callable[[dict[str, Any]], str]
    key: Callable[[dict[str, Any]], str]


GROUPS = {
    "levels": Group(LEVEL_EVENTS, lambda row: row["level_id"], lambda row: row["event_id"]),
    "extremes": Group(
        EXTREMES,
        lambda row: "new_extremes" if row["kind"] == "extreme" else "round_numbers",
        lambda row: row["event_id"],
    ),
    "moves": Group(
        LARGE_MOVES,
        lambda row: row["rule_id"],
        lambda row: f"{row['symbol']}|{row['session_date']}|{row['rule_id']}",
    ),
    "pairs": Group(
        WIDENING_PAIRS, lambda row: row["pair_id"], lambda row: f"{row['pair_id']}|{row['session_date']}|widening"
    ),
    "volatility": Group(
        SPIKES, lambda _: "volatility_spikes", lambda row: f"{row['symbol']}|{row['session_date']}|spike"
    ),
}


# How long before the latest session that was looked at a late or corrected bar is still news.
LATE_DAYS = 30


@dataclass(frozen=True)
class Event:
    """One thing that one check could flag."""

    check: str
    key: str
    symbol: str
    session: dt.date


@dataclass(frozen=True)
class Span:
    """First and latest session of an instrument."""

    first: dt.date
    latest: dt.date


@dataclass(frozen=True)
class Memory:
    """What a group of checks knows.

    Attributes:
        seen: keys of all events that were there at the last evaluation, by check.
        flagged: keys that were flagged then, by check.
        spans: first and latest session of each instrument then.
        definitions: of events then; a short text that is equal for equal ones.
    """

    seen: dict[str, set[str]] = field(default_factory=dict)
    flagged: dict[str, set[str]] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    definitions: str = ""


@dataclass(frozen=True)
class Flags:
    """Rows of one mart that are flagged, by check, and what to remember once they have been shown."""

    by_check: dict[str, list[dict[str, Any]]]
    memory: Memory
    version: int

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The flagged rows of all checks, each once."""
        unique = {id(row): row for found in self.by_check.values() for row in found}
        return list(unique.values())


def evaluate(events: Iterable[Event], spans: dict[str, Span], memory: Memory, definitions: str = "") -> Memory:
    """What is flagged now, and known from now on.

    Args:
        events: everything that is in the published mart.
        spans: first and latest session of each published instrument.
        memory: what was known before.
        definitions: those by which the mart was made.
    """
    redefined = definitions != memory.definitions
    seen: dict[str, set[str]] = {}
    flagged: dict[str, set[str]] = {}
    for event in events:
        seen.setdefault(event.check, set()).add(event.key)
        if _is_news(event, spans[event.symbol], memory, redefined):
            flagged.setdefault(event.check, set()).add(event.key)
    # A check without any event is known all the same: its first event is news, not history.
    for check in memory.seen:
        seen.setdefault(check, set())
    if any(symbol in spans and spans[symbol].latest < before.latest for symbol, before in memory.spans.items()):
        return _with_what_is_gone(Memory(seen, flagged, spans, definitions), memory)
    return Memory(seen, flagged, spans, definitions)


def _with_what_is_gone(now: Memory, before: Memory) -> Memory:
    """What is known now and what was before, by tables that ended later."""
    gone = {check: keys - now.seen[check] for check, keys in before.seen.items()}
    spans = {
        symbol: Span(span.first, max(span.latest, before.spans.get(symbol, span).latest))
        for symbol, span in {**before.spans, **now.spans}.items()
    }
    return Memory(
        {check: keys | gone.get(check, set()) for check, keys in now.seen.items()},
        {
            check: now.flagged.get(check, set()) | (before.flagged.get(check, set()) & gone.get(check, set()))
            for check in now.seen
        },
        spans,
        now.definitions,
    )


def _is_news(event: Event, span: Span, memory: Memory, redefined: bool) -> bool:
    before = memory.spans.get(event.symbol)
    if before is None or event.check not in memory.seen:
        return event.session == span.latest
    if event.key in memory.seen[event.check]:
        return event.key in memory.flagged.get(event.check, ()) and span.latest == before.latest
    if redefined:
        return event.session > before.latest
    # History that was added in front of what was known is not news.
    return event.session >= max(before.first, before.latest - dt.timedelta(days=LATE_DAYS))


def flags(settings: Settings, group: str, checks: Iterable[str] = ()) -> Flags:
    """The flagged rows of a group of `GROUPS`, as of the version that readers see now.

    Args:
        settings: where the published version and the memory lie.
        group: name of the group.
        checks: names of checks that exist even if no event belongs to them yet.
    """
    manifest = current_manifest(settings.paths.published)
    if manifest is None:
        return Flags({}, Memory(), 0)
    # The version's own file, not the link: all queries see one version, whatever is published meanwhile.
    published = version_file(settings.paths.published, manifest.version)
    told = GROUPS[group]
    spans = {row["symbol"]: Span(row["first"], row["latest"]) for row in _rows(published, SPANS)}
    found = [
        (row, Event(told.check(row), told.key(row), row["symbol"], row["session_date"]))
        for row in _rows(published, told.sql)
    ]
    definitions = f"{definitions_of(manifest.fingerprint)}.{_own_code()}"
    memory = evaluate((event for _, event in found), spans, _recall(settings, group), definitions)
    for check in checks:
        memory.seen.setdefault(check, set())
    by_check: dict[str, list[dict[str, Any]]] = {}
    for row, event in found:
        if event.key in memory.flagged.get(event.check, ()):
            by_check.setdefault(event.check, []).append(row)
    return Flags(by_check, memory, manifest.version)


@lru_cache(maxsize=2 * len(GROUPS))
def _rows(published: Path, sql: str) -> list[dict[str, Any]]:
    """Rows of a version. It never changes: what the checks have read, the command line need not read again."""
    return rows(published, sql)


def remember(settings: Settings, shown: Mapping[str, Flags]) -> None:
    """Note what each group of checks has shown."""
    state = _state(settings)
    for group, found in shown.items():
        state[group] = {
            "version": found.version,
            "seen": {check: sorted(keys) for check, keys in found.memory.seen.items()},
            "flagged": {check: sorted(keys) for check, keys in found.memory.flagged.items()},
            "definitions": found.memory.definitions,
            "spans": {s: [span.first.isoformat(), span.latest.isoformat()] for s, span in found.memory.spans.items()},
        }
    write_text(_state_path(settings), json.dumps(state))


def evaluated_version(settings: Settings) -> int:
    """The published version that every check group has looked at; 0 before the first."""
    state = _state(settings)
    return min(int(state.get(group, {}).get("version", 0)) for group in GROUPS)


def _recall(settings: Settings, group: str) -> Memory:
    stored = _state(settings).get(group)
    if stored is None:
        return Memory()
    return Memory(
        {check: set(keys) for check, keys in stored["seen"].items()},
        {check: set(keys) for check, keys in stored["flagged"].items()},
        {
            symbol: Span(dt.date.fromisoformat(first), dt.date.fromisoformat(latest))
            for symbol, (first, latest) in stored["spans"].items()
        },
        stored.get("definitions", ""),
    )


@cache
def _own_code() -> str:
    """Of this module, whose queries and keys say which events there are as much as the models do."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]


def _state(settings: Settings) -> dict[str, dict[str, Any]]:
    try:
        return json.loads(_state_path(settings).read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # lost, or cut short by a copy
        return {}


def _state_path(settings: Settings) -> Path:
    return settings.paths.root / "market_checks.json"
