"""One ingest run: plan, fetch, validate, append; plain functions, which the Dagster asset in `assets` calls.

Whatever arrives is kept even if something else fails: a symbol that the source cannot deliver is a line in the
report, and rows are appended to the lake in parts while the fetching goes on.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import replace

import pandas as pd

from orchestration.ingest.batch import Batch
from orchestration.ingest.compaction import compact
from orchestration.ingest.deliveries import Deliveries
from orchestration.ingest.lake import Lake
from orchestration.ingest.report import IngestReport, SymbolResult
from orchestration.ingest.stored_sessions import StoredSessions, read_stored_sessions, unlisted_sessions
from orchestration.instance.progress import ProgressReporter, silent_progress
from orchestration.market import calendar
from orchestration.market.contracts import listed
from orchestration.market.errors import LakeError
from orchestration.market.fetch_plan import AnsweredRanges, FetchRequest, PlanRules, Stored, plan
from orchestration.market.universe import Universe
from orchestration.sources.base import BarSource, FetchOutcome, FetchStatus


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
        progress: called after each symbol.

    Raises:
        LakeError: the lake cannot be read or written.
    """
    # A contract of a future is collected as an instrument is, and is none.
    contracts = [contract.instrument for root in universe.instruments for contract in listed(root, now.date())]
    instruments = (*universe.instruments, *contracts)
    calendars = {i.calendar for i in instruments}
    closed = {name: calendar.closed_sessions(name, now) for name in calendars}
    # Past the end of a calendar every weekday is requested.
    expected = {
        name: pd.DatetimeIndex(f.loc[f["bar_expected"] | ~f["is_listed"], "session_date"]) for name, f in closed.items()
    }
    stored = read_stored_sessions(lake, (i.symbol for i in instruments))
    requests = plan(instruments, expected, stored_histories(lake, stored), now, rules)
    sessions = {name: pd.DatetimeIndex(f["session_date"]) for name, f in closed.items()}
    unlisted = unlisted_sessions(stored, instruments, sessions)
    if not requests:
        return IngestReport(None, (), unlisted=unlisted)
    deliveries = Deliveries(
        batch=Batch(lake, source_name),
        instruments={i.symbol: i for i in instruments},
        closed=sessions,
        known={name: _sessions_around(name, now) for name in calendars},
        stored=stored,
        requested_at=lake.requested_at(),
        bases=lake.price_bases(),
        known_rejections=set(lake.read("rejected_bars", ["rejected_id"])["rejected_id"].to_pylist()),
        unlisted=unlisted,
    )
    try:
        results = _fetch_all(source, requests, deliveries, progress, {i.symbol for i in contracts})
    finally:
        deliveries.batch.flush()
    warnings = _compact(lake, deliveries.batch)
    return IngestReport(
        deliveries.batch.batch_id, results, tuple(deliveries.new_rejections), warnings, deliveries.unlisted
    )


def stored_histories(lake: Lake, stored: StoredSessions) -> dict[str, Stored]:
    """What the fetch plan has to know about each symbol that has a bar.

    Raises:
        LakeError: the lake cannot be read.
    """
    # A moment that is still to come is of a clock that was ahead: nobody knows when that was, so it does not count.
    now = dt.datetime.now(dt.UTC)
    whole_history_at = {symbol: at for symbol, at in lake.whole_history_at().items() if at <= now}
    answered = lake.answered_ranges()
    return {
        symbol: Stored(
            pd.DatetimeIndex(stored.sessions(symbol)),
            whole_history_at.get(symbol),
            AnsweredRanges.of(answered.get(symbol, ())),
        )
        for symbol in stored.symbols()
    }


def _fetch_all(
    source: BarSource,
    requests: Sequence[FetchRequest],
    deliveries: Deliveries,
    progress: ProgressReporter,
    contracts: Collection[str],
) -> tuple[SymbolResult, ...]:
    """Fetch, and take what comes into the batch; in the order of the requests, results of those that were answered.

    Args:
        source: what is asked.
        requests: for what.
        deliveries: take it.
        progress: called after each symbol.
        contracts: symbols that the source need not have: a month may not be listed yet, or not any more.
    """
    results: dict[str, SymbolResult] = {}

    def take(outcome: FetchOutcome) -> None:
        if outcome.request.symbol in contracts and outcome.status in (FetchStatus.UNKNOWN_SYMBOL, FetchStatus.EMPTY):
            outcome = replace(outcome, status=FetchStatus.ABSENT)
        result = deliveries.take(outcome)
        results[result.symbol] = result
        progress(len(results), len(requests), result.line)

    again: list[FetchRequest] = []
    deliveries.expect(requests)
    for delivered in source.fetch(requests):
        outcome, on_new_basis = deliveries.look_at(delivered)
        if on_new_basis:
            # Everything before this delivery is on an old basis: the whole history belongs into the same batch.
            again.append(replace(outcome.request, start=None, reason="new_action"))
        else:
            take(outcome)
    deliveries.expect(again)
    for outcome in source.fetch(again) if again else ():
        take(outcome)
    return tuple(results[r.symbol] for r in requests if r.symbol in results)


def _compact(lake: Lake, batch: Batch) -> tuple[str, ...]:
    """Merge small files where that changes no fingerprint that is still good; the errors, in words.

    The names of the files of bars and of the quarantine are part of the fingerprint: they are merged only together with
    rows that make it another one anyway. The log of fetches counts in it by its content.
    """
    errors = []
    for dataset in ("fetches", *(("bars", "rejected_bars") if batch.stored_any else ())):
        try:
            compact(lake, dataset)
        except LakeError as error:
            # Everything that was delivered is stored; the next run that stores something tries again.
            errors.append(str(error))
    return tuple(errors)


def _sessions_around(name: str, now: dt.datetime) -> pd.DatetimeIndex:
    """Sessions of two weeks before and after now, whether closed or not."""
    day, fortnight = now.date(), dt.timedelta(days=14)
    return pd.DatetimeIndex(calendar.sessions(name, day - fortnight, day + fortnight)["session_date"])
