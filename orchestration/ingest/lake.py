"""The lake: append-only Parquet, one file per batch and part. No stored version is ever changed or dropped.

Each dataset is a folder of immutable files (`dataset_folders`). Every dataset holds one empty file with its schema, so
that a scan of an empty lake finds columns instead of an error.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from orchestration.files import cannot_be_written
from orchestration.ingest.dataset_folders import DatasetFolders
from orchestration.ingest.parquet import (
    TEMPORARY,
    TIMESTAMP,
    column_bounds,
    parquet_footer,
    read_files,
    schema_of,
    write_parquet,
    write_part,
)
from orchestration.market.errors import LakeError

BARS = schema_of(
    "symbol text, session_date date, open number, high number, low number, close number, adj_close number,"
    "volume number, dividend number, split_ratio number, bar_quality text, currency text,"
    "source text, observed_at moment, batch_id text"
)
REJECTED = schema_of(
    "rejected_id text, symbol text, session_date date, rule text, severity text, detail text, raw text, origin text,"
    "row_number count, source text, observed_at moment, batch_id text"
)
# Files of earlier releases do not have price_basis.
FETCHES = schema_of(
    "symbol text, reason text, requested_from date, requested_to date, whole_history flag, status text, detail text,"
    "attempts count, delivered_rows count, new_rows count, rejected_rows count, held_back_rows count,"
    "source text, observed_at moment, batch_id text, price_basis text"
)
DATASETS = {"bars": BARS, "rejected_bars": REJECTED, "fetches": FETCHES}

SCHEMA_FILE = "schema.parquet"

# Newest of all in `newest_bars`: the later observation, then the later batch. A batch has one version of a bar.
VERSION_ORDER = ("symbol", "session_date", "observed_at", "batch_id")

T = TypeVar("T")


@dataclass(frozen=True)
class Lake:
    """The datasets of one source below `root`."""

    root: Path

    def folders(self, dataset: str) -> DatasetFolders:
        """The folders of a dataset: bars, rejected_bars or fetches."""
        return DatasetFolders(self.root, dataset, DATASETS[dataset])

    def prepare(self) -> list[str]:
        """Create folders and schema files, and set right what a killed run or a restored home has left.

        Returns:
            For a person: rows that were found beside the folder that counts, and what was kept because nothing proves
            that it may go.

        Raises:
            LakeError: the folder cannot be written, or is no lake.
        """
        lines: list[str] = []
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for dataset, schema in DATASETS.items():
                folders = self.folders(dataset)
                lines += folders.link_again()
                if not folders.current.exists():
                    folders.exchange(folders.new())
                for leftover in folders.current.glob(f"{TEMPORARY}*"):
                    leftover.unlink()
                if not (folders.current / SCHEMA_FILE).exists():
                    write_parquet(folders.current / SCHEMA_FILE, schema.empty_table())
                lines += folders.settle_leftovers()
        except OSError as error:
            raise LakeError(cannot_be_written(error, self.root)) from error
        return lines

    def append(self, dataset: str, table: pa.Table, batch_id: str, part: int) -> None:
        """Add rows as one new immutable file; no rows, no file.

        Args:
            dataset: bars, rejected_bars or fetches.
            table: rows in the dataset's schema.
            batch_id: the batch that they belong to.
            part: number of the file within the batch.

        Raises:
            LakeError: the file cannot be written; nothing of it is left.
        """
        if table.num_rows:
            write_part(self.root / dataset, batch_id, part, table.cast(DATASETS[dataset]))

    def paths(self, dataset: str) -> list[Path]:
        """The files of a dataset, by name."""
        return sorted((self.root / dataset).resolve().glob("*.parquet"))

    def files(self) -> list[tuple[str, int]]:
        """Name and size of every data file, sorted: since a file never changes, this identifies the content.

        The reverse does not hold: compaction merges files, and the same rows stand under other names.
        """
        found: list[tuple[str, int]] = []
        for dataset in DATASETS:
            sizes = self.steadily(dataset, lambda paths: [(path.name, path.stat().st_size) for path in paths])
            found += [(f"{dataset}/{name}", size) for name, size in sizes]
        return sorted(found)

    def read(self, dataset: str, columns: list[str] | None = None, symbols: Iterable[str] | None = None) -> pa.Table:
        """All rows of a dataset, every version.

        Raises:
            LakeError: a file cannot be read; the message names it.
        """
        wanted = None if symbols is None else ds.field("symbol").isin(list(symbols))
        return self.steadily(dataset, lambda paths: read_files(paths, DATASETS[dataset], columns, wanted))

    def newest_bars(self, symbols: Iterable[str] | None = None, since: dt.date | None = None) -> pa.Table:
        """The newest stored version of every (symbol, session), ordered by symbol and session.

        Args:
            symbols: only these.
            since: only sessions from this day on.
        """
        wanted = None if symbols is None else ds.field("symbol").isin(list(symbols))
        if since is not None:
            recent = ds.field("session_date") >= since
            wanted = recent if wanted is None else wanted & recent
        return newest_versions(self.steadily("bars", lambda paths: read_files(paths, BARS, None, wanted)))

    def steadily(self, dataset: str, read: Callable[[list[Path]], T]) -> T:
        """The result of `read` on the files of a dataset, again if the folder was exchanged meanwhile."""
        name = self.root / dataset
        while True:
            folder = name.resolve()
            try:
                found = read(sorted(folder.glob("*.parquet")))
            except (OSError, LakeError):
                if name.resolve() == folder:
                    raise
                continue
            # A folder that is just being removed may have listed a part of its files.
            if name.resolve() == folder:
                return found

    def latest_observation(self) -> dt.datetime | None:
        """When the latest version of any bar was observed, UTC without a zone mark; from the footers of the files."""
        latest = self.steadily("bars", lambda paths: [column_bounds(path, "observed_at")[1] for path in paths])
        return max(filter(None, latest), default=None)

    def row_count(self, dataset: str) -> int:
        """Rows of every version, from the footers of the files."""
        return self.steadily(dataset, lambda paths: sum(parquet_footer(path).num_rows for path in paths))

    def facts(self, dataset: str) -> dict[str, int | str]:
        """Row count and, where there is one, the latest session: Dagster metadata, from the footers of the files."""
        known: dict[str, int | str] = {"dagster/row_count": self.row_count(dataset)}
        if "session_date" in DATASETS[dataset].names:
            days = self.steadily(dataset, lambda paths: [column_bounds(path, "session_date")[1] for path in paths])
            known["latest_session"] = str(max(filter(None, days), default="none"))
        return known

    def versions_observed_by(self, moment: dt.datetime) -> int:
        """How many versions of bars had been observed by a moment, UTC without a zone mark."""
        known = ds.field("observed_at") <= pa.scalar(moment, TIMESTAMP)
        return self.steadily(
            "bars", lambda paths: ds.dataset(paths, schema=BARS).count_rows(filter=known) if paths else 0
        )

    def whole_history_at(self) -> dict[str, dt.datetime]:
        """When each symbol's whole history was last delivered."""
        log = self.read("fetches", ["symbol", "whole_history", "status", "observed_at"])
        log = log.filter(pc.and_(log["whole_history"], pc.equal(log["status"], "ok")))
        latest = log.group_by("symbol").aggregate([("observed_at", "max")])
        moments = (moment.replace(tzinfo=dt.UTC) for moment in latest["observed_at_max"].to_pylist())
        return dict(zip(latest["symbol"].to_pylist(), moments, strict=True))

    def answered_ranges(self) -> dict[str, set[tuple[dt.date | None, dt.date]]]:
        """First and last day of the requests that the source answered, by symbol; from None: the whole history.

        Of a symbol's whole histories only the latest is there, of other ranges those that reach beyond it.
        """
        log = self.read("fetches", ["symbol", "requested_from", "requested_to", "status"])
        log = log.filter(pc.and_(pc.equal(log["status"], "ok"), pc.is_valid(log["requested_to"])))
        whole = log.filter(pc.is_null(log["requested_from"]))
        latest = whole.group_by("symbol").aggregate([("requested_to", "max")])
        whole_to = dict(zip(latest["symbol"].to_pylist(), latest["requested_to_max"].to_pylist(), strict=True))
        ranges: dict[str, set[tuple[dt.date | None, dt.date]]] = {s: {(None, end)} for s, end in whole_to.items()}
        others = log.filter(pc.is_valid(log["requested_from"])).join(latest, "symbol")
        beyond = pc.or_kleene(
            pc.is_null(others["requested_to_max"]), pc.greater(others["requested_to"], others["requested_to_max"])
        )
        others = others.filter(beyond)
        names = ("symbol", "requested_from", "requested_to")
        for symbol, start, end in zip(*(others[name].to_pylist() for name in names), strict=True):
            ranges.setdefault(symbol, set()).add((start, end))
        return ranges

    def requested_at(self) -> dict[str, dt.datetime]:
        """When each symbol was last requested, UTC without a zone mark."""
        return _latest(self.read("fetches", ["symbol", "observed_at"]), "observed_at")

    def price_bases(self) -> dict[str, str]:
        """The basis of each symbol's latest delivery, as in `PriceBasis`."""
        log = self.read("fetches", ["symbol", "price_basis", "observed_at"])
        return _latest(log.filter(pc.is_valid(log["price_basis"])), "price_basis")

    def latest_statuses(self) -> dict[str, str]:
        """How the latest request for each symbol ended."""
        return _latest(self.read("fetches", ["symbol", "status", "observed_at"]), "status")


def newest_versions(bars: pa.Table) -> pa.Table:
    """The newest version of every (symbol, session), ordered by symbol and session.

    Args:
        bars: versions in any order, with at least the columns of `VERSION_ORDER`.
    """
    table = bars.sort_by([(name, "ascending") for name in VERSION_ORDER])
    if table.num_rows < 2:
        return table
    symbol = table["symbol"].combine_chunks().dictionary_encode().indices.to_numpy()
    session = table["session_date"].cast(pa.int32()).to_numpy()
    last = np.append((symbol[1:] != symbol[:-1]) | (session[1:] != session[:-1]), True)
    return table if last.all() else table.filter(pa.array(last))


def _latest(log: pa.Table, column: str) -> dict[str, Any]:
    """The latest value of a column by symbol."""
    symbols = log["symbol"].combine_chunks().dictionary_encode()
    codes, names = symbols.indices.to_numpy(), symbols.dictionary.to_pylist()
    latest = np.empty(len(names), dtype=np.int64)
    order = pc.sort_indices(log["observed_at"]).to_numpy()
    # Of several values for one place the last one stays.
    latest[codes[order]] = order
    return dict(zip(names, log[column].take(pa.array(latest)).to_pylist(), strict=True))
