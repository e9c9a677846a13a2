"""The fetch plan: for each instrument the sessions its exchange held, minus those stored, plus a restatement window.

Whatever went wrong before (a failed or missed fetch, a killed run, a new instrument, a vendor correction) is therefore
requested again by the next refresh. A hole that the vendor itself has, because it answered a request for that session
without it, is left to the next whole history: otherwise it would drag every request back to before it.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from orchestration.market.bars import Columns, equal
from orchestration.market.universe import Instrument

Reason = Literal["new_instrument", "whole_history", "gap", "new_sessions", "restatement", "new_action", "forced"]


@dataclass(frozen=True)
class FetchRequest:
    """Ask a source for one symbol's bars from `start` to `end`, both included; `start` None means all it has.

    `calendar` says whose dates the bars have; empty: the dates stand as they are written.
    """

    symbol: str
    source_symbol: str
    start: dt.date | None
    end: dt.date
    reason: Reason
    calendar: str = ""

    @property
    def whole_history(self) -> bool:
        """Whether everything that the source has is requested."""
        return self.start is None


@dataclass(frozen=True)
class AnsweredRanges:
    """Ranges of answered requests; a session in here that is not stored is absent at the vendor."""

    whole_to: dt.date | None = None  # last day of the latest whole history; None if there was none
    since: tuple[tuple[dt.date, dt.date], ...] = ()  # first and last day of the other ranges that reach beyond it

    @classmethod
    def of(cls, ranges: Iterable[tuple[dt.date | None, dt.date]]) -> "AnsweredRanges":
        """From ranges of first and last day; those from None are whole histories."""
        every = list(ranges)
        whole_to = max((end for start, end in every if start is None), default=None)
        beyond = [(s, e) for s, e in every if s is not None and (whole_to is None or e > whole_to)]
        return cls(whole_to, tuple(sorted(beyond)))

    def without(self, sessions: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """The sessions that no answered request covered."""
        if sessions.empty:
            return sessions
        if self.whole_to is not None:
            sessions = sessions[sessions > pd.Timestamp(self.whole_to)]
        for start, end in self.since:
            sessions = sessions[(sessions < pd.Timestamp(start)) | (sessions > pd.Timestamp(end))]
        return sessions


@dataclass(frozen=True)
class Stored:
    """What the lake holds of one symbol."""

    sessions: pd.DatetimeIndex  # session dates with an accepted bar, ascending, datetime64
    whole_history_at: dt.datetime | None  # when its whole history was last delivered (UTC); None if never
    answered: AnsweredRanges = AnsweredRanges()  # requests that the source answered, by the log of fetches


@dataclass(frozen=True)
class PlanRules:
    """How the plan is made.

    Attributes:
        restatement_sessions: trailing sessions that are requested again; None where the source is local: everything.
        whole_history_days: age at which a symbol's whole history is requested again, because a correction older than
            the restatement window shows in no other way.
        symbols: only these, when given.
        start, end: a forced range.
        full: request the whole history of everything.
    """

    restatement_sessions: int | None
    whole_history_days: int = 7
    symbols: frozenset[str] = field(default_factory=frozenset)
    start: dt.date | None = None
    end: dt.date | None = None
    full: bool = False


def plan(
    instruments: Iterable[Instrument],
    expected: Mapping[str, pd.DatetimeIndex],
    stored: Mapping[str, Stored],
    now: dt.datetime,
    rules: PlanRules,
) -> list[FetchRequest]:
    """One request per instrument that needs one, in the order of the instruments.

    Args:
        instruments: the universe.
        expected: per calendar, the closed sessions on which a bar is expected, ascending.
        stored: per symbol, what the lake holds; a symbol that is absent has nothing.
        now: the moment of the refresh, UTC.
        rules: restatement window and what was forced.
    """
    requests = []
    for instrument in instruments:
        if rules.symbols and instrument.symbol not in rules.symbols:
            continue
        request = _request(instrument, expected[instrument.calendar], stored.get(instrument.symbol), now, rules)
        if request is not None:
            requests.append(request)
    return requests


def needs_whole_history(delivered: Columns, stored: Columns) -> bool:
    """Whether a partial delivery shows that the symbol's prices were put on a new basis.

    That is so when it carries a dividend or split that is not stored yet, or when its first row that is stored
    changed its close or adjusted close: then the vendor has adjusted everything before it too.

    Args:
        delivered: session_date, close, adj_close, dividend, split_ratio; ascending.
        stored: the newest stored versions, the same columns, ascending, one row for each session.
    """
    days, known = np.asarray(delivered["session_date"]), np.asarray(stored["session_date"])
    if not len(days) or not len(known):
        return False
    place = np.minimum(np.searchsorted(known, days), len(known) - 1)
    is_stored = known[place] == days

    def before(column: str, if_unknown: float = np.nan) -> np.ndarray:
        values = np.asarray(stored[column])[place]
        return np.where(is_stored & ~np.isnan(values), values, if_unknown)

    for column, none in (("dividend", 0.0), ("split_ratio", 1.0)):
        if (np.asarray(delivered[column]) != before(column, none)).any():
            return True
    compared = np.flatnonzero(~np.isnan(before("close")))
    if not len(compared):
        return False
    first = compared[0]
    for column in ("close", "adj_close"):
        now, then = np.asarray(delivered[column])[first], before(column)[first]
        if not (np.isnan(now) or np.isnan(then) or equal(now, then)):
            return True
    return False


def expected_sessions(
    closed: pd.DatetimeIndex, first: pd.Timestamp | None, active_from: dt.date | None
) -> pd.DatetimeIndex:
    """Closed sessions that a symbol ought to have: from active_from, else from its first stored session."""
    begin = pd.Timestamp(active_from) if active_from else first
    return closed[:0] if begin is None else closed[closed.searchsorted(begin) :]


def _request(
    instrument: Instrument, closed: pd.DatetimeIndex, stored: Stored | None, now: dt.datetime, rules: PlanRules
) -> FetchRequest | None:
    def ask(start: dt.date | None, end: dt.date, reason: Reason) -> FetchRequest:
        return FetchRequest(
            instrument.symbol, instrument.source_symbol, start, end, reason, calendar=instrument.calendar
        )

    if closed.empty:
        return None
    last = closed[-1].date()
    if rules.full:
        return ask(None, last, "forced")
    if rules.start is not None:
        end = min(rules.end or last, last)
        return ask(rules.start, end, "forced") if rules.start <= end else None
    if stored is None or stored.sessions.empty:
        return ask(None, last, "new_instrument")
    age = None if stored.whole_history_at is None else now - stored.whole_history_at
    if rules.restatement_sessions is None or age is None or age >= dt.timedelta(days=rules.whole_history_days):
        return ask(None, last, "whole_history")

    missing = _worth_asking(closed, stored, instrument.active_from)
    window = closed[-rules.restatement_sessions :] if rules.restatement_sessions else closed[:0]
    first = min((days[0] for days in (missing, window) if len(days)), default=None)
    if first is None:
        return None
    start = _session_before(first, closed, stored.sessions).date()
    reason: Reason = "restatement"
    if len(missing):
        reason = "gap" if missing[0] < stored.sessions[-1] else "new_sessions"
    return ask(start, last, reason)


def _worth_asking(closed: pd.DatetimeIndex, stored: Stored, active_from: dt.date | None) -> pd.DatetimeIndex:
    """Missing sessions but for the holes that the vendor is known to have.

    What is missing after the last stored session is requested in any case: vendors are often late with the newest.
    """
    expected = expected_sessions(closed, stored.sessions[0], active_from)
    held, days = stored.sessions.to_numpy(), expected.to_numpy()
    missing = expected[held[np.minimum(held.searchsorted(days), len(held) - 1)] != days]
    inside = int(missing.searchsorted(stored.sessions[-1]))
    return stored.answered.without(missing[:inside]).union(missing[inside:]) if inside else missing


def _session_before(first: pd.Timestamp, closed: pd.DatetimeIndex, stored: pd.DatetimeIndex) -> pd.Timestamp:
    """The stored session to begin with: its stored close shows whether the basis has changed.

    Right after a hole it is the one before the hole. A dividend of the hole may have been carried to the session after
    it; without the hole's row that session would come without the dividend, as if the vendor had taken it back.
    """
    before = stored[: stored.searchsorted(first)]
    if before.empty:
        return first
    expected = closed[: closed.searchsorted(before[-1])]
    after_hole = len(before) > 1 and len(expected) > 0 and expected[-1] > before[-2]
    return before[-2] if after_hole else before[-1]
