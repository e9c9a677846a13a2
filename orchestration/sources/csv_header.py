"""The header of a CSV: the first line that names a date and a close, by whichever separator, in one or two levels."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.sources.layouts import Columns, columns_of
from orchestration.sources.price_table import MalformedFileError, check_columns, check_tickers, what_is_missing

# Lines before the header, such as a disclaimer.
MAX_PREAMBLE = 20

SEPARATORS = (",", ";", "\t", "|")
# What pandas calls the two levels of a header.
_CORNERS = frozenset({"", "price", "ticker", "attributes", "symbols"})


@dataclass(frozen=True)
class Header:
    """Where the names of the columns stand."""

    first: int  # the header among the lines that are not blank
    rows: int  # lines that it takes
    separator: str  # of its cells
    labels: list[str]  # its cells
    columns: Columns  # what they mean


def find_header(file: str, head: Sequence[tuple[int, str]], tickers: Sequence[str]) -> Header:
    """The first header among the first lines, each with its row number.

    Raises:
        MalformedFileError: there is none, or its labels name another ticker.
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
    raise MalformedFileError(what_is_missing(f"{file}, row {row}", labels, columns_of(labels)))


def _header_at(
    file: str, head: Sequence[tuple[int, str]], first: int, separator: str, tickers: Sequence[str]
) -> Header | None:
    """The header that begins with a line; None if none does."""
    row, line = head[first]
    if separator not in line:
        return None
    labels, rows = _cells(line, separator), 1
    if levels := _two_levels(head[first : first + 3], separator):
        labels, named, rows = levels
        check_tickers(file, named, tickers)
    columns = columns_of(labels)
    if not columns.is_whole:
        return None
    check_columns(f"{file}, row {row}", labels, columns)
    check_tickers(file, dict.fromkeys(columns.tickers, row), tickers)
    return Header(first, rows, separator, labels, columns)


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
    # Where the dates are a column they have a name among the others.
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
