"""What happened in the market and was not seen before: the events that market checks and the command line show.

Each check knows the events of the last weeks that it has seen, by id. An event that appears later is flagged, up to 30
days late: a skipped day, a bar that came late, a correction. A flag stays until its instrument has a further session,
so that it does not vanish because somebody refreshed twice. What is seen for the first time (a new level, a new rule, a
new instrument) flags its latest session only: history is not news. Nor is what changed definitions (another version of
the models, an edited row of the seeds) see in sessions that were there before: only what is later is flagged then. What
is gone from tables that end earlier than before (the clock was set back, an older lake was restored) stays known, or it
would be news again.
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.files import write_text
from orchestration.home import Home
from orchestration.publish.manifest import current_manifest, version_file
from orchestration.signals.registry import event_rows
from orchestration.signals.signal import Row
from orchestration.transform.fingerprint import definitions_of

if TYPE_CHECKING:
    import duckdb

SPANS = "select symbol, min(session_date) as first, max(session_date) as latest from daily_bars group by symbol"

# What flutters around a level is no news.
EVENTS = """
    with recent as (select unnest($symbols::varchar[]) as symbol, unnest($since::date[]) as since)
    select signals.check_name, signals.event_id, signals.symbol, signals.session_date, signals.signal
    from market_signals as signals
    inner join recent on signals.symbol = recent.symbol
    where
        not signals.is_repeat
        and (signals.session_date >= recent.since or signals.event_id in (select unnest($flagged::varchar[])))
"""

# How long before the latest session that was looked at a late or corrected bar is still news.
LATE_DAYS = 30

# What the state of all checks stands under in its file. Earlier releases kept one for each of five groups of
# checks, under names of their own: they are read as well.
STATE = "market_signals"


@dataclass(frozen=True)
class Event:
    """One thing that one check could flag."""

    check: str
    key: str
    symbol: str
    session: dt.date
    signal: str = ""


@dataclass(frozen=True)
class Span:
    """First and latest session of an instrument."""

    first: dt.date
    latest: dt.date


@dataclass(frozen=True)
class CheckState:
    """What the checks know.

    Attributes:
        seen: keys of the events that were there at the last evaluation, by check; not of all that are too old to be
            news. Earlier releases kept those as well.
        flagged: keys that were flagged then, by check.
        spans: first and latest session of each instrument then.
        definitions: of events then; a short text that is equal for equal ones.
        version: the published version that was looked at.
    """

    seen: dict[str, set[str]] = field(default_factory=dict)
    flagged: dict[str, set[str]] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    definitions: str = ""
    version: int = 0

    @property
    def latest(self) -> str:
        """The latest session, or from which to which where instruments end on different ones."""
        ends = sorted({span.latest for span in self.spans.values()})
        return "no bars" if not ends else str(ends[0]) if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"


@dataclass(frozen=True)
class NewEvents:
    """Rows of the flagged events by kind of signal, and what to save once they have been shown."""

    rows: Mapping[str, list[Row]]
    state: CheckState

    def of_check(self, signal: str, check: str) -> list[Row]:
        """The flagged rows of one check."""
        return [row for row in self.rows.get(signal, ()) if row["check_name"] == check]


def evaluate(
    events: Iterable[Event], spans: dict[str, Span], before: CheckState, definitions: str = "", version: int = 0
) -> CheckState:
    """What is flagged now, and known from now on.

    Args:
        events: of the published mart; those before `since` are not needed, if they are not flagged.
        spans: first and latest session of each published instrument.
        before: what was known before.
        definitions: those by which the mart was made.
        version: the one that they were published with.
    """
    redefined = definitions != before.definitions
    seen: dict[str, set[str]] = {}
    flagged: dict[str, set[str]] = {}
    for event in events:
        seen.setdefault(event.check, set()).add(event.key)
        if _is_news(event, spans[event.symbol], before, redefined):
            flagged.setdefault(event.check, set()).add(event.key)
    # A check without any event is known all the same: its first event is news, not history.
    for check in before.seen:
        seen.setdefault(check, set())
    now = CheckState(seen, flagged, spans, definitions, version)
    if any(symbol in spans and spans[symbol].latest < span.latest for symbol, span in before.spans.items()):
        return _with_what_is_gone(now, before)
    return now


def _with_what_is_gone(now: CheckState, before: CheckState) -> CheckState:
    """What is known now and what was before, by tables that ended later."""
    gone = {check: keys - now.seen[check] for check, keys in before.seen.items()}
    spans = {
        symbol: Span(span.first, max(span.latest, before.spans.get(symbol, span).latest))
        for symbol, span in {**before.spans, **now.spans}.items()
    }
    return CheckState(
        {check: keys | gone.get(check, set()) for check, keys in now.seen.items()},
        {
            check: now.flagged.get(check, set()) | (before.flagged.get(check, set()) & gone.get(check, set()))
            for check in now.seen
        },
        spans,
        now.definitions,
        now.version,
    )


def _is_news(event: Event, span: Span, before: CheckState, redefined: bool) -> bool:
    known = before.spans.get(event.symbol)
    if known is None or event.check not in before.seen:
        return event.session == span.latest
    if event.key in before.seen[event.check]:
        return event.key in before.flagged.get(event.check, ()) and span.latest == known.latest
    if redefined:
        return event.session > known.latest
    # History that was added in front of what was known is not news.
    return event.session >= max(known.first, known.latest - dt.timedelta(days=LATE_DAYS))


def since(spans: Mapping[str, Span], before: CheckState) -> dict[str, dt.date]:
    """From which session on an event of each instrument can be news, now or later; what is flagged may be older.

    An instrument's latest session never becomes an earlier one: what is too old once need not be known.
    """
    late = dt.timedelta(days=LATE_DAYS)
    return {symbol: min(span.latest, before.spans.get(symbol, span).latest) - late for symbol, span in spans.items()}


def new_events(home: Home, checks: Iterable[str] = ()) -> NewEvents:
    """The flagged events, as of the version that readers see now.

    Args:
        home: where the published version and the state lie.
        checks: names of checks that exist even if no event belongs to them yet.
    """
    from orchestration.duckdb_io import reading

    manifest = current_manifest(home.published)
    if manifest is None:
        return NewEvents({}, CheckState())
    # The version's own file, not the link: all queries see one version, whatever is published meanwhile.
    published = version_file(home.published, manifest.version)
    with reading(published) as connection:
        events, spans = _published(connection, before := _load(home))
        state = evaluate(events, spans, before, definitions_of(manifest.fingerprint), manifest.version)
        for check in checks:
            state.seen.setdefault(check, set())
        flagged = [(event.signal, event.key) for event in events if event.key in state.flagged.get(event.check, ())]
        return NewEvents(event_rows(connection, flagged) if flagged else {}, state)


def _published(connection: "duckdb.DuckDBPyConnection", before: CheckState) -> tuple[list[Event], dict[str, Span]]:
    """Of a version: the events that can be news, and the spans of all instruments."""
    spans = {symbol: Span(first, latest) for symbol, first, latest in connection.execute(SPANS).fetchall()}
    recent = since(spans, before)
    flagged = [key for keys in before.flagged.values() for key in keys]
    wanted = {"symbols": list(recent), "since": list(recent.values()), "flagged": flagged}
    return [Event(*row) for row in connection.execute(EVENTS, wanted).fetchall()], spans


def save(home: Home, state: CheckState) -> None:
    """Keep what the checks have shown."""
    kept = {
        "version": state.version,
        "seen": {check: sorted(keys) for check, keys in state.seen.items()},
        "flagged": {check: sorted(keys) for check, keys in state.flagged.items()},
        "definitions": state.definitions,
        "spans": {symbol: [span.first.isoformat(), span.latest.isoformat()] for symbol, span in state.spans.items()},
    }
    write_text(_file(home), json.dumps({STATE: kept}))


def evaluated_version(home: Home) -> int:
    """The published version that the checks have looked at; 0 before the first, and after one of an earlier release."""
    return int(_kept(home).get(STATE, {}).get("version", 0))


def _load(home: Home) -> CheckState:
    """What the checks knew; of several states in the file all that was seen, and the rest of the latest."""
    states = list(_kept(home).values())
    version = max((int(state["version"]) for state in states), default=0)
    latest = [state for state in states if int(state["version"]) == version]
    if not latest:
        return CheckState()
    spans = {
        symbol: Span(dt.date.fromisoformat(first), dt.date.fromisoformat(last))
        for symbol, (first, last) in latest[-1]["spans"].items()
    }
    seen, flagged = (_joined(state["seen"] for state in states), _joined(state["flagged"] for state in latest))
    return CheckState(seen, flagged, spans, latest[-1].get("definitions", ""), version)


def _joined(kept: Iterable[dict[str, list[str]]]) -> dict[str, set[str]]:
    joined: dict[str, set[str]] = {}
    for checks in kept:
        for check, keys in checks.items():
            joined.setdefault(check, set()).update(keys)
    return joined


def _kept(home: Home) -> dict[str, dict[str, Any]]:
    try:
        return json.loads(_file(home).read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # lost, or cut short by a copy
        return {}


def _file(home: Home) -> Path:
    return home.root / "market_checks.json"
