"""What of a delivery is stored: its validated new rows, or nothing of it and the reason.

A symbol that our own code fails with becomes a failed result, so that it does not stop the others.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from orchestration.ingest.batch import Batch
from orchestration.ingest.lake import BARS
from orchestration.ingest.report import SymbolResult
from orchestration.ingest.stored_sessions import StoredBars, StoredSessions, Unlisted, add_unlisted
from orchestration.market import new_versions
from orchestration.market.bars import Columns, empty_raw
from orchestration.market.consistency import DISAGREEMENTS_ALLOWED, contradicted_sessions, frequency, other_returns
from orchestration.market.currency import is_same_unit
from orchestration.market.errors import LakeError
from orchestration.market.fetch_plan import FetchRequest, needs_whole_history
from orchestration.market.quarantine import quarantine_id
from orchestration.market.universe import Instrument
from orchestration.market.validation import Validated, validate
from orchestration.sources.base import FetchOutcome, FetchStatus, broken


@dataclass
class Deliveries:
    """Takes deliveries into a batch."""

    batch: Batch
    instruments: dict[str, Instrument]  # by symbol
    closed: dict[str, pd.DatetimeIndex]  # by calendar, the sessions that have ended
    known: dict[str, pd.DatetimeIndex]  # by calendar, sessions around now, whether closed or not
    stored: StoredSessions  # which sessions are stored
    requested_at: dict[str, dt.datetime]  # by symbol, when it was last requested, UTC without a zone mark
    bases: dict[str, str]  # by symbol, the basis of its stored prices
    known_rejections: set[str]  # ids of rows that are in the quarantine
    unlisted: Unlisted  # days with a bar that the calendar does not have; those of new bars are added
    # Rows that are new in the quarantine, as (symbol, session, rule, severity, detail).
    new_rejections: list[tuple[str, dt.date | None, str, str, str]] = field(default_factory=list)
    _newest: StoredBars = field(init=False)
    # Of the outcome that was looked at last: it is looked at from several sides.
    _latest: tuple[FetchOutcome, Validated] | None = None
    _latest_stored: tuple[FetchOutcome, pd.DataFrame | None] | None = None

    def expect(self, requests: Iterable[FetchRequest]) -> None:
        """Prepare for the deliveries of some requests, about in that order."""
        self._newest, self._latest_stored = StoredBars(self.batch.lake, self.stored, requests), None

    def look_at(self, outcome: FetchOutcome) -> tuple[FetchOutcome, bool]:
        """The outcome, and whether a partial delivery shows that the prices before it have changed too."""
        if outcome.status is not FetchStatus.OK or outcome.request.whole_history:
            return outcome, False
        try:
            stored = self._stored_bars(outcome)
            return outcome, stored is not None and needs_whole_history(self._validated(outcome).columns, stored)
        except LakeError:
            raise
        except Exception as error:
            return broken(outcome.request, error), False

    def take(self, outcome: FetchOutcome) -> SymbolResult:
        """Put what is new into the batch."""
        unlisted = self.unlisted
        try:
            exchange = self.instruments[outcome.request.symbol].calendar
            taken = self._taken(self._consistent(outcome))
            for table in taken.bars:
                unlisted = add_unlisted(unlisted, exchange, table["session_date"].to_numpy(), self.closed[exchange])
        except LakeError:
            raise
        except Exception as error:
            taken, unlisted = self._nothing_of(broken(outcome.request, error)), self.unlisted
        self.unlisted = unlisted
        self.known_rejections |= {row["rejected_id"] for row in taken.rejected}
        self.new_rejections += [
            (row["symbol"], *(row[name] for name in ("session_date", "rule", "severity", "detail")))
            for row in taken.rejected
        ]
        self.batch.add(taken.bars, taken.rejected, taken.fetch)
        return taken.result

    def _stored_bars(self, outcome: FetchOutcome) -> pd.DataFrame | None:
        """The newest stored bars of all sessions that were delivered; after a whole history, of all sessions."""
        if outcome.bars.empty:
            return None
        if self._latest_stored is None or self._latest_stored[0] is not outcome:
            # A date that could not be read is not the earliest.
            earliest = np.fmin.reduce(outcome.bars["session_date"].to_numpy())
            every = outcome.request.whole_history or np.isnat(earliest)
            since = None if every else earliest.astype("datetime64[D]").item()
            self._latest_stored = outcome, self._newest.of(outcome.request.symbol, since)
        return self._latest_stored[1]

    def _validated(self, outcome: FetchOutcome) -> Validated:
        if self._latest is None or self._latest[0] is not outcome:
            exchange = self.instruments[outcome.request.symbol].calendar
            closed, known, stored = self.closed[exchange], self.known[exchange], self._stored_bars(outcome)
            self._latest = outcome, validate(outcome.bars, closed, known, stored, weekends=exchange != "CMES")
        return self._latest[1]

    def _consistent(self, outcome: FetchOutcome) -> FetchOutcome:
        """The outcome; a failure if it contradicts itself or what is stored, because only a person can decide then."""
        text = self._contradiction(outcome)
        if not text:
            return outcome
        detail = "; ".join([f"{outcome.request.source_symbol}: {text}", *([outcome.detail] if outcome.detail else [])])
        return replace(outcome, status=FetchStatus.INCONSISTENT, bars=empty_raw(), detail=detail)

    def _contradiction(self, outcome: FetchOutcome) -> str:
        instrument = self.instruments[outcome.request.symbol]
        if not is_same_unit(outcome.currency, instrument.currency):
            return (
                f"prices are in {outcome.currency}, and instruments.csv says {instrument.currency}: correct the row, "
                f"or name the ticker that is quoted in {instrument.currency}"
            )
        validated = self._validated(outcome)
        accepted = validated.columns
        if (step := frequency(accepted["session_date"])) != "daily":
            return f"{step} bars instead of daily ones"
        if text := self._other_basis(outcome, accepted):
            return text
        sessions, tick = self.closed[instrument.calendar], instrument.tick_size
        wrong = contradicted_sessions(accepted, sessions, tick)
        if wrong and not outcome.request.whole_history:
            wrong = contradicted_sessions(self._with_all_stored(outcome.request, validated.accepted), sessions, tick)
        if len(wrong) > DISAGREEMENTS_ALLOWED:
            first = wrong[0].date()
            return f"adjusted closes contradict closes and dividends over {len(wrong)} sessions, the first {first}"
        # A forced request wants everything anew, whatever is stored.
        is_compared = outcome.request.whole_history and outcome.request.reason != "forced"
        stored = self._stored_bars(outcome) if is_compared else None
        if stored is not None:
            others, of = other_returns(validated.accepted, stored)
            if 2 * others > of:
                return (
                    f"{others} of {of} returns are others than those stored: the ticker may have passed to another "
                    "company; give this symbol the ticker that its company has now (source_symbol), and the other "
                    "company a symbol of its own; if what is stored was wrong, ask with --full"
                )
        return ""

    def _other_basis(self, outcome: FetchOutcome, accepted: dict[str, np.ndarray]) -> str:
        """The fault of a part of a history whose prices are on another basis than those stored before it."""
        stored, days = self.bases.get(outcome.request.symbol), accepted["session_date"]
        if stored is None or stored == str(outcome.basis) or not len(days):
            return ""
        first, earlier = pd.Timestamp(days[0]), self.stored.sessions(outcome.request.symbol)
        if not len(earlier) or first <= pd.Timestamp(earlier[0]):
            return ""
        return (
            f"prices are {str(outcome.basis).replace('_', '-')} from {first.date()} on, and {stored.replace('_', '-')} "
            "where they are stored before: give the whole history on one of both"
        )

    def _with_all_stored(self, request: FetchRequest, accepted: pd.DataFrame) -> pd.DataFrame:
        """The whole history as it would be with what was delivered."""
        known = self._newest.of(request.symbol)
        if known is None:
            return accepted
        rest = known[~known["session_date"].isin(accepted["session_date"])]
        both = pd.concat([rest[accepted.columns], accepted], ignore_index=True)
        return both.sort_values("session_date", ignore_index=True)

    def _taken(self, outcome: FetchOutcome) -> "_Taken":
        """The rows of one symbol for the batch."""
        request, validated = outcome.request, self._validated(outcome)
        accepted, rebased = validated.columns, None
        stored = self._stored_bars(outcome) if len(accepted["session_date"]) else None
        if stored is not None and len(stored):
            if request.whole_history:
                rebased = new_versions.rebased(validated.accepted, stored)
            is_new = new_versions.is_new(accepted, stored)
            accepted = {name: values[is_new] for name, values in accepted.items()}
        stamp = self._stamp(request.symbol)
        currency = outcome.currency or self.instruments[request.symbol].currency
        tables = [_table(accepted, stamp | {"currency": currency})] if len(accepted["session_date"]) else []
        if rebased is not None and len(rebased):
            tables.append(_table(rebased, stamp))
        severities = validated.rejected["severity"].to_numpy()
        result = replace(
            _result(outcome),
            delivered=len(outcome.bars),
            new=sum(table.num_rows for table in tables),
            rebased=0 if rebased is None else len(rebased),
            rejected=int((severities == "rejected").sum()),
            demoted=int((severities == "demoted").sum()),
            held_back=validated.held_back,
        )
        rejected = self._new_in_quarantine(request.symbol, validated.rejected, stamp)
        return _Taken(result, tables, rejected, _fetch(outcome, result, stamp))

    def _nothing_of(self, outcome: FetchOutcome) -> "_Taken":
        """No rows of a symbol that our own code fails with, and a line in the log of fetches."""
        result = _result(outcome)
        return _Taken(result, [], [], _fetch(outcome, result, self._stamp(outcome.request.symbol)))

    def _stamp(self, symbol: str) -> dict[str, Any]:
        return {
            "symbol": symbol,
            "source": self.batch.source,
            "observed_at": _observed_at(self.stored.latest_observation(symbol), self.requested_at.get(symbol)),
            "batch_id": self.batch.batch_id,
        }

    def _new_in_quarantine(self, symbol: str, rejected: pd.DataFrame, stamp: dict) -> list[dict[str, Any]]:
        """Rejected rows, each fault once however often the source repeats it."""
        new: dict[str, dict[str, Any]] = {}
        for row in rejected.to_dict("records") if len(rejected) else ():
            session = None if pd.isna(row["session_date"]) else row["session_date"].date()
            identity = quarantine_id(symbol, session, row["rule"], row["raw"], row["detail"])
            if identity in self.known_rejections:
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
    return SymbolResult(request.symbol, request.reason, outcome.status, outcome.detail, note)


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


def _table(rows: Columns, stamp: dict) -> pa.Table:
    columns = {name: pa.array(rows[name], from_pandas=True) for name in BARS.names if name in rows}
    count = len(rows["session_date"])
    constants = {name: pa.repeat(pa.scalar(value, BARS.field(name).type), count) for name, value in stamp.items()}
    return pa.table({**columns, **constants}).select(BARS.names).cast(BARS)


def _observed_at(*latest: dt.datetime | None) -> dt.datetime:
    """Now, but after all that is stored of the symbol, bars and requests.

    A clock that was set back must not put a new version or answer behind an old one.
    """
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    return max([now, *(moment + dt.timedelta(microseconds=1) for moment in latest if moment)])
