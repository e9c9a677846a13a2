"""A CSV of prices: text in, named columns of texts out."""

import codecs
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from orchestration.market.seeds import is_utf16
from orchestration.sources.csv_header import MAX_PREAMBLE, find_header
from orchestration.sources.price_table import MAX_ROWS, MalformedFileError, Table, printable

MAX_LINE_BYTES = 1_000_000

_BLANK = np.zeros(256, bool)
_BLANK[list(b',;|\t "\n')] = True


def read_csv(path: Path, tickers: Sequence[str], max_bytes: int) -> Table:
    """The columns of a CSV that mean something here; arguments and errors as in `price_file.read_price_file`."""
    file = path.name
    data = _text_of(path, max_bytes)
    starts, ends, lines = _lines(file, data)

    def line(number: np.integer | int) -> bytes:
        return data[starts[number] : ends[number]]

    header = find_header(file, [(int(i) + 1, line(i).decode("utf-8")) for i in lines[: MAX_PREAMBLE + 3]], tickers)
    separator, columns, labels = header.separator, header.columns, header.labels
    # A header that is repeated where a file was appended to is no bar; nor is a line below the last one.
    repeated = {line(i) for i in lines[header.first : header.first + header.rows]}
    lines = lines[header.first + header.rows :]
    if any(data.count(head_line) > 1 for head_line in repeated):
        lines = lines[[line(i).removeprefix(codecs.BOM_UTF8) not in repeated for i in lines]]
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
    parsed = _parse(file, body, separator, len(labels), sorted(columns.places.values()), lines)
    if parsed.num_rows != len(lines):
        row = next((i for i in lines if data.count(b'"', starts[i], ends[i]) % 2), lines[0]) + 1
        raise MalformedFileError(
            f"{file}, row {row}: a quoted text runs over the end of the line; allowed: one bar a line"
        )
    named = {field: (labels[i], parsed.column(str(i))) for field, i in columns.places.items()}
    return Table(named, lines + 1, columns.layout, separator)


def _text_of(path: Path, max_bytes: int) -> bytes:
    """The file as UTF-8 without a byte order mark, lines ending with a line feed."""
    file = path.name
    with path.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise MalformedFileError(f"{file}: more than {max_bytes} bytes; allowed: at most {max_bytes}")
    if is_utf16(data):
        try:
            data = data.decode("utf-16").encode("utf-8")
        except UnicodeError:
            raise MalformedFileError(f"{file}: is no UTF-16 to its end; allowed: a CSV saved as UTF-8") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            row, byte = data.count(b"\n", 0, error.start) + 1, f"0x{data[error.start]:02x}"
            raise MalformedFileError(
                f"{file}, row {row}: byte {byte} is not UTF-8; allowed: a CSV saved as UTF-8"
            ) from None
    nul = data.find(b"\0")
    if nul >= 0:
        raise MalformedFileError(f"{file}, row {data.count(10, 0, nul) + 1}: a NUL byte; allowed: text")
    if data.count(b"\n") > MAX_ROWS:
        raise MalformedFileError(f"{file}: {data.count(10)} lines; allowed: at most {MAX_ROWS}")
    return data


def _lines(file: str, data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each line starts and ends, and the numbers, from 0, of those that are not blank."""
    text = np.frombuffer(data, np.uint8)
    ends = np.append(np.flatnonzero(text == 10), len(data))
    starts = np.insert(ends[:-1] + 1, 0, 0)
    long = np.flatnonzero(ends - starts > MAX_LINE_BYTES)
    if len(long):
        raise MalformedFileError(
            f"{file}, row {long[0] + 1}: longer than {MAX_LINE_BYTES} bytes; allowed: one bar a line"
        )
    # A line of separators is what a spreadsheet makes of an empty row.
    lines = np.flatnonzero(np.logical_or.reduceat(~_BLANK[np.append(text, 10)], starts))
    if not len(lines):
        raise MalformedFileError(f"{file}: the file is empty; allowed: a header row and one row per session")
    return starts, ends, lines


def _is_footer(line: bytes, separator: str) -> bool:
    """Whether a line below the bars is a remark: one cell, which is no date that was cut off."""
    text = line.decode("utf-8")
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"' and text.count('"') == 2
    is_one_cell = is_quoted or not any(cell.strip(' "') for cell in text.split(separator)[1:])
    return is_one_cell and not text.lstrip(' "')[:1].isdigit()


def _parse(
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
                f"{file}: {printable(' '.join(str(error).split()), 200)}; allowed: comma-separated values"
            ) from None
        row = lines[min(ragged[0].number, len(lines)) - 1] + 1
        raise MalformedFileError(
            f"{file}, row {row}: {ragged[0].actual_columns} cells where the header has {width}; "
            "allowed: one cell per column (a text that holds a comma in quotes; no line that is no bar)"
        ) from None
