"""The protocol of a source, and what can go wrong with one symbol.

A source turns requests into outcomes, one for one, in any order and at its own pace. A symbol that fails is an
outcome with an error, never an exception, so that it does not stop the others.
"""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from orchestration.market.price_basis import PriceBasis

if TYPE_CHECKING:
    import pandas as pd

    from orchestration.market.fetch_plan import FetchRequest

logger = logging.getLogger(__name__)


class FetchStatus(StrEnum):
    """How a request for one symbol ended."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"
    UNKNOWN_SYMBOL = "unknown_symbol"
    EMPTY = "empty"
    MALFORMED = "malformed"
    TIMEOUT = "timeout"
    UNAUTHORISED = "unauthorised"
    UNREACHABLE = "unreachable"
    INCONSISTENT = "inconsistent"  # what was delivered contradicts itself
    BROKEN = "broken"  # our own code failed with it
    ABSENT = "absent"  # the drop folder has no file for the symbol: nothing is wrong, nothing is known

    @property
    def failed(self) -> bool:
        """Whether something was asked for that the source should have had, and it did not come."""
        return self not in (FetchStatus.OK, FetchStatus.ABSENT)


@dataclass(frozen=True)
class FetchOutcome:
    """What one request brought."""

    request: "FetchRequest"  # the request
    status: FetchStatus  # OK, or the class of the failure
    bars: "pd.DataFrame"  # `bars.RAW_COLUMNS`, in order of delivery; empty unless OK
    currency: str | None = None  # by the source; None where it names none
    detail: str = ""  # one line for a person: the cause of a failure, or a note about what was delivered
    attempts: int = 1  # how many tries it took
    basis: PriceBasis = PriceBasis.SPLIT_ADJUSTED  # what was taken out of the prices

    @property
    def failed(self) -> bool:
        """Whether the status is a failure."""
        return self.status.failed


def outcome_of(ask: Callable[["FetchRequest"], FetchOutcome], request: "FetchRequest") -> FetchOutcome:
    """What asking for one symbol brought; an exception is an outcome too."""
    try:
        return ask(request)
    except Exception as error:
        return broken(request, error)


def broken(request: "FetchRequest", error: Exception) -> FetchOutcome:
    """The outcome of a symbol that our own code failed with; the log has where."""
    from orchestration.market.bars import empty_raw

    logger.error("%s: %s", request.symbol, error, exc_info=error)
    detail = f"{request.source_symbol}: {one_line(f'{type(error).__name__}: {error}')}"
    return FetchOutcome(request, FetchStatus.BROKEN, empty_raw(), detail=detail)


def one_line(text: str) -> str:
    """A text without line breaks and control characters, at most 200 characters."""
    return "".join(c for c in " ".join(text.split())[:200] if c.isprintable())


class BarSource(Protocol):
    """Where bars come from."""

    @property
    def local(self) -> bool:
        """Whether everything can be read again at every refresh at no cost to anybody."""
        ...

    def fetch(self, requests: Sequence["FetchRequest"]) -> Iterator[FetchOutcome]:
        """One outcome per request, each as soon as it is known."""
        ...


def jittered(seconds: float, attempt: int) -> float:
    """Wait before retry number `attempt` (from 1): doubling, between half and one and a half of it, at most 60 s."""
    return min(60.0, seconds * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.5)  # noqa: S311
