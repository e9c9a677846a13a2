"""The structure of a price file: CSV or Parquet in, named columns out.

What makes a whole file unusable is decided here; what single cells mean, in `price_file.py`.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

MAX_LINE_BYTES = 1_000_000

# Two thousand years of sessions. A small file can claim, and unpack to, any number of rows.
MAX_ROWS = 500_000

# Of a text in a Parquet file, which a dictionary may repeat in every row. No date or number is longer.
MAX_CELL_BYTES = 120

# Column names as Yahoo and this project write them, without case, spaces and underscores.
_FIELDS = {
    "date": "session_date",
    "datetime": "session_date",
    "sessiondate": "session_date",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "adjclose": "adj_close",
    "volume": "volume",
    "dividend": "dividend",
    "dividends": "dividend",
    "splitratio": "split_ratio",
    "stocksplits": "split_ratio",
    "currency": "currency",
}


class MalformedFileError(Exception):
    """The whole file is refused; the message is one line naming file, row, column and what is allowed."""


@dataclass(frozen=True)
class Table:
    """Named columns (canonical name: name in the file and values) and the number of each row."""

    columns: dict[str, tuple[str, pa.ChunkedArray]]
    row_numbers: np.ndarray


def read_table(path: Path, source_symbol: str, max_bytes: int) -> Table:
    """The columns of one file that mean something here.

    Raises:
        MalformedFileError: nothing of the file can be used.
        OSError: the file cannot be read.
    """
    if path.suffix.casefold() == ".parquet":
        return _read_parquet(path, max_bytes)
    return _read_csv(path, source_symbol, max_bytes)


def shown(value: object, limit: int = 40) -> str:
    """A value from outside as it may stand in a message: on one line, printable and short."""
    text = str(value)
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return clean + ("..." if len(text) > limit else "")


def _read_csv(path: Path, source_symbol: str, max_bytes: int) -> Table:
    file = path.name
    with path.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise MalformedFileError(f"{file}: more than {max_bytes} bytes; allowed: at most {max_bytes}")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    _check_text(file, data)
    if data.count(b"\n") > MAX_ROWS:
        raise MalformedFileError(f"{file}: {data.count(10)} lines; allowed: at most {MAX_ROWS}")

    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10)
    ends = np.append(ends, len(data))
    starts = np.insert(ends[:-1] + 1, 0, 0)
    long = np.flatnonzero(ends - starts > MAX_LINE_BYTES)
    if len(long):
        raise MalformedFileError(
            f"{file}, row {long[0] + 1}: longer than {MAX_LINE_BYTES} bytes; allowed: one bar a line"
        )
    lines = np.flatnonzero(ends > starts)
    if not len(lines):
        raise MalformedFileError(f"{file}: the file is empty; allowed: a header row and one row per session")

    labels, header_rows = _labels(
        file, source_symbol, (_cells(file, int(i) + 1, data[starts[i] : ends[i]]) for i in lines[:3])
    )
    chosen = _choose_columns(file, int(lines[0]) + 1, labels)
    lines = lines[header_rows:]
    if not len(lines):
        nothing = pa.chunked_array([], pa.string())
        return Table({name: (labels[i], nothing) for name, i in chosen.items()}, lines)

    body = memoryview(data)[starts[lines[0]] :]
    parsed = _parse_csv(file, body, len(labels), sorted(chosen.values()), lines)
    if parsed.num_rows != len(lines):
        row = next((i for i in lines if data.count(b'"', starts[i], ends[i]) % 2), lines[0]) + 1
        raise MalformedFileError(
            f"{file}, row {row}: a quoted text runs over the end of the line; allowed: one bar a line"
        )
    return Table({name: (labels[i], parsed.column(str(i))) for name, i in chosen.items()}, lines + 1)


def _check_text(file: str, data: bytes) -> None:
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            row = data.count(b"\n", 0, error.start) + 1
            byte = f"0x{data[error.start]:02x}"
            raise MalformedFileError(
                f"{file}, row {row}: byte {byte} is not UTF-8; allowed: a CSV saved as UTF-8"
            ) from None
    nul = data.find(b"\0")
    if nul >= 0:
        raise MalformedFileError(f"{file}, row {data.count(10, 0, nul) + 1}: a NUL byte; allowed: text")


def _cells(file: str, row: int, line: bytes) -> list[str]:
    """The cells of one of the first lines."""
    try:
        return [cell.strip() for cell in next(csv.reader([line.decode("utf-8")]))]
    except csv.Error as error:
        raise MalformedFileError(f"{file}, row {row}: {error}; allowed: comma-separated values") from None


def _labels(file: str, source_symbol: str, head: Iterator[list[str]]) -> tuple[list[str], int]:
    """Column names, and how many lines they take: yfinance's download writes three (Price, Ticker, Date)."""
    labels = next(head)
    if labels[0].casefold() != "price":
        return labels, 1
    tickers, index = next(head, [""]), next(head, [""])
    if tickers[0].casefold() != "ticker":
        return labels, 1
    for ticker in tickers[1:]:
        if ticker.casefold() != source_symbol.casefold():
            raise MalformedFileError(
                f"{file}, row 2: holds '{shown(ticker)}'; allowed: {shown(source_symbol)}, as the file's name says"
            )
    return [index[0], *labels[1:]], 3


def _parse_csv(file: str, body: memoryview, width: int, wanted: Sequence[int], lines: np.ndarray) -> pa.Table:
    ragged: list[pacsv.InvalidRow] = []

    def refuse(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    try:
        return pacsv.read_csv(
            pa.BufferReader(pa.py_buffer(body)),
            # One thread: only then is the number of a ragged row known. Blocks must hold the longest line.
            read_options=pacsv.ReadOptions(
                use_threads=False, block_size=4 * MAX_LINE_BYTES, column_names=[str(i) for i in range(width)]
            ),
            parse_options=pacsv.ParseOptions(invalid_row_handler=refuse),
            convert_options=pacsv.ConvertOptions(
                include_columns=[str(i) for i in wanted],
                column_types={str(i): pa.string() for i in wanted},
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowException as error:
        if not ragged:
            raise MalformedFileError(
                f"{file}: {shown(' '.join(str(error).split()), 200)}; allowed: comma-separated values"
            ) from None
        row = lines[min(ragged[0].number, len(lines)) - 1] + 1
        raise MalformedFileError(
            f"{file}, row {row}: {ragged[0].actual_columns} cells where the header has {width}; "
            "allowed: one cell per column"
        ) from None


def _read_parquet(path: Path, max_bytes: int) -> Table:
    file = path.name
    if path.stat().st_size > max_bytes:
        raise MalformedFileError(f"{file}: more than {max_bytes} bytes; allowed: at most {max_bytes}")
    try:
        with pq.ParquetFile(path) as parquet:
            labels = parquet.schema_arrow.names
            chosen = _choose_columns(file, None, labels)
            wanted = [labels[i] for i in chosen.values()]
            _check_sizes(file, parquet.metadata, max_bytes)
            text = [label for label in wanted if _is_text(parquet.schema_arrow.field(label).type)]
        # As dictionaries: each text is unpacked once, however many rows repeat it. The one encoding that unfolds every
        # text from the one before, DELTA_BYTE_ARRAY, cannot be read so, and is refused.
        with pq.ParquetFile(path, read_dictionary=text) as parquet:
            table = _read_rows(file, parquet, wanted)
            columns = {name: (labels[i], _plain(table.column(labels[i]))) for name, i in chosen.items()}
    except (pa.ArrowException, ValueError, KeyError, NotImplementedError, OverflowError) as error:
        raise MalformedFileError(
            f"{file}: {shown(' '.join(str(error).split()), 200)}; allowed: a Parquet file"
        ) from None
    except OSError as error:
        if error.errno is not None:
            raise
        # Arrow's word for a file whose insides are damaged.
        raise MalformedFileError(
            f"{file}: {shown(' '.join(str(error).split()), 200)}; allowed: a Parquet file"
        ) from None
    return Table(columns, np.arange(1, table.num_rows + 1))


def _check_sizes(file: str, metadata: pq.FileMetaData, max_bytes: int) -> None:
    """Refuse what would unpack to more than a price file holds, by what the file says of itself.

    Not by what it says of single columns: pyarrow ends the process where that is damaged.
    """
    if metadata.num_rows > MAX_ROWS:
        raise MalformedFileError(f"{file}: {metadata.num_rows} rows; allowed: at most {MAX_ROWS}")
    unpacked = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if unpacked > max_bytes:
        raise MalformedFileError(f"{file}: unpacks to {unpacked} bytes; allowed: at most {max_bytes}")


def _read_rows(file: str, parquet: pq.ParquetFile, wanted: Sequence[str]) -> pa.Table:
    """The wanted columns, in batches: what the file says of itself need not be true."""
    batches, rows = [], 0
    for batch in parquet.iter_batches(batch_size=65_536, columns=list(wanted), use_threads=False):
        rows += batch.num_rows
        if rows > MAX_ROWS:
            raise MalformedFileError(f"{file}: more than {MAX_ROWS} rows; allowed: at most {MAX_ROWS}")
        for label, column in zip(batch.schema.names, batch.columns, strict=True):
            _check_texts(file, label, column)
        batches.append(batch)
    return pa.Table.from_batches(batches, None if batches else _empty(parquet, wanted))


def _empty(parquet: pq.ParquetFile, wanted: Sequence[str]) -> pa.Schema:
    return pa.schema([parquet.schema_arrow.field(label) for label in wanted])


def _check_texts(file: str, label: str, column: pa.Array) -> None:
    """Refuse a text that no price file holds."""
    texts = column.dictionary if pa.types.is_dictionary(column.type) else column
    longest = (pc.max(pc.binary_length(texts)).as_py() or 0) if _is_text(texts.type) else 0
    if longest > MAX_CELL_BYTES:
        raise MalformedFileError(
            f"{file}, column {shown(label)}: a text of {longest} bytes; allowed: at most {MAX_CELL_BYTES}"
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


def _choose_columns(file: str, row: int | None, labels: Sequence[str]) -> dict[str, int]:
    """Which column holds what; columns that mean nothing here are left alone."""
    where = file if row is None else f"{file}, row {row}"
    chosen: dict[str, int] = {}
    for i, label in enumerate(labels):
        field = _FIELDS.get(label.strip().casefold().replace(" ", "").replace("_", ""))
        if field in chosen:
            first = labels[chosen[field]]
            raise MalformedFileError(
                f"{where}, column {shown(label)}: means the same as column {shown(first)}; allowed: each column once"
            )
        if field is not None:
            chosen[field] = i
    if len(labels) == 1 and row is not None:
        for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in labels[0]:
                raise MalformedFileError(f"{where}: separated by {name}; allowed: commas")
    for field, allowed in (("session_date", "Date, Datetime or session_date"), ("close", "Close")):
        if field not in chosen:
            there = ", ".join(shown(label) for label in labels[:12]) + (", ..." if len(labels) > 12 else "")
            raise MalformedFileError(f"{where}: no column {allowed.split(',')[0]} among {there}; allowed: {allowed}")
    return chosen
