"""One price file of the drop folder as a raw delivery.

A cell that cannot be read is its row's fault: the row is delivered with a `parse_error`, and validation
rejects it. Which file belongs to which symbol is decided in `files.py`, what makes a whole file unusable in
`price_table.py`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.market.bars import VALUE_COLUMNS, raw_frame
from orchestration.sources.price_table import MalformedFileError, Table, read_table, shown

# A file with more unreadable rows than this is not a price file with faults in it, it is something else.
MAX_UNREADABLE_ROWS = 10_000

_UNKNOWN = pa.array(["", "null", "nan", "n/a"])
# Bounded digits and exponents: whatever matches is a finite double.
_NUMBER = r"^[+-]?(\d{1,40}(\.\d{0,60})?|\.\d{1,60})([eE][+-]?\d{1,2})?$"
_DATE = (
    r"^\d{4}-\d\d-\d\d"
    r"([ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)?)?$"
)
_NUMBERS_ALLOWED = "a number such as 1234.5, or nothing, null, NaN or N/A where it is unknown"
_DATES_ALLOWED = "a date such as 2026-01-30, or a date and time such as 2026-01-30 00:00:00-05:00"


@dataclass(frozen=True)
class PriceFile:
    """What one file holds.

    Attributes:
        bars: `bars.RAW_COLUMNS` in the order of the file; `origin` is the file's name, `row_number` the line
            in a CSV (the header is line 1) and the row in a Parquet file.
        currency: as the file says; None where it does not.
        unreadable: rows that carry a parse_error.
    """

    bars: pd.DataFrame
    currency: str | None
    unreadable: int


def read_price_file(path: Path, source_symbol: str, max_bytes: int) -> PriceFile:
    """Read one CSV or Parquet of daily bars.

    Dates with a zone offset become the date that stands there: the exchange's own.

    Raises:
        MalformedFileError: nothing of the file can be used.
        OSError: the file cannot be read.
    """
    return _assemble(path.name, read_table(path, source_symbol, max_bytes))


def _assemble(file: str, table: Table) -> PriceFile:
    rows = len(table.row_numbers)
    values: dict[str, object] = {}
    errors = np.full(rows, None, dtype=object)
    for name in ("session_date", *VALUE_COLUMNS):
        if name not in table.columns:
            continue
        label, column = table.columns[name]
        read, what, allowed = (
            (_dates, "a date", _DATES_ALLOWED) if name == "session_date" else (_numbers, "a number", _NUMBERS_ALLOWED)
        )
        try:
            values[name], bad = read(column)
        except (pa.ArrowException, ValueError, KeyError, TypeError, OverflowError) as error:
            cause = f" ({shown(error, 200)})" if str(error) else ""
            raise MalformedFileError(
                f"{file}, column {shown(label)}: {shown(column.type)} cannot be read as {what}{cause}; "
                f"allowed: {allowed}"
            ) from None
        # The first fault of a row names it.
        for i in np.flatnonzero(bad & (errors == None))[: MAX_UNREADABLE_ROWS + 1]:  # noqa: E711
            errors[i] = (
                f"{file}, row {table.row_numbers[i]}, column {shown(label)}: "
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
    }
    return PriceFile(raw_frame(values), _currency(file, table), len(faults))


def _numbers(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Values as float64 with NaN for unknown, and which cells are not numbers."""
    kind = column.type
    if pa.types.is_string(kind):
        text = pc.utf8_trim_whitespace(pc.fill_null(column, ""))
        good = pc.match_substring_regex(text, _NUMBER)
        unknown = pc.is_in(pc.utf8_lower(text), value_set=_UNKNOWN)
        values = pc.if_else(good, text, pa.scalar(None, pa.string())).cast(pa.float64())
        return _numpy(values), ~_numpy(pc.or_(good, unknown)).astype(bool)
    if pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numpy(column.cast(pa.float64(), safe=False)), np.zeros(len(column), dtype=bool)
    raise TypeError


def _dates(column: pa.ChunkedArray) -> tuple[pd.Series, np.ndarray]:
    """Dates as datetime64[s] with NaT for unreadable, and which cells are not dates."""
    kind = column.type
    if pa.types.is_string(kind):
        text = pc.utf8_trim_whitespace(pc.fill_null(column, ""))
        written = pc.if_else(
            pc.match_substring_regex(text, _DATE),
            pc.utf8_slice_codeunits(text, 0, 10),
            pa.scalar(None, pa.string()),
        )
        days = pd.to_datetime(written.to_pandas(), format="%Y-%m-%d", errors="coerce")
    elif pa.types.is_date(kind):
        days = column.cast(pa.timestamp("s")).to_pandas()
    elif pa.types.is_timestamp(kind):
        days = column.to_pandas()
        if kind.tz is not None:
            days = days.dt.tz_localize(None)
    else:
        raise TypeError
    days = days.astype("datetime64[s]").dt.normalize()
    days = days.where((days >= pd.Timestamp("0001-01-01")) & (days <= pd.Timestamp("9999-12-31")))
    return days, days.isna().to_numpy()


def _cell(value: pa.Scalar) -> str:
    """A cell as it may stand in a message."""
    try:
        python = value.as_py()
    except (ValueError, OverflowError):  # a date that Python has no word for
        python = f"{value.value} of {value.type}"
    return "" if python is None else shown(python)


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
            f"{file}, row {row}, column {shown(label)}: '{shown(names[1])}' where rows before have "
            f"'{shown(names[0])}'; allowed: one currency per file"
        )
    return names[0] if names else None


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
