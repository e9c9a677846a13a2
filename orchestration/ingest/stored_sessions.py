"""Which sessions are stored, without their prices; and stored bars, a block of symbols at a time.

Ten thousand instruments with twenty years each are fifty million bars. Neither their sessions as objects nor their
newest versions all at once would fit into memory: sessions are a matrix of bytes here.
"""

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from orchestration.ingest.lake import Lake
from orchestration.ingest.parquet import column_bounds
from orchestration.market.fetch_plan import FetchRequest
from orchestration.market.universe import Instrument

# By calendar: days with a bar that it does not have.
Unlisted = dict[str, pd.DatetimeIndex]

# Bars of a block, about; two blocks are kept, for deliveries that come out of order.
BLOCK_ROWS = 1_000_000
BLOCKS_KEPT = 2


@dataclass(frozen=True)
class StoredSessions:
    """Which sessions of which symbols are stored."""

    rows: dict[str, int]  # row of each symbol that was asked for
    first: np.datetime64  # the day of the first column
    is_stored: np.ndarray  # whether there is a bar; symbols x days
    observed: np.ndarray  # latest observation by symbol, microseconds since 1970 UTC; 0 where nothing is stored

    def symbols(self) -> Iterator[str]:
        """Those with a bar, in the order in which they were asked for."""
        return (symbol for symbol, row in self.rows.items() if self.observed[row])

    def sessions(self, symbol: str) -> np.ndarray:
        """Stored sessions, ascending, datetime64[s]."""
        row = self.rows.get(symbol)
        return self._days(self.is_stored[row]) if row is not None else np.empty(0, dtype="datetime64[s]")

    def sessions_of_any(self, symbols: Iterable[str]) -> np.ndarray:
        """Sessions of which a bar of one of these symbols is stored, ascending, datetime64[s]."""
        of_any = np.zeros(self.is_stored.shape[1], dtype=bool)
        for symbol in symbols:
            if (row := self.rows.get(symbol)) is not None:
                of_any |= self.is_stored[row]
        return self._days(of_any)

    def _days(self, is_stored: np.ndarray) -> np.ndarray:
        return (self.first + np.flatnonzero(is_stored).astype("timedelta64[D]")).astype("datetime64[s]")

    def count(self, symbol: str) -> int:
        """How many sessions are stored."""
        row = self.rows.get(symbol)
        return 0 if row is None else int(np.count_nonzero(self.is_stored[row]))

    def days_since(self, day: dt.date) -> int:
        """How many days there are from a day to the last that has a bar."""
        return max(0, self.is_stored.shape[1] - max(0, int((np.datetime64(day) - self.first).astype(int))))

    def latest_observation(self, symbol: str) -> dt.datetime | None:
        """When the newest version of any bar was seen, UTC without a zone mark; None if nothing is stored."""
        row = self.rows.get(symbol)
        if row is None or not self.observed[row]:
            return None
        moment: dt.datetime = self.observed[row].astype("datetime64[us]").item()
        return moment


def read_stored_sessions(lake: Lake, symbols: Iterable[str]) -> StoredSessions:
    """The stored sessions of some symbols; one byte for a symbol and day, whatever the number of versions.

    Raises:
        LakeError: a file cannot be read; the message names it.
    """
    return lake.steadily("bars", lambda paths: _read(paths, {symbol: n for n, symbol in enumerate(symbols)}))


def _read(paths: Sequence[Path], rows: dict[str, int]) -> StoredSessions:
    first, last = _days_of(paths)
    days = last - first + 1
    is_stored = np.zeros((len(rows), days), dtype=bool)
    observed = np.zeros(len(rows), dtype=np.int64)
    cells = is_stored.reshape(-1)
    columns = ["symbol", "session_date", "observed_at"]
    form = ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=["symbol"]))
    for batch in ds.dataset([str(path) for path in paths], format=form).to_batches(columns=columns):
        symbol = batch.column("symbol")
        if not isinstance(symbol, pa.DictionaryArray):
            symbol = symbol.dictionary_encode()
        row_of = np.array([rows.get(name, -1) for name in symbol.dictionary.to_pylist()], dtype=np.int64)
        if not len(batch) or (row_of < 0).all():
            continue
        row = row_of[symbol.indices.to_numpy()]
        day = batch.column("session_date").cast(pa.int32()).to_numpy() - first
        moment = batch.column("observed_at").cast(pa.int64()).to_numpy()
        wanted = row >= 0
        if not wanted.all():
            row, day, moment = row[wanted], day[wanted], moment[wanted]
        cells[row * days + day] = True
        # Rows of a symbol stand together, so that there are few places to compare.
        starts = np.append(0, np.flatnonzero(np.diff(row)) + 1)
        np.maximum.at(observed, row[starts], np.maximum.reduceat(moment, starts))
    return StoredSessions(rows, np.datetime64(first, "D"), is_stored, observed)


def unlisted_sessions(
    stored: StoredSessions, instruments: Iterable[Instrument], closed: Mapping[str, pd.DatetimeIndex]
) -> Unlisted:
    """Days with a stored bar that the calendar of the instrument's exchange does not have.

    Args:
        stored: sessions of the instruments.
        instruments: those to look at.
        closed: by calendar, the sessions that have ended, ascending.
    """
    symbols: dict[str, list[str]] = {}
    for instrument in instruments:
        symbols.setdefault(instrument.calendar, []).append(instrument.symbol)
    found: Unlisted = {}
    for exchange, its in symbols.items():
        found = add_unlisted(found, exchange, stored.sessions_of_any(its), closed[exchange])
    return found


def add_unlisted(found: Unlisted, exchange: str, days: np.ndarray, closed: pd.DatetimeIndex) -> Unlisted:
    """`found` with those of some days with a bar that an exchange's calendar does not have."""
    listed = closed.to_numpy()
    # Bars of later days are stored where somebody looks at an earlier one.
    days = days[(days > listed[0]) & (days < listed[-1])] if len(listed) else days[:0]
    days = days[listed[listed.searchsorted(days)] != days] if len(days) else days
    if not len(days):
        return found
    unlisted = pd.DatetimeIndex(np.unique(days)).as_unit("s")
    return found | {exchange: found.get(exchange, unlisted).union(unlisted)}


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
        stored: its sessions.
        requests: of the symbols that will be looked at, about in that order; of a symbol whose request is for a part
            of its history, only that part is read, unless more of it is asked for.
    """

    def __init__(self, lake: Lake, stored: StoredSessions, requests: Iterable[FetchRequest]) -> None:
        self._lake = lake
        self._blocks = {symbol: block for block in _blocks(stored, requests) for symbol in block.symbols}
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
        # Nothing is stored of what was delivered: older bars show at least that there is a history.
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


def _blocks(stored: StoredSessions, requests: Iterable[FetchRequest]) -> Iterator[_Block]:
    symbols: list[str] = []
    since, rows = dt.date.max, 0
    for request in requests:
        count = stored.count(request.symbol)
        if not count:
            continue
        start = request.start or dt.date.min
        # A block reads all its symbols since the same day, and at most a bar of each for a day.
        at_most = (len(symbols) + 1) * stored.days_since(min(since, start))
        if symbols and min(rows + count, at_most) > BLOCK_ROWS:
            yield _block(symbols, since)
            symbols, since, rows = [], dt.date.max, 0
        symbols.append(request.symbol)
        since, rows = min(since, start), rows + count
    if symbols:
        yield _block(symbols, since)


def _block(symbols: list[str], since: dt.date) -> _Block:
    return _Block(tuple(symbols), None if since == dt.date.min else since)
