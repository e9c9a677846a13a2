"""Rows on their way into the lake, written in parts while the fetching goes on."""

import datetime as dt
import time
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from orchestration.ingest.lake import FETCHES, REJECTED, Lake
from orchestration.ingest.parquet import new_batch_id

# Rows are appended whenever this many have gathered or this much time has passed: a killed run loses little.
FLUSH_ROWS = 250_000
FLUSH_SECONDS = 30.0


@dataclass
class Batch:
    """The rows of one ingest run."""

    lake: Lake  # where they go
    source: str  # name of the source, kept on every row
    batch_id: str = field(default_factory=lambda: new_batch_id(dt.datetime.now(dt.UTC)))
    stored_any: bool = False  # whether a bar or a rejected row has been written
    _bars: list[pa.Table] = field(default_factory=list)
    _rejected: list[dict[str, Any]] = field(default_factory=list)
    _fetches: list[dict[str, Any]] = field(default_factory=list)
    _rows: int = 0
    _part: int = 0
    _flushed_at: float = field(default_factory=time.monotonic)

    def add(self, bars: list[pa.Table], rejected: list[dict[str, Any]], fetch: dict[str, Any]) -> None:
        """Take in the rows of one symbol: bars, rows of the quarantine and a row of the log of fetches."""
        self._bars += bars
        self._rejected += rejected
        self._fetches.append(fetch)
        self._rows += sum(table.num_rows for table in bars) + len(rejected)
        if self._rows >= FLUSH_ROWS or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered.

        Raises:
            LakeError: it cannot be written.
        """
        self.stored_any = self.stored_any or bool(self._bars or self._rejected)
        if self._bars:
            self.lake.append("bars", pa.concat_tables(self._bars), self.batch_id, self._part)
        # The log of fetches last: a whole history that is logged must not be believed before its rows are safe.
        for dataset, rows, schema in (("rejected_bars", self._rejected, REJECTED), ("fetches", self._fetches, FETCHES)):
            self.lake.append(dataset, pa.Table.from_pylist(rows, schema=schema), self.batch_id, self._part)
        self._bars, self._rejected, self._fetches = [], [], []
        self._rows, self._part, self._flushed_at = 0, self._part + 1, time.monotonic()
