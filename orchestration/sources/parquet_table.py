"""A Parquet file of prices: named columns out, with limits on what a small file may unpack to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.sources.layouts import columns_of
from orchestration.sources.price_table import (
    MAX_ROWS,
    MalformedFileError,
    Table,
    check_columns,
    check_ticker,
    printable,
    what_is_missing,
)

# Of a text in a Parquet file, which a dictionary may repeat in every row. No date or number is longer.
MAX_CELL_BYTES = 120


def read_parquet(path: Path, tickers: Sequence[str], max_bytes: int) -> Table:
    """The columns of a Parquet file that mean something here; see `price_file.read_price_file`."""
    file = path.name
    if path.stat().st_size > max_bytes:
        raise MalformedFileError(f"{file}: more than {max_bytes} bytes; allowed: at most {max_bytes}")
    try:
        with pq.ParquetFile(path) as parquet:
            labels = parquet.schema_arrow.names
            found = columns_of(labels)
            if not found.is_whole:
                raise MalformedFileError(what_is_missing(file, labels, found))
            check_columns(file, labels, found)
            for ticker, place in found.tickers.items():
                check_ticker(f"{file}, column {printable(labels[place])}: holds", ticker, tickers)
            wanted = [labels[i] for i in found.places.values()]
            _check_sizes(file, parquet.metadata, max_bytes)
            text = [label for label in wanted if _is_text(parquet.schema_arrow.field(label).type)]
        # As dictionaries: each text is unpacked once, however many rows repeat it. The one encoding that unfolds every
        # text from the one before, DELTA_BYTE_ARRAY, cannot be read so, and is refused.
        with pq.ParquetFile(path, read_dictionary=text) as parquet:
            table = _read_rows(file, parquet, wanted)
            columns = {field: (labels[i], _plain(table.column(labels[i]))) for field, i in found.places.items()}
    except (pa.ArrowException, ValueError, KeyError, NotImplementedError, OverflowError, OSError) as error:
        # Without a number it is Arrow's error about a file whose insides are damaged.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise MalformedFileError(
            f"{file}: {printable(' '.join(str(error).split()), 200)}; allowed: a Parquet file"
        ) from None
    return Table(columns, np.arange(1, table.num_rows + 1), found.layout)


def _check_sizes(file: str, metadata: pq.FileMetaData, max_bytes: int) -> None:
    """Refuse what would unpack to more than a price file holds, by the sizes in its footer.

    Not by those of single columns: pyarrow ends the process where they are damaged.
    """
    if metadata.num_rows > MAX_ROWS:
        raise MalformedFileError(f"{file}: {metadata.num_rows} rows; allowed: at most {MAX_ROWS}")
    unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if unpacked > max_bytes:
        raise MalformedFileError(f"{file}: unpacks to {unpacked} bytes; allowed: at most {max_bytes}")


def _read_rows(file: str, parquet: pq.ParquetFile, wanted: Sequence[str]) -> pa.Table:
    """The wanted columns, in batches, because the sizes in the footer need not be true."""
    batches, rows = [], 0
    for batch in parquet.iter_batches(batch_size=65_536, columns=list(wanted), use_threads=False):
        rows += batch.num_rows
        if rows > MAX_ROWS:
            raise MalformedFileError(f"{file}: more than {MAX_ROWS} rows; allowed: at most {MAX_ROWS}")
        for label, column in zip(batch.schema.names, batch.columns, strict=True):
            _check_texts(file, label, column)
        batches.append(batch)
    schema = None if batches else pa.schema([parquet.schema_arrow.field(label) for label in wanted])
    return pa.Table.from_batches(batches, schema)


def _check_texts(file: str, label: str, column: pa.Array) -> None:
    """Refuse a text that no price file holds."""
    texts = column.dictionary if pa.types.is_dictionary(column.type) else column
    longest = (pc.max(pc.binary_length(texts)).as_py() or 0) if _is_text(texts.type) else 0
    if longest > MAX_CELL_BYTES:
        raise MalformedFileError(
            f"{file}, column {printable(label)}: a text of {longest} bytes; allowed: at most {MAX_CELL_BYTES}"
        )


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without dictionary encoding, every kind of text as one."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    # A CSV has been looked through byte by byte; here a text may be no UTF-8, or lie outside of its page.
    column.validate(full=True)
    return column
