"""The lake: append-only Parquet, one file per batch and part. No stored version is ever changed or dropped.

Each dataset is a folder of immutable files. Compaction may merge many of them into one and remove those it has merged,
but the merged file holds every row and every version of them. A file is written under a temporary name, flushed to the
disk and then renamed, so a reader that lists `*.parquet` sees whole files only, and a killed run leaves nothing but a
temporary file that the next run removes. Every dataset holds one empty file with its schema, so that a scan of an empty
lake finds columns instead of an error.
"""

import datetime as dt
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from orchestration.market.errors import LakeError

# UTC without a zone mark: every engine reads it the same way, whatever its session time zone.
TIMESTAMP = pa.timestamp("us")

BARS = pa.schema(
    [
        ("symbol", pa.string()),
        ("session_date", pa.date32()),
        ("open", pa.float64()),
        ("high", pa.float64()),
        ("low", pa.float64()),
        ("close", pa.float64()),
        ("adj_close", pa.float64()),
        ("volume", pa.float64()),
        ("dividend", pa.float64()),
        ("split_ratio", pa.float64()),
        ("bar_quality", pa.string()),
        ("currency", pa.string()),
        ("source", pa.string()),
        ("observed_at", TIMESTAMP),
        ("batch_id", pa.string()),
    ]
)

REJECTED = pa.schema(
    [
        ("rejected_id", pa.string()),
        ("symbol", pa.string()),
        ("session_date", pa.date32()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("detail", pa.string()),
        ("raw", pa.string()),
        ("origin", pa.string()),
        ("row_number", pa.int64()),
        ("source", pa.string()),
        ("observed_at", TIMESTAMP),
        ("batch_id", pa.string()),
    ]
)

FETCHES = pa.schema(
    [
        ("symbol", pa.string()),
        ("reason", pa.string()),
        ("requested_from", pa.date32()),
        ("requested_to", pa.date32()),
        ("whole_history", pa.bool_()),
        ("status", pa.string()),
        ("detail", pa.string()),
        ("attempts", pa.int64()),
        ("delivered_rows", pa.int64()),
        ("new_rows", pa.int64()),
        ("rejected_rows", pa.int64()),
        ("held_back_rows", pa.int64()),
        ("source", pa.string()),
        ("observed_at", TIMESTAMP),
        ("batch_id", pa.string()),
    ]
)

DATASETS = {"bars": BARS, "rejected_bars": REJECTED, "fetches": FETCHES}

_TEMPORARY = ".writing-"


@dataclass(frozen=True)
class Lake:
    """The datasets of one source below `root`."""

    root: Path

    def prepare(self) -> None:
        """Create folders and schema files, and remove what a killed run left unfinished.

        Raises:
            LakeError: the folder cannot be written.
        """
        try:
            for dataset, schema in DATASETS.items():
                folder = self.root / dataset
                folder.mkdir(parents=True, exist_ok=True)
                for leftover in folder.glob(f"{_TEMPORARY}*"):
                    leftover.unlink()
                if not (folder / "schema.parquet").exists():
                    self._write(folder / "schema.parquet", schema.empty_table())
        except OSError as error:
            raise LakeError(
                f"{self.root}: cannot be written ({error.strerror or error}); free it or set OREWATCH_HOME"
            ) from error

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
            self._write(self.root / dataset / f"{batch_id}-{part:04d}.parquet", table.cast(DATASETS[dataset]))

    def files(self) -> list[tuple[str, int]]:
        """Name and size of every data file, sorted: since a file never changes, this identifies the content.

        The reverse does not hold: compaction merges files, and the same rows stand under other names.
        """
        return sorted(
            (str(path.relative_to(self.root)), path.stat().st_size)
            for dataset in DATASETS
            for path in (self.root / dataset).glob("*.parquet")
        )

    def read(self, dataset: str, columns: list[str] | None = None, symbols: Iterable[str] | None = None) -> pa.Table:
        """All rows of a dataset, every version.

        Raises:
            LakeError: a file cannot be read; the message names it.
        """
        wanted = None if symbols is None else ds.field("symbol").isin(list(symbols))
        parts = [read_parquet_file(path, columns, wanted) for path in sorted((self.root / dataset).glob("*.parquet"))]
        schema = DATASETS[dataset]
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        return pa.concat_tables([part.cast(schema) for part in parts]) if parts else schema.empty_table()

    def newest_bars(self, symbols: Iterable[str] | None = None) -> pa.Table:
        """The newest stored version of every (symbol, session), ordered by symbol and session."""
        table = self.read("bars", symbols=symbols).sort_by(
            [(name, "ascending") for name in ("symbol", "session_date", "observed_at", "batch_id")]
        )
        if table.num_rows < 2:
            return table
        symbol = table["symbol"].combine_chunks().dictionary_encode().indices.to_numpy()
        session = table["session_date"].cast(pa.int32()).to_numpy()
        last = np.append((symbol[1:] != symbol[:-1]) | (session[1:] != session[:-1]), True)
        return table.filter(pa.array(last))

    def whole_history_at(self) -> dict[str, dt.datetime]:
        """When each symbol's whole history was last delivered."""
        log = self.read("fetches", ["symbol", "whole_history", "status", "observed_at"])
        log = log.filter(pc.and_(log["whole_history"], pc.equal(log["status"], "ok")))
        latest = log.group_by("symbol").aggregate([("observed_at", "max")])
        moments = (moment.replace(tzinfo=dt.UTC) for moment in latest["observed_at_max"].to_pylist())
        return dict(zip(latest["symbol"].to_pylist(), moments, strict=True))

    def answered_ranges(self) -> dict[str, set[tuple[dt.date | None, dt.date]]]:
        """The ranges, first and last day, that the source was asked for by symbol and did answer; from None: all."""
        log = self.read("fetches", ["symbol", "requested_from", "requested_to", "status"])
        log = log.filter(pc.and_(pc.equal(log["status"], "ok"), pc.is_valid(log["requested_to"])))
        ranges: dict[str, set[tuple[dt.date | None, dt.date]]] = {}
        for symbol, start, end in zip(*(log[name].to_pylist() for name in log.column_names[:3]), strict=True):
            ranges.setdefault(symbol, set()).add((start, end))
        return ranges

    def latest_statuses(self) -> dict[str, str]:
        """How the latest request for each symbol ended."""
        log = self.read("fetches", ["symbol", "status", "observed_at"]).sort_by("observed_at")
        return dict(zip(log["symbol"].to_pylist(), log["status"].to_pylist(), strict=True))

    def _write(self, path: Path, table: pa.Table) -> None:
        try:
            write_parquet(path, table)
        except OSError as error:
            reason = error.strerror or _first_line(error)
            raise LakeError(f"{path}: cannot be written ({reason}); nothing of this batch part was stored") from error


def read_parquet_file(path: Path, columns: list[str] | None = None, wanted: ds.Expression | None = None) -> pa.Table:
    """The rows of one file of the lake.

    Raises:
        LakeError: it cannot be read; the message names it.
    """
    try:
        return pq.read_table(path, columns=columns, filters=wanted, partitioning=None)
    except (OSError, pa.ArrowInvalid) as error:
        raise LakeError(f"{path}: cannot be read as Parquet ({_first_line(error)})") from error


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that is either whole or absent, also after a crash.

    Raises:
        OSError: it cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as sink:
            pq.write_table(table, sink, compression="zstd")
            sink.flush()
            os.fsync(sink.fileno())
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def new_batch_id(now: dt.datetime) -> str:
    """A batch id that sorts by time and never repeats."""
    return f"{now:%Y%m%dT%H%M%S%f}Z-{secrets.token_hex(3)}"


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
