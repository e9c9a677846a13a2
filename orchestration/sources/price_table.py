"""The structure of a price file: CSV or Parquet in, named columns out.

What makes a whole file unusable is decided here; what labels mean, in `layouts.py`; what cells mean, in
`price_cells.py`.
"""

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from orchestration.sources.layouts import Columns, Layout, columns_of

MAX_LINE_BYTES = 1_000_000

# Two thousand years of sessions. A small file can claim, and unpack to, any number of rows.
MAX_ROWS = 500_000

# Of a text in a Parquet file, which a dictionary may repeat in every row. No date or number is longer.
MAX_CELL_BYTES = 120

# Lines before the header, such as a disclaimer.
MAX_PREAMBLE = 20

BOM = b"\xef\xbb\xbf"

SEPARATORS = (",", ";", "\t", "|")
# What pandas calls the two levels of a header.
_CORNERS = frozenset({"", "price", "ticker", "attributes", "symbols"})
# Bytes of a line that says nothing.
_BLANK = np.zeros(256, bool)
_BLANK[list(b',;|\t "\n')] = True

WANTED = "a CSV with the columns Date, Open, High, Low, Close, Adj Close, Volume, Dividends, Stock Splits"


class MalformedFileError(Exception):
    """The whole file is refused; the message is one line naming file, row, column and what is allowed."""


@dataclass(frozen=True)
class Table:
    """What a file holds that means something here.

    Attributes:
        columns: by field of `layouts`: name in the file, and values.
        row_numbers: of each row.
        layout: whose columns they are.
        separator: of the cells of a CSV; empty for Parquet.
    """

    columns: dict[str, tuple[str, pa.ChunkedArray]]
    row_numbers: np.ndarray
    layout: Layout
    separator: str = ""


def read_table(path: Path, tickers: Sequence[str], max_bytes: int) -> Table:
    """The columns of one file that mean something here.

    Args:
        path: of the file.
        tickers: what the labels may call the instrument; the first is what the file is named after.
        max_bytes: the largest file that is read.

    Raises:
        MalformedFileError: nothing of the file can be used.
        OSError: the file cannot be read.
    """
    if path.suffix.casefold() == ".parquet":
        return _read_parquet(path, tickers, max_bytes)
    return _read_csv(path, tickers, max_bytes)


def check_ticker(where: str, written: str, tickers: Sequence[str]) -> None:
    """Refuse a file that says itself that it holds another ticker; `where` begins the message."""
    if not _same_ticker(written, tickers):
        raise MalformedFileError(
            f"{where} '{shown(written)}'; allowed: {shown(tickers[0])}, as the file's name says "
            "(one file for each ticker, named after it)"
        )


def _same_ticker(written: str, tickers: Sequence[str]) -> bool:
    """Whether a ticker is one of those: R and Stooq write `BRK.B` and `SIL.US` for `BRK-B` and `SIL`."""

    def bare(ticker: str) -> str:
        return "".join(c for c in ticker.strip().casefold().removesuffix(".us") if c.isalnum())

    return bare(written) in {bare(ticker) for ticker in tickers}


def shown(value: object, limit: int = 40) -> str:
    """A value from outside as it may stand in a message: on one line, printable and short."""
    text = str(value)
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return clean + ("..." if len(text) > limit else "")


def _read_csv(path: Path, tickers: Sequence[str], max_bytes: int) -> Table:
    file = path.name
    with path.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise MalformedFileError(f"{file}: more than {max_bytes} bytes; allowed: at most {max_bytes}")
    data = _as_utf8(file, data)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    _check_text(file, data)
    if data.count(b"\n") > MAX_ROWS:
        raise MalformedFileError(f"{file}: {data.count(10)} lines; allowed: at most {MAX_ROWS}")

    text = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(text == 10)
    ends = np.append(ends, len(data))
    starts = np.insert(ends[:-1] + 1, 0, 0)
    long = np.flatnonzero(ends - starts > MAX_LINE_BYTES)
    if len(long):
        raise MalformedFileError(
            f"{file}, row {long[0] + 1}: longer than {MAX_LINE_BYTES} bytes; allowed: one bar a line"
        )
    # A line of separators is what a spreadsheet makes of an empty row.
    says = np.logical_or.reduceat(~_BLANK[np.append(text, 10)], starts)
    lines = np.flatnonzero(says)
    if not len(lines):
        raise MalformedFileError(f"{file}: the file is empty; allowed: a header row and one row per session")

    def line(number: np.integer | int) -> bytes:
        return data[starts[number] : ends[number]]

    head = [(int(i) + 1, line(i).decode("utf-8")) for i in lines[: MAX_PREAMBLE + 3]]
    header = _header(file, head, tickers)
    separator, columns, labels = header.separator, header.columns, header.labels
    # A header that is repeated where a file was appended to is no bar; nor is a line below the last one.
    repeated = {line(i) for i in lines[header.first : header.first + header.rows]}
    lines = lines[header.first + header.rows :]
    if any(data.count(head_line) > 1 for head_line in repeated):
        lines = lines[[line(i).removeprefix(BOM) not in repeated for i in lines]]
    remarks = itertools.takewhile(lambda i: _is_footer(line(i), separator), reversed(lines[-MAX_PREAMBLE:]))
    lines = lines[: len(lines) - sum(1 for _ in remarks)]
    if not len(lines):
        nothing = pa.chunked_array([], pa.string())
        named = {field: (labels[i], nothing) for field, i in columns.places.items()}
        return Table(named, lines, columns.layout, separator)

    whole = len(lines) == lines[-1] - lines[0] + 1
    body: bytes | memoryview = memoryview(data)[starts[lines[0]] : ends[lines[-1]]]
    if not whole:
        body = b"\n".join(line(i) for i in lines)
    parsed = _parse_csv(file, body, separator, len(labels), sorted(columns.places.values()), lines)
    if parsed.num_rows != len(lines):
        row = next((i for i in lines if data.count(b'"', starts[i], ends[i]) % 2), lines[0]) + 1
        raise MalformedFileError(
            f"{file}, row {row}: a quoted text runs over the end of the line; allowed: one bar a line"
        )
    named = {field: (labels[i], parsed.column(str(i))) for field, i in columns.places.items()}
    return Table(named, lines + 1, columns.layout, separator)


def _as_utf8(file: str, data: bytes) -> bytes:
    """The bytes of a text without its byte order mark; what a spreadsheet calls Unicode is UTF-16."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16").encode("utf-8")
        except UnicodeError:
            raise MalformedFileError(f"{file}: is no UTF-16 to its end; allowed: a CSV saved as UTF-8") from None
    return data.removeprefix(BOM)


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


@dataclass(frozen=True)
class _Header:
    """Where the names of the columns stand.

    Attributes:
        first: the header among the lines that say something.
        rows: lines that it takes.
        separator: of its cells.
        labels: its cells.
        columns: what they mean.
    """

    first: int
    rows: int
    separator: str
    labels: list[str]
    columns: Columns


def _header(file: str, head: Sequence[tuple[int, str]], tickers: Sequence[str]) -> _Header:
    """The first line that names a date and a close, by whichever separator.

    Args:
        file: name of the file.
        head: row number and text of the first lines.
        tickers: what the labels may call the instrument.
    """
    for first in range(min(len(head), MAX_PREAMBLE)):
        for separator in SEPARATORS:
            try:
                found = _header_at(file, head, first, separator, tickers)
            except csv.Error:
                continue
            if found is not None:
                return found
    # None of them: the first line is what a person takes for the header.
    row, line = next(((r, text) for r, text in head if not text.casefold().startswith("sep=")), head[0])
    separator = max(SEPARATORS, key=line.count)
    try:
        labels = _cells(line, separator)
    except csv.Error as error:
        raise MalformedFileError(f"{file}, row {row}: {error}; allowed: comma-separated values") from None
    raise MalformedFileError(_what_is_missing(f"{file}, row {row}", labels, columns_of(labels)))


def _header_at(
    file: str, head: Sequence[tuple[int, str]], first: int, separator: str, tickers: Sequence[str]
) -> _Header | None:
    """The header that begins with a line; None if none does."""
    row, line = head[first]
    if separator not in line:
        return None
    labels, rows = _cells(line, separator), 1
    levels = _two_levels(head[first : first + 3], separator)
    if levels is not None:
        labels, named, rows = levels
        _check_tickers(file, named, tickers)
    columns = columns_of(labels)
    if not columns.is_whole:
        return None
    _check_columns(f"{file}, row {row}", labels, columns)
    _check_tickers(file, dict.fromkeys(columns.tickers, row), tickers)
    return _Header(first, rows, separator, labels, columns)


def _cells(line: str, separator: str) -> list[str]:
    """The cells of one of the first lines."""
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]


def _two_levels(head: Sequence[tuple[int, str]], separator: str) -> tuple[list[str], dict[str, int], int] | None:
    """Labels, tickers with their rows, and number of lines of a header as pandas writes one of two levels.

    yfinance's downloads have it: names of the columns, tickers (or the tickers first), and the name of the dates.
    """
    upper = _cells(head[0][1], separator)
    if len(head) < 2:
        return None
    if columns_of(upper[:1]).places.get("session_date") == 0 and upper[0]:
        return _tickers_below(upper, head[1], separator)
    if upper[0].casefold() not in _CORNERS:
        return None
    lower = _cells(head[1][1], separator)
    third = _cells(head[2][1], separator) if len(head) > 2 else [""]
    index_is_named = columns_of(third[:1]).places.get("session_date") == 0 and third[0] != "" and not any(third[1:])
    corner = {upper[0].casefold(), lower[0].casefold()}
    if corner != {"price", "ticker"} and not (index_is_named and corner <= _CORNERS):
        return None
    upper_is_named, lower_is_named = (columns_of(["date", *cells[1:]]).is_whole for cells in (upper, lower))
    if upper_is_named == lower_is_named or len(upper) != len(lower):
        return None
    labels, tickers, row = (upper, lower, head[1][0]) if upper_is_named else (lower, upper, head[0][0])
    named = {ticker: row for ticker in tickers[1:] if ticker}
    # Several tickers repeat the names of the columns: whose they are is said before. Where the dates are a column they
    # have a name among the others.
    has_dates = "session_date" in columns_of(labels[1:]).places
    return ["" if has_dates else "Date", *labels[1:]], named, 3 if index_is_named else 2


def _tickers_below(
    labels: list[str], below: tuple[int, str], separator: str
) -> tuple[list[str], dict[str, int], int] | None:
    """The same where the index is a column: names of the columns, and tickers below all but the first."""
    if not below[1].startswith(separator):
        return None
    tickers = _cells(below[1], separator)
    if (
        len(tickers) != len(labels)
        or len(labels) < 2
        or not all(ticker and not ticker[0].isdigit() for ticker in tickers[1:])
    ):
        return None
    return labels, dict.fromkeys(tickers[1:], below[0]), 2


def _check_tickers(file: str, found: Mapping[str, int], tickers: Sequence[str]) -> None:
    for ticker, row in found.items():
        check_ticker(f"{file}, row {row}: holds", ticker, tickers)


def _is_footer(line: bytes, separator: str) -> bool:
    """Whether a line below the bars is a remark: one cell, which is no date that was cut off."""
    text = line.decode("utf-8")
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"' and text.count('"') == 2
    is_one_cell = is_quoted or not any(cell.strip(' "') for cell in text.split(separator)[1:])
    return is_one_cell and not text.lstrip(' "')[:1].isdigit()


def _parse_csv(
    file: str, body: bytes | memoryview, separator: str, width: int, wanted: Sequence[int], lines: np.ndarray
) -> pa.Table:
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
            parse_options=pacsv.ParseOptions(delimiter=separator, invalid_row_handler=refuse),
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
            "allowed: one cell per column (a text that holds a comma in quotes; no line that is no bar)"
        ) from None


def _read_parquet(path: Path, tickers: Sequence[str], max_bytes: int) -> Table:
    file = path.name
    if path.stat().st_size > max_bytes:
        raise MalformedFileError(f"{file}: more than {max_bytes} bytes; allowed: at most {max_bytes}")
    try:
        with pq.ParquetFile(path) as parquet:
            labels = parquet.schema_arrow.names
            found = columns_of(labels)
            if not found.is_whole:
                raise MalformedFileError(_what_is_missing(file, labels, found))
            _check_columns(file, labels, found)
            for ticker, place in found.tickers.items():
                check_ticker(f"{file}, column {shown(labels[place])}: holds", ticker, tickers)
            wanted = [labels[i] for i in found.places.values()]
            _check_sizes(file, parquet.metadata, max_bytes)
            text = [label for label in wanted if _is_text(parquet.schema_arrow.field(label).type)]
        # As dictionaries: each text is unpacked once, however many rows repeat it. The one encoding that unfolds every
        # text from the one before, DELTA_BYTE_ARRAY, cannot be read so, and is refused.
        with pq.ParquetFile(path, read_dictionary=text) as parquet:
            table = _read_rows(file, parquet, wanted)
            columns = {field: (labels[i], _plain(table.column(labels[i]))) for field, i in found.places.items()}
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
    return Table(columns, np.arange(1, table.num_rows + 1), found.layout)


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


def _check_columns(where: str, labels: Sequence[str], columns: Columns) -> None:
    """Refuse two columns that hold the same; those that mean nothing here are left alone."""
    if columns.repeated is not None:
        first, second = (labels[place] for place in columns.repeated)
        raise MalformedFileError(
            f"{where}, column {shown(second)}: means the same as column {shown(first)}; allowed: each column once"
        )


def _what_is_missing(where: str, labels: Sequence[str], columns: Columns) -> str:
    name = "Close" if "session_date" in columns.places else "Date"
    there = ", ".join(shown(label) for label in labels[:12]) + (", ..." if len(labels) > 12 else "")
    return f"{where}: no column {name} among {there}; allowed: {WANTED} (Date and Close at least)"
