"""The raw daily bar: its columns, frames of them, and when two prices are the same."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

PRICE_COLUMNS = ("open", "high", "low", "close")
RANGE_COLUMNS = ("open", "high", "low")
VALUE_COLUMNS = (*PRICE_COLUMNS, "adj_close", "volume", "dividend", "split_ratio")

# What a bar can do without.
OPTIONAL_COLUMNS = (*RANGE_COLUMNS, "adj_close", "volume")

# What a source delivers for one symbol. `session_date` is datetime64[s]; NaT where the source could not read the
# date, then `parse_error` says why; `cell_error` says which other cell could not be read. `origin` and `row_number` say
# where the row stood, for files.
RAW_COLUMNS = ("session_date", *VALUE_COLUMNS, "origin", "row_number", "parse_error", "cell_error")

# Columns of bars by name: those of a frame, or arrays, which are had in a tenth of the time.
Columns = Mapping[str, np.ndarray] | pd.DataFrame

# Vendors compute in single precision, and differently from one request to the next. What is nearer than this part of
# itself is equal: rows of one session, a range and its close, adjusted closes.
VENDOR_TOLERANCE = 1e-6


def empty_raw() -> pd.DataFrame:
    """A delivery without rows."""
    return raw_frame({})


def raw_frame(columns: dict[str, object]) -> pd.DataFrame:
    """`RAW_COLUMNS` from the arrays or series that a source has, by name; the others are unknown.

    Prices, volume, dividend and split_ratio become float64.
    """
    frame = pd.DataFrame({name: columns.get(name) for name in RAW_COLUMNS if name in columns})
    for name in VALUE_COLUMNS:
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("float64") if name in frame else np.nan
    frame["session_date"] = (
        pd.to_datetime(frame["session_date"]).astype("datetime64[s]")
        if "session_date" in frame
        else pd.Series(dtype="datetime64[s]")
    )
    for name in ("origin", "parse_error", "cell_error"):
        # pandas reads a column of text and None as text and NaN.
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None) if name in frame else None
    frame["row_number"] = (frame["row_number"] if "row_number" in frame else pd.Series(dtype="float64")).astype("Int64")
    return frame[list(RAW_COLUMNS)].reset_index(drop=True)


def split_adjusted(traded: pd.DataFrame) -> pd.DataFrame:
    """A whole history as it was traded, put on the basis of its last session; adj_close stays as it is."""
    known = traded[traded["session_date"].notna() & (traded["split_ratio"] > 0) & (traded["split_ratio"] != 1)]
    splits = known.drop_duplicates(["session_date", "split_ratio"]).sort_values("session_date")
    if splits.empty:
        return traded
    days = traded["session_date"].fillna(pd.Timestamp.max)
    factor = splits_after(days, splits["session_date"], splits["split_ratio"])
    changed = {name: traded[name] / factor for name in (*PRICE_COLUMNS, "dividend")}
    return traded.assign(**changed, volume=traded["volume"] * factor)


def splits_after(sessions: Any, split_days: Any, ratios: Any) -> np.ndarray:
    """The product of the ratios that lie after each session; `split_days` ascending."""
    to_come = np.append(np.cumprod(np.asarray(ratios)[::-1])[::-1], 1.0)
    return to_come[np.searchsorted(np.asarray(split_days), np.asarray(sessions), side="right")]


def split_ratio(frame: pd.DataFrame) -> pd.Series:
    """The split ratio, 1 where there is none; Yahoo writes 0 for "no split"."""
    return frame["split_ratio"].where(frame["split_ratio"] > 0, 1.0)


def below(lower: Any, upper: Any) -> Any:
    """Whether one is below the other by more than a vendor's noise; unknown compares as False."""
    return lower < upper - VENDOR_TOLERANCE * abs(upper)


def equal(a: Any, b: Any) -> Any:
    """Which numbers are the same but for a vendor's noise; two that are unknown are."""
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= VENDOR_TOLERANCE * np.abs(b)
    return near | (a == b) | (np.isnan(a) & np.isnan(b))
