"""What an ingest run did, symbol by symbol."""

import datetime as dt
from dataclasses import dataclass, field

from orchestration.ingest.stored_sessions import Unlisted
from orchestration.sources.base import FetchStatus


@dataclass(frozen=True)
class SymbolResult:
    """How one symbol's request ended."""

    # Of the request and its outcome: symbol, reason, status, detail.
    symbol: str
    reason: str
    status: FetchStatus
    detail: str
    note: str = ""  # about rows that were delivered; empty if there is none
    delivered: int = 0  # rows
    new: int = 0  # bars that were stored, the rebased ones included
    rebased: int = 0  # stored bars that were not delivered again and were put on the new basis
    # Delivered rows that were not stored, or not as they came: rejected, demoted, held_back.
    rejected: int = 0
    demoted: int = 0
    held_back: int = 0

    @property
    def line(self) -> str:
        """The result on one line, for a person."""
        if self.status is not FetchStatus.OK:
            return f"{self.symbol}: {self.status}: {self.detail}"
        counts = {"new": self.new, "of them rebased": self.rebased, "rejected": self.rejected, "demoted": self.demoted}
        text = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return f"{self.symbol}: {text or 'nothing new'}"


@dataclass(frozen=True)
class IngestReport:
    """What one ingest run did."""

    batch_id: str | None  # the batch; None when nothing had to be requested
    results: tuple[SymbolResult, ...]  # one per requested symbol
    # Rows that are new in the quarantine, as (symbol, session, rule, severity, detail).
    new_rejections: tuple[tuple[str, dt.date | None, str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()  # what could not be done and may wait
    # Days with a stored bar that the calendar of their exchange does not have, by calendar.
    unlisted: Unlisted = field(default_factory=dict)

    @property
    def new_rows(self) -> int:
        """Bars that were new or differed from the newest stored version."""
        return sum(r.new for r in self.results)

    @property
    def failures(self) -> tuple[SymbolResult, ...]:
        """Symbols that failed."""
        return tuple(r for r in self.results if r.status.failed)
