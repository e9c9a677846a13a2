"""One price file of the drop folder as a raw delivery.

A row whose date, close, dividend or split cannot be read is delivered with a `parse_error`, and validation rejects it.
Any other cell that cannot be read is unknown, with a `cell_error`. Which file belongs to which symbol is decided in
`files.py`, what makes a whole file unusable in `price_table.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.market.bars import OPTIONAL_COLUMNS, VALUE_COLUMNS, raw_frame
from orchestration.market.basis import UnclearBasisError, establish
from orchestration.market.consistency import frequency
from orchestration.market.price_basis import PriceBasis
from orchestration.sources import price_cells as cells
from orchestration.sources.csv_table import read_csv
from orchestration.sources.parquet_table import read_parquet
from orchestration.sources.price_table import MalformedFileError, Table, check_ticker, printable

# A file with more unreadable rows than this is not a price file with faults in it, it is something else.
MAX_UNREADABLE_ROWS = 10_000

# In the drop folder: the basis of each file's prices.
BASIS_FILE = "price_basis.csv"

# From which on, and from which share of rows on, different bars of one day are no accident.
LEAST_OF_A_DAY, SHARE_OF_A_DAY = 8, 0.5


@dataclass(frozen=True)
class PriceFile:
    """What one file holds.

    Attributes:
        bars: `bars.RAW_COLUMNS` in the order of the file; `origin` is the file's name, `row_number` the line
            in a CSV (the header is line 1) and the row in a Parquet file.
        currency: as the file says; None where it does not.
        unreadable: rows that carry a parse_error.
        basis: what was taken out of the prices.
        note: for a person; empty if there is nothing to know.
    """

    bars: pd.DataFrame
    currency: str | None
    unreadable: int
    basis: PriceBasis = PriceBasis.SPLIT_ADJUSTED
    note: str = ""


def read_price_file(
    path: Path, tickers: Sequence[str], max_bytes: int, zone: str | None = None, declared: PriceBasis | None = None
) -> PriceFile:
    """Read one CSV or Parquet of daily bars.

    Args:
        path: of the file.
        tickers: what the file may call the instrument; the first is what it is named after.
        max_bytes: the largest file that is read.
        zone: time zone of the exchange; stamps with an offset become its own dates.
        declared: the basis by its owner; None: that of its vendor, or what is recognised.

    Raises:
        MalformedFileError: nothing of the file can be used.
        OSError: the file cannot be read.
    """
    read = read_parquet if path.suffix.casefold() == ".parquet" else read_csv
    table = read(path, tickers, max_bytes)
    _check_ticker(path.name, table, tickers)
    file = _assemble(path.name, table, zone)
    _check_frequency(path.name, file.bars)
    return _with_known_basis(path.name, file, declared or table.layout.basis)


def _with_known_basis(name: str, file: PriceFile, declared: PriceBasis | None) -> PriceFile:
    """The file with prices on the basis of the last split.

    Raises:
        MalformedFileError: nothing tells whether the closes are adjusted for the dividends beside them.
    """
    try:
        found = establish(file.bars, declared)
    except UnclearBasisError:
        raise MalformedFileError(
            f"{name}: whether closes are adjusted for the dividends beside them cannot be told; allowed: an Adj Close "
            f"beside them, or a row of {BASIS_FILE} that says it: {', '.join(PriceBasis)}"
        ) from None
    return replace(file, bars=found.bars, basis=found.basis, note=found.note)


def _check_frequency(name: str, bars: pd.DataFrame) -> None:
    """Refuse bars that are not daily.

    Raises:
        MalformedFileError: they are weekly and so on, or several of a day.
    """
    allowed = "allowed: daily bars (interval 1d in the export)"
    step = frequency(bars["session_date"])
    if step != "daily":
        raise MalformedFileError(f"{name}: holds {step} bars; {allowed}")
    known = bars[bars["session_date"].notna()].drop_duplicates(["session_date", "close"])
    if len(known) >= LEAST_OF_A_DAY and known["session_date"].duplicated(keep=False).mean() > SHARE_OF_A_DAY:
        raise MalformedFileError(f"{name}: holds several bars of a day; {allowed} of one ticker")


def _assemble(file: str, table: Table, zone: str | None) -> PriceFile:
    rows = len(table.row_numbers)
    values: dict[str, object] = {}
    errors, demoted = np.full(rows, None, dtype=object), np.full(rows, None, dtype=object)
    decimal = _decimal_sign(file, table)
    for name in ("session_date", *VALUE_COLUMNS):
        if name not in table.columns:
            continue
        label, column = table.columns[name]
        is_date = name == "session_date"
        what, allowed = ("a date", cells.DATES_ALLOWED) if is_date else ("a number", cells.NUMBERS_ALLOWED)
        try:
            if is_date:
                values[name], bad = cells.dates(column, zone, table.layout.month_first)
            else:
                values[name], bad = cells.numbers(column, decimal, multiples=name == "volume")
        except cells.AmbiguousError as error:
            raise _ambiguous(file, table, label, error) from None
        except (pa.ArrowException, ValueError, KeyError, TypeError, OverflowError) as error:
            cause = f" ({printable(error, 200)})" if str(error) else ""
            raise MalformedFileError(
                f"{file}, column {printable(label)}: {printable(column.type)} cannot be read as {what}{cause}; "
                f"allowed: {allowed}"
            ) from None
        # The first fault of a row names it. What a bar can do without costs its cell, not the bar.
        of_row = demoted if name in OPTIONAL_COLUMNS else errors
        for i in np.flatnonzero(bad & (of_row == None))[: MAX_UNREADABLE_ROWS + 1]:  # noqa: E711
            of_row[i] = (
                f"{file}, row {table.row_numbers[i]}, column {printable(label)}: "
                f"'{_cell(column[int(i)])}' is not {what}; allowed: {allowed}"
            )
    faults = np.flatnonzero(errors != None)  # noqa: E711
    if len(faults) > MAX_UNREADABLE_ROWS:
        raise MalformedFileError(f"{errors[faults[0]]} (and more than {MAX_UNREADABLE_ROWS} rows like it)")
    if rows and len(faults) == rows:
        raise MalformedFileError(f"{errors[faults[0]]} (and no other row of the file can be read)")
    values |= {
        "origin": np.full(rows, file, dtype=object),
        "row_number": table.row_numbers,
        "parse_error": errors,
        "cell_error": demoted,
    }
    return PriceFile(raw_frame(values), _currency(file, table), len(faults))


def _decimal_sign(file: str, table: Table) -> str:
    numeric = {name: table.columns[name] for name in VALUE_COLUMNS if name in table.columns}
    try:
        return cells.decimal_sign({label: (name == "volume", column) for name, (label, column) in numeric.items()})
    except cells.AmbiguousError as error:
        if table.separator == ";":
            return ","  # semicolons are there because commas stand before decimals
        raise _ambiguous(file, table, error.label, error) from None


def _ambiguous(file: str, table: Table, label: str, error: cells.AmbiguousError) -> MalformedFileError:
    row = table.row_numbers[error.place]
    return MalformedFileError(
        f"{file}, row {row}, column {printable(label)}: '{printable(error.cell)}' {printable(error.problem, 200)}; "
        f"allowed: {error.remedy}"
    )


def _check_ticker(file: str, table: Table, tickers: Sequence[str]) -> None:
    """Refuse a file whose own column names another ticker."""
    if "ticker" not in table.columns:
        return
    label, column = table.columns["ticker"]
    if not pa.types.is_string(column.type):
        return
    text = pc.utf8_trim_whitespace(pc.fill_null(column, ""))
    for ticker in pc.unique(text).to_pylist():
        if ticker:
            row = table.row_numbers[pc.index(text, ticker).as_py()]
            check_ticker(f"{file}, row {row}, column {printable(label)}:", ticker, tickers)


def _cell(value: pa.Scalar) -> str:
    """A cell as it may stand in a message."""
    try:
        python = value.as_py()
    except (ValueError, OverflowError):  # a date that Python has no word for
        python = f"{value.value} of {value.type}"
    return "" if python is None else printable(python)


def _currency(file: str, table: Table) -> str | None:
    if "currency" not in table.columns:
        return None
    label, column = table.columns["currency"]
    if not pa.types.is_string(column.type):
        return None
    text = pc.utf8_trim_whitespace(pc.fill_null(column, ""))
    names = [name for name in pc.unique(text).to_pylist() if name]
    if len(names) > 1:
        row = table.row_numbers[pc.index(text, names[1]).as_py()]
        raise MalformedFileError(
            f"{file}, row {row}, column {printable(label)}: '{printable(names[1])}' where rows before have "
            f"'{printable(names[0])}'; allowed: one currency per file"
        )
    return names[0] if names else None
