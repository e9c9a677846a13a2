"""What explains a past alert: its facts as they were known then, beside how they stand now."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.duckdb_io import rows
from orchestration.home import Home
from orchestration.market.errors import OrewatchError
from orchestration.publish.manifest import DATABASE, readable_manifest

Row = dict[str, Any]

EVENT = "select * from level_events where event_id = ?"
EVENTS_OF_SESSION = "select * from level_events where symbol = ? and session_date = ? order by level_id, event"
MOVE = "select * from large_moves where symbol = ? and session_date = ?"
BAR = """
    select open, high, low, close, close_as_traded, volume, dividend, split_ratio, bar_quality, observed_at
    from daily_bars where symbol = ? and session_date = ?
"""
RETURN = "select return_1d from returns where symbol = ? and session_date = ?"
CHANGES = """
    select session_date, field, old_value, new_value, reason, corrected_by, changed_at
    from price_revisions
    where symbol = $symbol and session_date <= $session and changed_at > $moment and reason <> 'rebased'
    order by session_date desc, changed_at, field
"""


@dataclass(frozen=True)
class Then:
    """One fact, in words, and its row as it was known then and as it stands now; None where there is none."""

    what: str
    then: Row | None
    now: Row | None

    @property
    def changed(self) -> tuple[str, ...]:
        """Columns whose values are not the same."""
        if self.then is None or self.now is None:
            return ()
        now = self.now
        return tuple(name for name, value in self.then.items() if value != now.get(name) and name != "observed_at")


def explain_event(home: Home, folder: Path, event_id: str) -> list[Then]:
    """A level event then and now, and what it was made from.

    Raises:
        OrewatchError: there was none of that id then and there is none now.
    """
    then, now = (_first(file, EVENT, event_id) for file in _files(home, folder))
    found = then or now
    if found is None:
        raise OrewatchError(
            f"event {event_id}: neither the tables of then nor those of now have it; allowed: an event_id of"
            " level_events, or --symbol and --date"
        )
    return [_level_event(then, now), *_facts_of_session(home, folder, found["symbol"], found["session_date"])]


def explain_session(home: Home, folder: Path, symbol: str, session: dt.date) -> list[Then]:
    """The bar, the return, the large move and every level event of a session, then and now.

    Raises:
        OrewatchError: neither side has a bar of that session.
    """
    facts = _facts_of_session(home, folder, symbol, session)
    if all(fact.then is None and fact.now is None for fact in facts):
        raise OrewatchError(f"{symbol} {session}: no bar, then or now; allowed: a session of an instrument")
    files = _files(home, folder)
    then, now = ({row["event_id"]: row for row in rows(file, EVENTS_OF_SESSION, [symbol, session])} for file in files)
    return facts + [_level_event(then.get(event_id), now.get(event_id)) for event_id in {**then, **now}]


def changes_since(home: Home, moment: dt.datetime, symbol: str, session: dt.date) -> list[Row]:
    """What the vendor has changed since then in the bars up to a session, newest session first; no re-basing."""
    asked = {"symbol": symbol, "session": session, "moment": moment.replace(tzinfo=None)}
    return rows(home.published_file, CHANGES, asked)


def _level_event(then: Row | None, now: Row | None) -> Then:
    row = then or now
    assert row is not None  # noqa: S101  (one side has it)
    return Then(f"level event {row['event'].replace('_', ' ')} {row['direction']} of {row['level_id']}", then, now)


def _facts_of_session(home: Home, folder: Path, symbol: str, session: dt.date) -> list[Then]:
    then, now = _files(home, folder)
    asked = (("bar", BAR), ("return", RETURN), ("large move", MOVE))
    facts = [
        Then(f"{what} of {symbol} {session}", _first(then, sql, symbol, session), _first(now, sql, symbol, session))
        for what, sql in asked
    ]
    return [fact for fact in facts if fact.then is not None or fact.now is not None]


def _files(home: Home, folder: Path) -> tuple[Path, Path]:
    if readable_manifest(home.published) is None:
        raise OrewatchError("nothing has been published yet, so there is no now to compare with; run: orewatch refresh")
    return folder / DATABASE, home.published_file


def _first(file: Path, sql: str, *parameters: Any) -> Row | None:
    return next(iter(rows(file, sql, list(parameters))), None)
