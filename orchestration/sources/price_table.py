"""What a price file holds that means something here, and what makes a whole file unusable, whatever its format.

Formats are read in `csv_table.py` and `parquet_table.py`; what labels mean is in `layouts.py`, what cells mean in
`price_cells.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from orchestration.sources.layouts import Columns, Layout

# Two thousand years of sessions. A small file can claim, and unpack to, any number of rows.
MAX_ROWS = 500_000

WANTED = "a CSV with the columns Date, Open, High, Low, Close, Adj Close, Volume, Dividends, Stock Splits"


class MalformedFileError(Exception):
    """The whole file is refused; the message is one line naming file, row, column and what is allowed."""


@dataclass(frozen=True)
class Table:
    """What a file holds that means something here."""

    columns: dict[str, tuple[str, pa.ChunkedArray]]  # name in the file and values, by field of `layouts`
    row_numbers: np.ndarray  # of each row
    layout: Layout  # whose columns they are
    separator: str = ""  # of the cells of a CSV; empty for Parquet


def printable(value: object, limit: int = 40) -> str:
    """A value from outside for a message: on one line and short."""
    text = str(value)
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
    return clean + ("..." if len(text) > limit else "")


def check_ticker(where: str, written: str, tickers: Sequence[str]) -> None:
    """Refuse a file that names another ticker itself; `where` begins the message."""
    if not _same_ticker(written, tickers):
        raise MalformedFileError(
            f"{where} '{printable(written)}'; allowed: {printable(tickers[0])}, as the file's name says "
            "(one file for each ticker, named after it)"
        )


def _same_ticker(written: str, tickers: Sequence[str]) -> bool:
    """Whether a ticker is one of those: R and Stooq write `BRK.B` and `SIL.US` for `BRK-B` and `SIL`."""

    def bare(ticker: str) -> str:
        return "".join(c for c in ticker.strip().casefold().removesuffix(".us") if c.isalnum())

    return bare(written) in {bare(ticker) for ticker in tickers}


def check_tickers(file: str, found: Mapping[str, int], tickers: Sequence[str]) -> None:
    """The same for all tickers of a header, each with its row."""
    for ticker, row in found.items():
        check_ticker(f"{file}, row {row}: holds", ticker, tickers)


def check_columns(where: str, labels: Sequence[str], columns: Columns) -> None:
    """Refuse two columns that hold the same; those that mean nothing here do not count."""
    if columns.repeated is not None:
        first, second = (labels[place] for place in columns.repeated)
        raise MalformedFileError(
            f"{where}, column {printable(second)}: means the same as column {printable(first)}; "
            "allowed: each column once"
        )


def what_is_missing(where: str, labels: Sequence[str], columns: Columns) -> str:
    """A message about a file without a date or a close."""
    name = "Close" if "session_date" in columns.places else "Date"
    there = ", ".join(printable(label) for label in labels[:12]) + (", ..." if len(labels) > 12 else "")
    return f"{where}: no column {name} among {there}; allowed: {WANTED} (Date and Close at least)"
