"""What a lake holds, for those who decide what to ask for: which sessions, without their prices; bars, a few at a time.

Ten thousand instruments with twenty years each are fifty million bars. Neither their sessions as objects nor their
newest versions all at once would fit: sessions are a bit map here, and bars are read for a block of symbols at a time.
"""

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from orchestration.ingest.lake import Lake, column_bounds
from orchestration.market.fetch_plan import FetchRequest

# Bars of a block, about; two blocks are kept, for deliveries that come out of order.
BLOCK_ROWS = 1_000_000
BLOCKS_KEPT = 2


@dataclass(frozen=True)
class Holdings:
    """Which sessions of which symbols are stored.

    Attributes:
        places: row of each symbol that was asked about.
        first: the day of the first column.
        held: whether a bar is stored; symbols x days.
        observed: latest observation by symbol, microseconds since 1970 UTC; 0 where nothing is stored.
    """

    places: dict[str, int]
    first: np.datetime64
    held: np.ndarray
    observed: np.ndarray

    def symbols(self) -> Iterator[str]:
        """Those that have a bar, in the order in which they were asked about."""
        return (symbol for symbol, place in self.places.items() if self.observed[place])

    def sessions(self, symbol: str) -> np.ndarray:
        """Stored sessions, ascending, datetime64[s]."""
        place = self.places.get(symbol)
        days = np.flatnonzero(self.held[place]) if place is not None else np.empty(0, dtype=np.int64)
        return (self.first + days.astype("timedelta64[D]")).astype("datetime64[s]")

    def count(self, symbol: str) -> int:
        """How many sessions are stored."""
        place = self.places.get(symbol)
        return 0 if place is None else int(np.count_nonzero(self.held[place]))

    def latest_observation(self, symbol: str) -> dt.datetime | None:
        """When the newest version of any bar was seen, UTC without a zone mark; None if nothing is stored."""
        place = self.places.get(symbol)
        if place is None or not self.observed[place]:
            return None
        moment: dt.datetime = self.observed[place].astype("datetime64[us]").item()
        return moment


def holdings(lake: Lake, symbols: Iterable[str]) -> Holdings:
    """What a lake holds of some symbols; one byte for a symbol and day, whatever the number of versions.

    Raises:
        LakeError: a file cannot be read; the message names it.
    """
    return lake.steadily("bars", lambda paths: _holdings(paths, {symbol: n for n, symbol in enumerate(symbols)}))


def _holdings(paths: Sequence[Path], places: dict[str, int]) -> Holdings:
    first, last = _days_of(paths)
    days = last - first + 1
    held = np.zeros((len(places), days), dtype=bool)
    observed = np.zeros(len(places), dtype=np.int64)
    cells = held.reshape(-1)
    columns = ["symbol", "session_date", "observed_at"]
    form = ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=["symbol"]))
    for batch in ds.dataset([str(path) for path in paths], format=form).to_batches(columns=columns):
        symbol = batch.column("symbol")
        if not isinstance(symbol, pa.DictionaryArray):
            symbol = symbol.dictionary_encode()
        place_of = np.array([places.get(name, -1) for name in symbol.dictionary.to_pylist()], dtype=np.int64)
        if not len(batch) or (place_of < 0).all():
            continue
        place = place_of[symbol.indices.to_numpy()]
        day = batch.column("session_date").cast(pa.int32()).to_numpy() - first
        moment = batch.column("observed_at").cast(pa.int64()).to_numpy()
        watched = place >= 0
        if not watched.all():
            place, day, moment = place[watched], day[watched], moment[watched]
        cells[place * days + day] = True
        # Rows of a symbol stand together, so that there are few places to compare.
        starts = np.append(0, np.flatnonzero(np.diff(place)) + 1)
        np.maximum.at(observed, place[starts], np.maximum.reduceat(moment, starts))
    return Holdings(places, np.datetime64(first, "D"), held, observed)


def _days_of(paths: Sequence[Path]) -> tuple[int, int]:
    """First and last session of all files, days since 1970; 0 and 0 where there are no rows."""
    found = [bounds for bounds in (column_bounds(path, "session_date") for path in paths) if bounds[0] is not None]
    return min((_day(low) for low, _ in found), default=0), max((_day(high) for _, high in found), default=0)


def _day(date: dt.date) -> int:
    return (date - dt.date(1970, 1, 1)).days


@dataclass(frozen=True)
class _Block:
    """The newest stored bars of some symbols since a day; None: all of them."""

    symbols: tuple[str, ...]
    since: dt.date | None


class StoredBars:
    """The newest stored version of every bar of a symbol, read from the lake a block of symbols at a time.

    Args:
        lake: the lake.
        held: what it holds.
        requests: of the symbols that will be looked at, about in that order; of a symbol whose request is for a part
            of its history, only that part is read, unless more of it is asked for.
    """

    def __init__(self, lake: Lake, held: Holdings, requests: Iterable[FetchRequest]) -> None:
        self._lake = lake
        self._held = held
        self._blocks = {symbol: block for block in _blocks(held, requests) for symbol in block.symbols}
        self._read: OrderedDict[_Block, dict[str, pd.DataFrame]] = OrderedDict()

    def of(self, symbol: str, since: dt.date | None = None) -> pd.DataFrame | None:
        """Stored rows, ascending by session (datetime64[s]), at least those from `since` on; None if there are none.

        Raises:
            LakeError: a file cannot be read.
        """
        block = self._blocks.get(symbol)
        if block is None:
            return None
        if block.since is not None and (since is None or since < block.since):
            block = _Block((symbol,), None)
        if block not in self._read:
            while len(self._read) >= BLOCKS_KEPT:
                self._read.popitem(last=False)
            self._read[block] = self._bars_of(block)
        self._read.move_to_end(block)
        bars = self._read[block].get(symbol)
        # None of what was delivered is stored: what is tells at least that there is a history.
        return self.of(symbol, dt.date.min) if bars is None and block.since is not None else bars

    def _bars_of(self, block: _Block) -> dict[str, pd.DataFrame]:
        table = self._lake.newest_bars(block.symbols, block.since)
        frame = table.drop_columns(["source", "batch_id"]).to_pandas()
        frame["session_date"] = pd.to_datetime(frame["session_date"]).astype("datetime64[s]")
        names = table["symbol"].combine_chunks().dictionary_encode()
        codes = names.indices.to_numpy()
        if not len(codes):
            return {}
        starts = np.append(0, np.flatnonzero(np.diff(codes)) + 1)
        ends = np.append(starts[1:], len(codes))
        symbols = names.dictionary.to_pylist()
        return {symbols[codes[a]]: frame.iloc[a:b] for a, b in zip(starts, ends, strict=True)}


def _blocks(held: Holdings, requests: Iterable[FetchRequest]) -> Iterator[_Block]:
    symbols: list[str] = []
    since: list[dt.date | None] = []
    rows = 0
    for request in requests:
        count = held.count(request.symbol)
        if not count:
            continue
        symbols.append(request.symbol)
        since.append(request.start)
        rows += count
        if rows >= BLOCK_ROWS:
            yield _block(symbols, since)
            symbols, since, rows = [], [], 0
    if symbols:
        yield _block(symbols, since)


def _block(symbols: list[str], since: list[dt.date | None]) -> _Block:
    days = [day for day in since if day is not None]
    return _Block(tuple(symbols), min(days) if len(days) == len(since) else None)
