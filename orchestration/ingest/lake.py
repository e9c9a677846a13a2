"""The lake: append-only Parquet, one file per batch and part. No stored version is ever changed or dropped.

Each dataset is a folder of immutable files. A file is written under a temporary name, flushed to the disk and then
renamed, so a reader that lists `*.parquet` sees whole files only, and a killed run leaves nothing but a temporary file
that the next run removes. Every dataset holds one empty file with its schema, so that a scan of an empty lake finds
columns instead of an error.

`bars` itself is a link to the folder that counts, `.bars-<id>`: compaction (`ingest.compaction`) builds another folder
with fewer files and the same rows beside it, and exchanges the two by replacing the link. A folder that does not count,
whether a killed run or a restored home left it, is removed only once every row of it stands in the one that counts: see
docs/decisions/0029-nothing-deleted-without-proof.md.
"""

import datetime as dt
import filecmp
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from orchestration.files import cannot_be_written, sync
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
        # Files of earlier releases do not have it.
        ("price_basis", pa.string()),
    ]
)

DATASETS = {"bars": BARS, "rejected_bars": REJECTED, "fetches": FETCHES}

SCHEMA_FILE = "schema.parquet"

# So many rows can be skipped together by a reader of some symbols; one more or less costs nothing when all are read.
ROW_GROUP_ROWS = 131_072

# Newest of all in `newest_bars`: the later observation, then the later batch. A batch has one version of a bar.
VERSION_ORDER = ("symbol", "session_date", "observed_at", "batch_id")

_TEMPORARY = ".writing-"
# A folder that is being filled: nobody has read it yet.
_MAKING = ".making-"

UNREADABLE = (
    "{path}: cannot be read as Parquet ({reason}); put a copy of it back, or move it out of the lake, which then lacks"
    " its rows, and run: orewatch refresh --full"
)

T = TypeVar("T")


@dataclass(frozen=True)
class Lake:
    """The datasets of one source below `root`."""

    root: Path

    def prepare(self) -> list[str]:
        """Create folders and schema files, and set right what a killed run or a restored home has left.

        Returns:
            What a person should know: rows that were found beside the folder that counts, and what was kept because
            nothing proves that it may go.

        Raises:
            LakeError: the folder cannot be written, or is no lake.
        """
        said: list[str] = []
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for dataset, schema in DATASETS.items():
                folder = self.root / dataset
                said += self._link_again(dataset)
                if not folder.exists():
                    self.exchange(dataset, self.new_folder(dataset))
                for leftover in folder.glob(f"{_TEMPORARY}*"):
                    leftover.unlink()
                if not (folder / SCHEMA_FILE).exists():
                    self._write(folder / SCHEMA_FILE, schema.empty_table())
                said += self._settle_leftovers(dataset)
        except OSError as error:
            raise LakeError(cannot_be_written(error, self.root)) from error
        return said

    def new_folder(self, dataset: str) -> Path:
        """An empty folder that may take the place of a dataset's; until then nobody reads it."""
        folder = self.root / f"{_MAKING}{dataset}-{secrets.token_hex(4)}"
        folder.mkdir()
        return folder

    def exchange(self, dataset: str, folder: Path) -> None:
        """Let a complete folder take the place of a dataset's, in one step; the other one, whose rows it has, goes.

        Args:
            dataset: bars, rejected_bars or fetches.
            folder: a `new_folder` with every row of the dataset; it gets another name.

        Raises:
            OSError: it could not be done; the dataset is what it was.
        """
        name = self.root / dataset
        old = name.resolve() if name.exists() else None
        sync(folder)
        folder = folder.rename(self.root / f".{dataset}-{secrets.token_hex(4)}")
        if old is not None and not name.is_symlink():
            # Real where links were followed by a copy, or in a lake from before there were links. If this is killed
            # half-way, `prepare` makes the link.
            old = name.rename(self.root / f".{dataset}-{secrets.token_hex(4)}")
        try:
            self._let_count(dataset, folder)
        except OSError:
            if old is not None and not name.exists():
                old.rename(name)
            raise
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

    def _let_count(self, dataset: str, folder: Path) -> None:
        """Let the link of a dataset lead to a folder of the lake, in one step."""
        link = self.root / f".{dataset}.next"
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name)
        link.replace(self.root / dataset)
        sync(self.root)

    def _link_again(self, dataset: str) -> list[str]:
        """If its link is gone, leads nowhere or out of the lake, or is a text, let the folder with the most rows count.

        A folder outside may be another home's, from which a copy with its absolute links was made.
        """
        name = self.root / dataset
        leads_out = name.is_symlink() and name.resolve().parent != self.root.resolve()
        if name.is_dir() and not leads_out:
            return []
        folders = [folder for folder in self.root.glob(f".{dataset}-*") if folder.is_dir() and not folder.is_symlink()]
        if leads_out and name.is_dir() and not folders:
            raise LakeError(
                f"{name}: leads to {name.readlink()}, out of this lake, where it may be another home's; copy that"
                f" folder to {self.root}, let the link lead to it by its name alone, and refresh again"
            )
        if name.is_file():
            # Some tools keep a link as a file with its target in it; another file is none of ours.
            target = self.root / name.read_bytes()[:255].decode("utf-8", "replace").strip()
            if target not in folders:
                raise LakeError(f"{name}: is a file where a folder or a link to one should be; move it away")
        if not folders and name.is_symlink():
            raise LakeError(
                f"{name}: leads to {name.readlink()}, which is not there; put that back (a copy, a disk), or remove the"
                " link to have everything fetched again"
            )
        if not folders:
            return []
        fullest = max(folders, key=lambda folder: (_rows_of(folder), folder.name))
        self._let_count(dataset, fullest)
        was = "led out of the lake" if leads_out else "was gone"
        return [f"{name}: its link {was}; {fullest.name}, which holds the most rows, counts again"]

    def _settle_leftovers(self, dataset: str) -> list[str]:
        """Take over the rows that stand only in folders that do not count, then remove these; keep what is in doubt."""
        name = self.root / dataset
        said = []
        for folder in sorted(self.root.glob(f".{dataset}-*")):
            if not folder.is_dir() or folder.resolve() == name.resolve():
                continue
            try:
                if taken := self._take_over(dataset, folder):
                    said.append(f"{name}: {taken} rows taken over that stood in {folder.name} only")
            except LakeError as error:
                said.append(f"{folder}: is kept, as nothing proves that its rows stand in {name}: {error}")
                continue
            if strange := next((path for path in folder.iterdir() if not _is_ours(path)), None):
                said.append(f"{folder}: is kept, as it holds {strange.name}; every row of it stands in {name} too")
            else:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in sorted(self.root.glob(f"{_MAKING}{dataset}-*")):
            # It never counted: what its files lack, or can no longer be read of them, stands where it came from.
            files = filter(_is_readable, folder.glob("*.parquet"))
            if missing := sum(_missing_rows(path, name, DATASETS[dataset]).num_rows for path in files):
                said.append(f"{folder}: is kept, as {missing} rows of it do not stand in {name}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return said

    def _take_over(self, dataset: str, folder: Path) -> int:
        """Add the rows of a folder that the one that counts lacks, file by file; returns how many.

        Raises:
            LakeError: a file cannot be read, or none be written.
        """
        batch, taken = new_batch_id(dt.datetime.now(dt.UTC)), 0
        for part, path in enumerate(sorted(folder.glob("*.parquet"))):
            missing = _missing_rows(path, self.root / dataset, DATASETS[dataset])
            self.append(dataset, missing, batch, part)
            taken += missing.num_rows
        return taken

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
        """What `read` makes of the files of a dataset; once more if they were exchanged meanwhile."""
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
        """The ranges, first and last day, that the source was asked for by symbol and did answer; from None: all.

        Of a symbol's whole histories only the latest counts, of other ranges those that reach beyond it.
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

    def price_bases(self) -> dict[str, str]:
        """What was taken out of each symbol's prices, as its latest delivery says."""
        log = self.read("fetches", ["symbol", "price_basis", "observed_at"])
        return _latest(log.filter(pc.is_valid(log["price_basis"])), "price_basis")

    def latest_statuses(self) -> dict[str, str]:
        """How the latest request for each symbol ended."""
        return _latest(self.read("fetches", ["symbol", "status", "observed_at"]), "status")

    def _write(self, path: Path, table: pa.Table) -> None:
        try:
            write_parquet(path, table)
        except OSError as error:
            raise LakeError(f"{cannot_be_written(error, path)}; nothing of this batch part was stored") from error


def _latest(log: pa.Table, column: str) -> dict[str, str]:
    """The latest value of a column by symbol."""
    symbols = log["symbol"].combine_chunks().dictionary_encode()
    codes, names = symbols.indices.to_numpy(), symbols.dictionary.to_pylist()
    latest = np.empty(len(names), dtype=np.int64)
    order = pc.sort_indices(log["observed_at"]).to_numpy()
    # Of several values for one place the last one stays.
    latest[codes[order]] = order
    return dict(zip(names, log[column].take(pa.array(latest)).to_pylist(), strict=True))


def read_files(
    paths: list[Path], schema: pa.Schema, columns: list[str] | None = None, wanted: ds.Expression | None = None
) -> pa.Table:
    """The rows of some files of a dataset, in the order of the files.

    Raises:
        LakeError: one of them cannot be read; the message names it.
    """
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    if not paths:
        return schema.empty_table()
    try:
        # One scan of all files, several at a time.
        files = ds.dataset([str(path) for path in paths], format=_format(schema) if wanted is not None else "parquet")
        # An earlier release may have written the first one, without a column that is there now.
        files = files if set(schema.names) <= set(files.schema.names) else files.replace_schema(schema)
        found = files.to_table(columns=schema.names, filter=wanted)
    except (OSError, pa.ArrowInvalid):
        # One after the other: which one is it?
        for path in paths:
            read_parquet_file(path)
        raise
    return found.cast(schema)


def _format(schema: pa.Schema) -> ds.ParquetFileFormat:
    """Parquet whose texts become text only once the rows have been chosen: less than half of the work for a few."""
    texts = [field.name for field in schema if field.type == pa.string() and field.name != "symbol"]
    return ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=texts))


def _missing_rows(path: Path, counts: Path, schema: pa.Schema) -> pa.Table:
    """The rows of a file that stand in no file of the folder that counts.

    Raises:
        LakeError: a file cannot be read; the message names it.
    """
    import duckdb

    # Files never change, and most of what stands twice stands there under the same name.
    if _is_same_file(path, counts / path.name) or not _rows_in(path):
        return schema.empty_table()
    if strange := set(pq.read_schema(path).names) - set(schema.names):
        raise LakeError(f"{path}: has columns that are not known: {', '.join(sorted(strange))}")
    counting = sorted(counts.resolve().glob("*.parquet"))
    for other in counting:
        parquet_footer(other)
    with duckdb.connect() as connection:
        connection.register("beside", ds.dataset(str(path), schema=schema))
        connection.register("counting", ds.dataset([str(other) for other in counting], schema=schema))
        try:
            return connection.sql(MISSING).to_arrow_table().cast(schema)
        except (duckdb.Error, OSError, pa.ArrowInvalid) as error:
            raise LakeError(f"{path}: cannot be compared with {counts} ({_first_line(error)})") from error


# An equal row is of the same batch and symbol: the others need not be held against it.
MISSING = """
    from beside
    except all
    from counting
    where (coalesce(batch_id, ''), coalesce(symbol, '')) in (
        select distinct (coalesce(batch_id, ''), coalesce(symbol, '')) from beside
    )
"""


def _is_same_file(path: Path, other: Path) -> bool:
    return other.is_file() and (path.samefile(other) or filecmp.cmp(path, other, shallow=False))


def _is_ours(path: Path) -> bool:
    return path.suffix == ".parquet" or path.name.startswith(_TEMPORARY)


def _is_readable(path: Path) -> bool:
    try:
        parquet_footer(path)
    except LakeError:
        return False
    return True


def _rows_in(path: Path) -> int:
    return int(parquet_footer(path).num_rows)


def _rows_of(folder: Path) -> int:
    """The rows of a folder's files, as far as they can be read."""
    return sum(map(_rows_in, filter(_is_readable, folder.glob("*.parquet"))))


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


def read_parquet_file(path: Path, columns: list[str] | None = None, wanted: ds.Expression | None = None) -> pa.Table:
    """The rows of one file of the lake.

    Raises:
        LakeError: it cannot be read; the message names it.
    """
    try:
        return pq.read_table(path, columns=columns, filters=wanted, partitioning=None)
    except (OSError, pa.ArrowInvalid) as error:
        raise LakeError(UNREADABLE.format(path=path, reason=_first_line(error))) from error


def parquet_footer(path: Path) -> pq.FileMetaData:
    """What a file of the lake says about itself, without its rows.

    Raises:
        LakeError: it cannot be read; the message names it.
    """
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise LakeError(UNREADABLE.format(path=path, reason=_first_line(error))) from error


def column_bounds(path: Path, column: str) -> tuple[Any, Any]:
    """Smallest and largest value of a column of one file, from its footer if it says so; None and None without rows.

    Raises:
        LakeError: it cannot be read; the message names it.
    """
    footer = parquet_footer(path)
    place = footer.schema.names.index(column)
    groups = (footer.row_group(number) for number in range(footer.num_row_groups))
    known: list[Any] = [group.column(place).statistics for group in groups if group.num_rows]
    if any(statistics is None or not statistics.has_min_max for statistics in known):
        values = read_parquet_file(path, [column])[column]
        return pc.min(values).as_py(), pc.max(values).as_py()
    return min((s.min for s in known), default=None), max((s.max for s in known), default=None)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that is either whole or absent, also after a crash.

    Raises:
        OSError: it cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as sink:
            pq.write_table(table, sink, compression="zstd", row_group_size=ROW_GROUP_ROWS)
            sink.flush()
            os.fsync(sink.fileno())
        temporary.rename(path)
        sync(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def new_batch_id(now: dt.datetime) -> str:
    """A batch id that sorts by time and never repeats."""
    return f"{now:%Y%m%dT%H%M%S%f}Z-{secrets.token_hex(3)}"


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
