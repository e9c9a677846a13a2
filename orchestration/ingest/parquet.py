"""Parquet files of a home: written whole or not at all, and read with the file named in every error."""

import datetime as dt
import os
import secrets
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from orchestration.files import cannot_be_written, sync
from orchestration.market.errors import LakeError

# So many rows can be skipped together by a reader of some symbols; one more or less costs nothing when all are read.
ROW_GROUP_ROWS = 131_072

# UTC without a zone mark: every engine reads it the same way, whatever its session time zone.
TIMESTAMP = pa.timestamp("us")
_TYPES = {
    "text": pa.string(),
    "date": pa.date32(),
    "number": pa.float64(),
    "count": pa.int64(),
    "flag": pa.bool_(),
    "moment": TIMESTAMP,
}

# A file under this name is being written, or was when its run was killed.
TEMPORARY = ".writing-"

_UNREADABLE = (
    "{path}: cannot be read as Parquet ({reason}); put a copy of it back, or move it out of the lake, which then lacks"
    " its rows, and run: orewatch refresh --full"
)


def schema_of(columns: str) -> pa.Schema:
    """A schema from names with types: `symbol text, close number`."""
    return pa.schema([(name, _TYPES[kind]) for name, kind in map(str.split, columns.split(","))])


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
        # Read one by one, the broken one names itself.
        for path in paths:
            read_parquet_file(path)
        raise
    return found.cast(schema)


def _format(schema: pa.Schema) -> ds.ParquetFileFormat:
    """Parquet whose texts become text only once the rows have been chosen: less than half of the work for a few."""
    texts = [field.name for field in schema if field.type == pa.string() and field.name != "symbol"]
    return ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=texts))


def read_parquet_file(path: Path, columns: list[str] | None = None, wanted: ds.Expression | None = None) -> pa.Table:
    """The rows of one file.

    Raises:
        LakeError: it cannot be read; the message names it.
    """
    try:
        return pq.read_table(path, columns=columns, filters=wanted, partitioning=None)
    except (OSError, pa.ArrowInvalid) as error:
        raise LakeError(_UNREADABLE.format(path=path, reason=first_line(error))) from error


def parquet_footer(path: Path) -> pq.FileMetaData:
    """Number of rows, schema and statistics of a file.

    Raises:
        LakeError: it cannot be read; the message names it.
    """
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise LakeError(_UNREADABLE.format(path=path, reason=first_line(error))) from error


def column_bounds(path: Path, column: str) -> tuple[Any, Any]:
    """Smallest and largest value of a column of one file, from its footer if possible; None and None without rows.

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
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
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


def write_part(folder: Path, batch_id: str, part: int, table: pa.Table) -> None:
    """Write a file of a batch.

    Raises:
        LakeError: it cannot be written; nothing of it is left.
    """
    path = folder / f"{batch_id}-{part:04d}.parquet"
    try:
        write_parquet(path, table)
    except OSError as error:
        raise LakeError(f"{cannot_be_written(error, path)}; nothing of this batch part was stored") from error


def new_batch_id(now: dt.datetime) -> str:
    """A batch id that sorts by time and never repeats."""
    return f"{now:%Y%m%dT%H%M%S%f}Z-{secrets.token_hex(3)}"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its class."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
