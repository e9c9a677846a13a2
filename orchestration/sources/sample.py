"""The source `sample`: a SIMULATED market around 30 January 2026 that works offline.

Its prices are fiction, apart from the anchored facts of `sample_story`. Bars come as Yahoo delivers them:
prices and dividends split-adjusted, and an adjusted close made of the dividends known on the as-of date.
Moving the as-of date forward adds sessions and never changes an earlier bar, except, as with a real vendor,
the adjusted closes before a new dividend. (Split-adjusted prices are on the basis of the last as-of date
throughout, so an early as-of date does not undo the one split, of AEM in 2021, which is fiction.)

This module serves requests; how prices come about is the business of `sample_market`.
"""

import datetime as dt
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from orchestration.market.bars import empty_raw, raw_frame
from orchestration.market.contracts import contracts_among
from orchestration.market.fetch_plan import FetchRequest
from orchestration.market.universe import Instrument
from orchestration.settings import SAMPLE_FIRST_SESSION, SAMPLE_LAST_AS_OF
from orchestration.sources.base import FetchOutcome, FetchStatus, outcome_of
from orchestration.sources.sample_market import contract_history, history

# What anything that a person sees of these prices must say.
SIMULATED_LABEL = "SIMULATED"


class SampleSource:
    """Simulated bars of any instrument, from 2018-01-02 to the as-of date; made when first asked for.

    Args:
        instruments: the universe; one that the story does not know gets a path of its own, derived from
            its source symbol, metal and tier.
        as_of: the simulated market's today.

    Raises:
        ValueError: the as-of date lies outside the simulated history.
    """

    def __init__(self, instruments: Sequence[Instrument], as_of: dt.date) -> None:
        if not SAMPLE_FIRST_SESSION <= as_of <= SAMPLE_LAST_AS_OF:
            allowed = f"a date from {SAMPLE_FIRST_SESSION} to {SAMPLE_LAST_AS_OF}"
            raise ValueError(f"as_of {as_of}; allowed: {allowed}")
        self._instruments = {i.source_symbol: i for i in instruments}
        self._as_of = as_of

    @property
    def local(self) -> bool:
        """Reading everything again costs nobody anything."""
        return True

    def fetch(self, requests: Sequence[FetchRequest]) -> Iterator[FetchOutcome]:
        """One outcome per request, in order, each made when it is asked for."""
        for request in requests:
            yield outcome_of(self._outcome, request)

    def _outcome(self, request: FetchRequest) -> FetchOutcome:
        if instrument := self._instruments.get(request.source_symbol):
            known, currency = history(instrument), instrument.currency
        elif contracts := contracts_among([request.source_symbol], self._instruments.values()):
            known, currency = contract_history(contracts[0]), contracts[0].root.currency
        else:
            detail = f"{request.source_symbol} is not in the simulated market; allowed: a row of instruments.csv"
            return FetchOutcome(request, FetchStatus.UNKNOWN_SYMBOL, empty_raw(), detail=detail)
        known = known[known["session_date"] <= pd.Timestamp(self._as_of)]
        adjusted = known.assign(adj_close=adjusted_close(known["close"], known["dividend"]))
        wanted = adjusted["session_date"] <= pd.Timestamp(request.end)
        if request.start is not None:
            wanted &= adjusted["session_date"] >= pd.Timestamp(request.start)
        rows = adjusted[wanted]
        if rows.empty:
            start, end = request.start or SAMPLE_FIRST_SESSION, min(request.end, self._as_of)
            detail = f"no simulated session from {start} to {end}"
            return FetchOutcome(request, FetchStatus.EMPTY, empty_raw(), currency, detail)
        delivered = {str(name): rows[name].to_numpy() for name in rows.columns}
        bars = raw_frame(delivered | {"origin": SIMULATED_LABEL})
        return FetchOutcome(request, FetchStatus.OK, bars, currency, f"{SIMULATED_LABEL} prices")


def adjusted_close(close: pd.Series, dividend: pd.Series) -> pd.Series:
    """Yahoo's form on split-adjusted prices: C_t times the product over s > t of (1 - D_s / C_{s-1})."""
    factor = (1 - dividend / close.shift(1)).fillna(1.0).to_numpy()
    later = np.append(np.cumprod(factor[::-1])[::-1][1:], 1.0)
    return close * later
