"""One ingestion: plan, fetch, validate, append. Plain functions; the Dagster asset around them is in `ingest`.

Whatever arrives is kept even if something else fails: a symbol that the source cannot deliver is a line in the
report, and rows are appended to the lake in parts while the fetching goes on.
"""

import datetime as dt
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import pyarrow as pa

from orchestration.ingest.compaction import compact
from orchestration.ingest.lake import BARS, FETCHES, REJECTED, Lake, new_batch_id
from orchestration.ingest.stored_sessions import Holdings, StoredBars, holdings
from orchestration.instance.progress import ProgressReporter, silent_progress
from orchestration.market import bars, calendar
from orchestration.market.basis import DISAGREEMENTS_ALLOWED, contradicted_sessions, frequency, other_returns
from orchestration.market.errors import LakeError
from orchestration.market.fetch_plan import Asked, FetchRequest, PlanRules, Stored, needs_whole_history, plan
from orchestration.market.universe import Instrument, Universe
from orchestration.sources.base import BarSource, FetchOutcome, FetchStatus, broken

# Rows are appended whenever this many have gathered or this much time has passed: a killed run loses little.
FLUSH_ROWS = 250_000
FLUSH_SECONDS = 30.0


Unlisted = dict[str, pd.DatetimeIndex]


@dataclass(frozen=True)
class SymbolResult:
    """What one symbol's request brought.

    Attributes:
        symbol, reason, status, detail: of the request and how it ended.
        note: what is noteworthy about rows that were delivered; empty if nothing is.
        currency: as the source says; None where it does not.
        delivered: rows.
        new: bars that were stored, the rebased ones included.
        rebased: stored bars that were not delivered again and were put on the new basis.
        rejected, demoted, held_back: delivered rows that were not stored, or not as they came.
    """

    symbol: str
    reason: str
    status: FetchStatus
    detail: str
    note: str = ""
    currency: str | None = None
    delivered: int = 0
    new: int = 0
    rebased: int = 0
    rejected: int = 0
    demoted: int = 0
    held_back: int = 0


@dataclass(frozen=True)
class IngestReport:
    """What one ingestion did, symbol by symbol.

    Attributes:
        batch_id: the batch; None when nothing had to be asked for.
        results: one per requested symbol.
        new_rejections: rows that are new in the quarantine, as (symbol, session, rule, severity, detail).
        warnings: what could not be done and may wait.
        unlisted: days with a stored bar that the calendar of their exchange does not have, by calendar.
    """

    batch_id: str | None
    results: tuple[SymbolResult, ...]
    new_rejections: tuple[tuple[str, dt.date | None, str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    unlisted: Unlisted = field(default_factory=dict)

    @property
    def new_rows(self) -> int:
        """Bars that were new or differed from the newest stored version."""
        return sum(r.new for r in self.results)

    @property
    def failures(self) -> tuple[SymbolResult, ...]:
        """Symbols that failed."""
        return tuple(r for r in self.results if r.status.failed)


@dataclass
class _Batch:
    """Rows on their way into the lake."""

    lake: Lake
    source: str
    batch_id: str
    known_rejections: set[str]
    part: int = 0
    bars: list[pa.Table] = field(default_factory=list)
    rejected: list[dict] = field(default_factory=list)
    fetches: list[dict] = field(default_factory=list)
    rows: int = 0
    stored_any: bool = False
    flushed_at: float = field(default_factory=time.monotonic)

    def flush_if_due(self) -> None:
        if self.rows >= FLUSH_ROWS or time.monotonic() - self.flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        # The log of fetches last: a fetch that is logged as whole history must not be believed before its rows are
        # safe.
        self.stored_any = self.stored_any or bool(self.bars or self.rejected)
        if self.bars:
            self.lake.append("bars", pa.concat_tables(self.bars), self.batch_id, self.part)
        self.lake.append(
            "rejected_bars", pa.Table.from_pylist(self.rejected, schema=REJECTED), self.batch_id, self.part
        )
        self.lake.append("fetches", pa.Table.from_pylist(self.fetches, schema=FETCHES), self.batch_id, self.part)
        self.bars, self.rejected, self.fetches = [], [], []
        self.rows, self.part, self.flushed_at = 0, self.part + 1, time.monotonic()


def ingest(
    universe: Universe,
    source: BarSource,
    source_name: str,
    lake: Lake,
    now: dt.datetime,
    rules: PlanRules,
    progress: ProgressReporter = silent_progress,
) -> IngestReport:
    """Bring the lake up to date with what the source has.

    Args:
        universe: what is watched.
        source: where bars come from.
        source_name: its name, kept on every row.
        lake: a prepared lake.
        now: the moment that decides which sessions have closed, UTC.
        rules: restatement window and what was forced.
        progress: told after each symbol.

    Raises:
        LakeError: the lake cannot be read or written.
    """
    calendars = {i.calendar for i in universe.instruments}
    closed = {name: calendar.closed_sessions(name, now) for name in calendars}
    # Past the end of a calendar every weekday is asked for.
    expected = {
        name: pd.DatetimeIndex(f.loc[f["bar_expected"] | ~f["is_listed"], "session_date"]) for name, f in closed.items()
    }
    held = holdings(lake, universe.symbols)
    requests = plan(universe.instruments, expected, stored(lake, held), now, rules)
    sessions = {name: pd.DatetimeIndex(f["session_date"]) for name, f in closed.items()}
    unlisted = unlisted_sessions(held, universe, sessions)
    if not requests:
        return IngestReport(None, (), unlisted=unlisted)

    sorter = _Sorter(
        instruments={i.symbol: i for i in universe.instruments},
        closed=sessions,
        known={name: _sessions_to_come(name, now) for name in calendars},
        held=held,
        asked_at=_asked_at(lake),
        newest=StoredBars(lake, held, requests),
        batch=_Batch(
            lake,
            source_name,
            new_batch_id(dt.datetime.now(dt.UTC)),
            set(lake.read("rejected_bars", ["rejected_id"])["rejected_id"].to_pylist()),
        ),
        unlisted=unlisted,
        bases=lake.price_bases(),
    )
    results: dict[str, SymbolResult] = {}
    total = len(requests)
    again: list[FetchRequest] = []
    try:
        for outcome in source.fetch(requests):
            outcome, on_new_basis = sorter.look_at(outcome)
            if on_new_basis:
                # Everything before this delivery is on an old basis: the whole history belongs into the same batch.
                again.append(replace(outcome.request, start=None, reason="new_action"))
                total += 1
                continue
            results[outcome.request.symbol] = sorter.take(outcome)
            progress(len(results), total - len(again), _line(results[outcome.request.symbol]))
        sorter.newest = StoredBars(lake, held, again)
        for outcome in source.fetch(again) if again else ():
            results[outcome.request.symbol] = sorter.take(outcome)
            progress(len(results), len(requests), _line(results[outcome.request.symbol]))
    finally:
        sorter.batch.flush()
    return IngestReport(
        sorter.batch.batch_id,
        tuple(results[r.symbol] for r in requests if r.symbol in results),
        tuple(sorter.new_rejections),
        _compacted(lake, sorter.batch),
        sorter.unlisted,
    )


def stored(lake: Lake, held: Holdings) -> dict[str, Stored]:
    """What the fetch plan has to know about each symbol that has a bar.

    Raises:
        LakeError: the lake cannot be read.
    """
    # A moment that is still to come is of a clock that was ahead: nobody knows when that was, so it is asked for again.
    now = dt.datetime.now(dt.UTC)
    whole_history_at = {symbol: at for symbol, at in lake.whole_history_at().items() if at <= now}
    answered = lake.answered_ranges()
    return {
        symbol: Stored(
            pd.DatetimeIndex(held.sessions(symbol)),
            whole_history_at.get(symbol),
            Asked.of(answered.get(symbol, ())),
        )
        for symbol in held.symbols()
    }


def _compacted(lake: Lake, batch: "_Batch") -> tuple[str, ...]:
    """Merge small files where that changes no fingerprint that is still good; what could not be done, in words.

    The names of the files of bars and of the quarantine are part of the fingerprint: they are merged only together with
    rows that make it another one anyway. The log of fetches counts in it by its content.
    """
    failed = []
    for dataset in ("fetches", *(("bars", "rejected_bars") if batch.stored_any else ())):
        try:
            compact(lake, dataset)
        except LakeError as error:
            # Everything that was delivered is stored; the next refresh that stores something tries again.
            failed.append(str(error))
    return tuple(failed)


@dataclass
class _Sorter:
    """Sorts deliveries into the batch."""

    instruments: dict[str, Instrument]
    closed: dict[str, pd.DatetimeIndex]
    known: dict[str, pd.DatetimeIndex]
    held: Holdings
    asked_at: dict[str, dt.datetime]
    newest: StoredBars
    batch: _Batch
    unlisted: dict[str, pd.DatetimeIndex]
    bases: dict[str, str]
    new_rejections: list[tuple[str, dt.date | None, str, str, str]] = field(default_factory=list)
    _latest: tuple[FetchOutcome, bars.Validated] | None = None

    def stored(self, outcome: FetchOutcome) -> pd.DataFrame | None:
        """The newest stored bars of all sessions that were delivered; after a whole history, of all sessions."""
        if outcome.bars.empty:
            return None
        earliest = None if outcome.request.whole_history else outcome.bars["session_date"].min()
        return self.newest.of(outcome.request.symbol, None if pd.isna(earliest) else earliest.date())

    def validated(self, outcome: FetchOutcome) -> bars.Validated:
        if self._latest is None or self._latest[0] is not outcome:
            exchange = self.instruments[outcome.request.symbol].calendar
            closed, known = self.closed[exchange], self.known[exchange]
            self._latest = (
                outcome,
                bars.validate(outcome.bars, closed, known, self.stored(outcome), weekends=exchange != "CMES"),
            )
        return self._latest[1]

    def look_at(self, outcome: FetchOutcome) -> tuple[FetchOutcome, bool]:
        """The outcome, and whether a partial delivery tells that the prices before it have changed too.

        An outcome that our own code fails with becomes a failure: the other symbols must not suffer.
        """
        if outcome.status is not FetchStatus.OK or outcome.request.whole_history:
            return outcome, False
        try:
            stored = self.stored(outcome)
            return outcome, stored is not None and needs_whole_history(self.validated(outcome).accepted, stored)
        except LakeError:
            raise
        except Exception as error:
            return broken(outcome.request, error), False

    def take(self, outcome: FetchOutcome) -> SymbolResult:
        """Put what is new into the batch; nothing of a symbol that our own code fails with."""
        try:
            taken = self._taken(self._consistent(outcome))
            unlisted = self._unlisted(outcome.request.symbol, taken.bars)
        except LakeError:
            raise
        except Exception as error:
            taken, unlisted = self._nothing_of(broken(outcome.request, error)), {}
        self.batch.bars += taken.bars
        self.unlisted |= unlisted
        self.batch.rejected += taken.rejected
        self.batch.known_rejections |= {row["rejected_id"] for row in taken.rejected}
        self.new_rejections += [
            (row["symbol"], *(row[name] for name in ("session_date", "rule", "severity", "detail")))
            for row in taken.rejected
        ]
        self.batch.fetches.append(taken.fetch)
        self.batch.rows += taken.result.new + len(taken.rejected)
        self.batch.flush_if_due()
        return taken.result

    def _unlisted(self, symbol: str, tables: list[pa.Table]) -> Unlisted:
        """The days that the calendar of a symbol's exchange does not have, with those of its new bars."""
        exchange = self.instruments[symbol].calendar
        found = dict(self.unlisted)
        for table in tables:
            days = pd.DatetimeIndex(table["session_date"].to_pandas()).as_unit("s").difference(self.closed[exchange])
            if len(days):
                found[exchange] = found.get(exchange, days).union(days)
        return found

    def _consistent(self, outcome: FetchOutcome) -> FetchOutcome:
        """The outcome; a failure if it contradicts itself, or all that is stored: what is wrong a person has to say."""
        said = self._contradictions(outcome)
        if not said:
            return outcome
        detail = "; ".join([f"{outcome.request.source_symbol}: {said}", *([outcome.detail] if outcome.detail else [])])
        return replace(outcome, status=FetchStatus.INCONSISTENT, bars=bars.empty_raw(), detail=detail)

    def _contradictions(self, outcome: FetchOutcome) -> str:
        instrument = self.instruments[outcome.request.symbol]
        accepted = self.validated(outcome).accepted
        if (step := frequency(accepted["session_date"])) != "daily":
            return f"{step} bars instead of daily ones"
        if said := self._other_basis(outcome, accepted):
            return said
        sessions, tick = self.closed[instrument.calendar], instrument.tick_size
        wrong = contradicted_sessions(accepted, sessions, tick)
        if wrong and not outcome.request.whole_history:
            wrong = contradicted_sessions(self._with_all_stored(outcome.request, accepted), sessions, tick)
        if len(wrong) > DISAGREEMENTS_ALLOWED:
            first = wrong[0].date()
            return f"adjusted closes contradict closes and dividends over {len(wrong)} sessions, the first {first}"
        # Who asks for everything anew wants it, whatever is stored.
        is_compared = outcome.request.whole_history and outcome.request.reason != "forced" and len(accepted)
        stored = self.stored(outcome) if is_compared else None
        if stored is not None:
            others, of = other_returns(accepted, stored)
            if 2 * others > of:
                return (
                    f"{others} of {of} returns are others than those stored: the ticker may have passed to another "
                    "company; give this symbol the ticker that its company has now (source_symbol), and the other "
                    "company a symbol of its own; if what is stored was wrong, ask with --full"
                )
        return ""

    def _other_basis(self, outcome: FetchOutcome, accepted: pd.DataFrame) -> str:
        """What is wrong with a part of a history whose prices are of another basis than what is stored before it."""
        stored = self.bases.get(outcome.request.symbol)
        earlier = self.held.sessions(outcome.request.symbol)
        if stored is None or stored == str(outcome.basis) or not len(accepted) or not len(earlier):
            return ""
        first = accepted["session_date"].iloc[0]
        if first <= pd.Timestamp(earlier[0]):
            return ""
        return (
            f"prices are {str(outcome.basis).replace('_', '-')} from {first.date()} on, and {stored.replace('_', '-')} "
            "where they are stored before: give the whole history on one of both"
        )

    def _with_all_stored(self, request: FetchRequest, accepted: pd.DataFrame) -> pd.DataFrame:
        """The whole history as it would stand with what was delivered."""
        known = self.newest.of(request.symbol)
        if known is None:
            return accepted
        rest = known[~known["session_date"].isin(accepted["session_date"])]
        both = pd.concat([rest[accepted.columns], accepted], ignore_index=True)
        return both.sort_values("session_date", ignore_index=True)

    def _taken(self, outcome: FetchOutcome) -> "_Taken":
        """What goes into the batch of one symbol."""
        request = outcome.request
        sorted_rows = self.validated(outcome)
        accepted, rebased = sorted_rows.accepted, None
        stored = self.stored(outcome) if len(accepted) else None
        if stored is not None and len(stored):
            if request.whole_history:
                rebased = bars.rebased(accepted, stored)
            accepted = accepted[bars.news(accepted, stored)]
        stamp = self._stamp(request.symbol)
        currency = outcome.currency or self.instruments[request.symbol].currency
        new = [_table(rows, stamp) for rows in (accepted.assign(currency=currency), rebased) if rows is not None]
        severities = sorted_rows.rejected["severity"]
        result = replace(
            _result(outcome),
            delivered=len(outcome.bars),
            new=sum(table.num_rows for table in new),
            rebased=0 if rebased is None else len(rebased),
            rejected=int((severities == "rejected").sum()),
            demoted=int((severities == "demoted").sum()),
            held_back=sorted_rows.held_back,
        )
        rejected = self._new_in_quarantine(request.symbol, sorted_rows.rejected, stamp)
        tables = [table for table in new if table.num_rows]
        return _Taken(result, tables, rejected, self._fetch(outcome, result, stamp))

    def _nothing_of(self, outcome: FetchOutcome) -> "_Taken":
        """What goes into the batch of a symbol that our own code fails with: that it did, and nothing of what came."""
        result = _result(outcome)
        return _Taken(result, [], [], self._fetch(outcome, result, self._stamp(outcome.request.symbol)))

    def _stamp(self, symbol: str) -> dict[str, Any]:
        latest, asked_at = self.held.latest_observation(symbol), self.asked_at.get(symbol)
        return {
            "symbol": symbol,
            "source": self.batch.source,
            "observed_at": _observed_at(latest, asked_at),
            "batch_id": self.batch.batch_id,
        }

    @staticmethod
    def _fetch(outcome: FetchOutcome, result: SymbolResult, stamp: dict[str, Any]) -> dict[str, Any]:
        """A row of the log of fetches."""
        request = outcome.request
        return {
            **stamp,
            "reason": request.reason,
            "requested_from": request.start,
            "requested_to": request.end,
            "whole_history": request.whole_history,
            "status": str(outcome.status),
            "detail": outcome.detail,
            "attempts": outcome.attempts,
            "delivered_rows": result.delivered,
            "new_rows": result.new,
            "rejected_rows": result.rejected + result.demoted,
            "held_back_rows": result.held_back,
            "price_basis": str(outcome.basis) if result.delivered else None,
        }

    def _new_in_quarantine(self, symbol: str, rejected: pd.DataFrame, stamp: dict) -> list[dict[str, Any]]:
        """Rejected rows, each fault once however often the source repeats it."""
        new: dict[str, dict[str, Any]] = {}
        for row in rejected.to_dict("records"):
            session = None if pd.isna(row["session_date"]) else row["session_date"].date()
            identity = bars.quarantine_id(symbol, session, row["rule"], row["raw"], row["detail"])
            if identity in self.batch.known_rejections:
                continue
            new.setdefault(
                identity,
                {
                    **stamp,
                    "rejected_id": identity,
                    "session_date": session,
                    **{name: row[name] for name in ("rule", "severity", "detail", "raw")},
                    "origin": row["origin"] if isinstance(row["origin"], str) else None,
                    "row_number": None if pd.isna(row["row_number"]) else int(row["row_number"]),
                },
            )
        return list(new.values())


@dataclass(frozen=True)
class _Taken:
    """What one symbol adds to a batch: its result, tables of bars, rows of the quarantine, a row of the log."""

    result: SymbolResult
    bars: list[pa.Table]
    rejected: list[dict[str, Any]]
    fetch: dict[str, Any]


def _result(outcome: FetchOutcome) -> SymbolResult:
    """How a request ended, before anything of it is counted."""
    request = outcome.request
    note = outcome.detail if outcome.status is FetchStatus.OK else ""
    return SymbolResult(request.symbol, request.reason, outcome.status, outcome.detail, note, outcome.currency)


def _table(rows: pd.DataFrame, stamp: dict) -> pa.Table:
    columns = {name: pa.array(rows[name], from_pandas=True) for name in BARS.names if name in rows}
    constants = {name: pa.repeat(pa.scalar(value, BARS.field(name).type), len(rows)) for name, value in stamp.items()}
    return pa.table({**columns, **constants}).select(BARS.names).cast(BARS)


def _asked_at(lake: Lake) -> dict[str, dt.datetime]:
    """When each symbol was last asked for, by the log of fetches, UTC without a zone mark."""
    log = lake.read("fetches", ["symbol", "observed_at"]).group_by("symbol").aggregate([("observed_at", "max")])
    return dict(zip(log["symbol"].to_pylist(), log["observed_at_max"].to_pylist(), strict=True))


def _observed_at(*latest: dt.datetime | None) -> dt.datetime:
    """Now, but after all that is stored of the symbol, bars and requests.

    A clock that was set back must not put a new version or answer behind an old one.
    """
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    return max([now, *(moment + dt.timedelta(microseconds=1) for moment in latest if moment)])


def unlisted_sessions(held: Holdings, universe: Universe, closed: Mapping[str, pd.DatetimeIndex]) -> Unlisted:
    """Days with a stored bar that the calendar of the instrument's exchange does not have, by calendar."""
    found: dict[str, pd.DatetimeIndex] = {}
    for instrument in universe.instruments:
        sessions = closed[instrument.calendar]
        days = pd.DatetimeIndex(held.sessions(instrument.symbol)).as_unit("s").difference(sessions)
        # Bars of later days are stored where somebody looks at an earlier one.
        days = days[(days > sessions[0]) & (days < sessions[-1])] if len(sessions) else sessions
        if len(days):
            found[instrument.calendar] = found.get(instrument.calendar, days).union(days)
    return found


def _sessions_to_come(name: str, now: dt.datetime) -> pd.DatetimeIndex:
    """Sessions around now, whether closed or not."""
    day = now.date()
    return pd.DatetimeIndex(
        calendar.sessions(name, day - dt.timedelta(days=14), day + dt.timedelta(days=14))["session_date"]
    )


def _line(result: SymbolResult) -> str:
    if result.status is FetchStatus.OK:
        parts: Iterable[str] = (
            f"{count} {what}"
            for count, what in (
                (result.new, "new"),
                (result.rebased, "of them rebased"),
                (result.rejected, "rejected"),
                (result.demoted, "demoted"),
            )
            if count
        )
        return f"{result.symbol}: {', '.join(parts) or 'nothing new'}"
    return f"{result.symbol}: {result.status}: {result.detail}"
