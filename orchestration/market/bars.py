"""The raw daily bar: its columns, and the rules that decide what is accepted, demoted or rejected.

A bar is valid when high >= max(open, close, low), low <= min(open, close, high), every price is positive, and its
session is one of its exchange and has closed. A bar whose range contradicts its close keeps the close and loses the
range (demoted); a close that is missing, not finite or not positive rejects the bar: nothing is ever repaired.
"""

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

PRICE_COLUMNS = ("open", "high", "low", "close")
RANGE_COLUMNS = ("open", "high", "low")
VALUE_COLUMNS = (*PRICE_COLUMNS, "adj_close", "volume", "dividend", "split_ratio")

# What a source delivers for one symbol. `session_date` is datetime64[s]; NaT where the source could not read the
# date, then `parse_error` says why. `origin` and `row_number` say where the row stood, for files.
RAW_COLUMNS = ("session_date", *VALUE_COLUMNS, "origin", "row_number", "parse_error")

# Yahoo's adj_close carries float32 noise that changes from one request to the next.
ADJ_CLOSE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Validated:
    """One symbol's delivery, sorted out.

    Attributes:
        accepted: session_date, the value columns and bar_quality (ok, flat, close_only, range_rejected);
            ascending, one row per session.
        rejected: session_date, rule, severity (rejected | demoted), detail, raw (the row as JSON), origin, row_number.
        held_back: rows of sessions that have not closed yet; they are not stored and not wrong.
    """

    accepted: pd.DataFrame
    rejected: pd.DataFrame
    held_back: int


def empty_raw() -> pd.DataFrame:
    """A delivery without rows, with the right columns and types."""
    return raw_frame({})


def raw_frame(columns: dict[str, object]) -> pd.DataFrame:
    """A raw delivery from whichever columns a source has; the others become unknown.

    Args:
        columns: arrays or series by canonical name; at least session_date and close where there are rows.

    Returns:
        A frame with exactly `RAW_COLUMNS`: float64 prices, volume, dividend and split_ratio.
    """
    frame = pd.DataFrame({name: columns.get(name) for name in RAW_COLUMNS if name in columns})
    for name in VALUE_COLUMNS:
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("float64") if name in frame else np.nan
    frame["session_date"] = (
        pd.to_datetime(frame["session_date"]).astype("datetime64[s]")
        if "session_date" in frame
        else pd.Series(dtype="datetime64[s]")
    )
    for name in ("origin", "parse_error"):
        # pandas reads a column of text and None as text and NaN.
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None) if name in frame else None
    frame["row_number"] = (frame["row_number"] if "row_number" in frame else pd.Series(dtype="float64")).astype("Int64")
    return frame[list(RAW_COLUMNS)].reset_index(drop=True)


def validate(raw: pd.DataFrame, closed: pd.DatetimeIndex, known: pd.DatetimeIndex) -> Validated:
    """Sort one symbol's delivery into accepted, rejected and held-back rows.

    Args:
        raw: `RAW_COLUMNS`, in the order of delivery.
        closed: the exchange's sessions that have ended, ascending.
        known: the exchange's sessions including those still to come within a week.
    """
    frame = raw.copy()
    day = frame["session_date"]
    open_session = day.isin(known) & ~day.isin(closed)
    frame = frame[~open_session].reset_index(drop=True)
    day = frame["session_date"]
    close = frame["close"]

    # In order: the first rule that a row breaks names it.
    reasons = pd.Series(None, index=frame.index, dtype=object)
    last_closed = closed[-1] if len(closed) else pd.Timestamp.min
    for rule, broken in (
        ("malformed_value", frame["parse_error"].notna()),
        ("missing_date", day.isna()),
        ("future_session", day > last_closed),
        ("not_a_session", ~day.isin(closed)),
        ("missing_close", close.isna()),
        ("non_finite_close", np.isinf(close)),
        ("non_positive_close", close <= 0),
        ("invalid_dividend", (frame["dividend"] < 0) | np.isinf(frame["dividend"])),
        ("invalid_split", (frame["split_ratio"] < 0) | np.isinf(frame["split_ratio"])),
    ):
        reasons = reasons.where(reasons.notna() | ~broken, rule)
    # A vendor row that carries neither a price nor an action says nothing: Yahoo pads dividend days and holidays so.
    silent = (reasons == "missing_close") & frame[list(VALUE_COLUMNS)].fillna(0).eq(0).all(axis=1)
    frame, reasons = frame[~silent], reasons[~silent]

    conflicting = _conflicting_duplicates(frame[reasons.isna()])
    reasons[conflicting] = "duplicate_session"

    bad = frame[reasons.notna()]
    good = frame[reasons.isna()].drop_duplicates("session_date", keep="last").sort_values("session_date")
    accepted, demoted = _judge_ranges(good)
    rejected = pd.concat(
        [
            _quarantine(bad, reasons[reasons.notna()].tolist(), "rejected"),
            _quarantine(demoted, demoted["rule"].tolist(), "demoted"),
        ],
        ignore_index=True,
    )
    return Validated(accepted.reset_index(drop=True), rejected, int(open_session.sum()))


def differs(new: pd.DataFrame, stored: pd.DataFrame) -> pd.Series:
    """Which rows of `new` are absent from `stored` or hold other values.

    Both frames are aligned by position (`stored` reindexed to `new`, NaN where absent). Prices are compared exactly;
    adj_close within `ADJ_CLOSE_TOLERANCE` relative.
    """
    changed = pd.Series(False, index=new.index)
    for column in (*VALUE_COLUMNS, "bar_quality"):
        a, b = new[column], stored[column]
        same = (a == b) | (a.isna() & b.isna())
        if column == "adj_close":
            same |= (a - b).abs() <= ADJ_CLOSE_TOLERANCE * b.abs()
        changed |= ~same.fillna(False).astype(bool)
    return changed


def _conflicting_duplicates(frame: pd.DataFrame) -> pd.Index:
    """Rows that share a session and disagree: which one is right is unknown, so none is taken."""
    twice = frame[frame.duplicated("session_date", keep=False)]
    if twice.empty:
        return twice.index
    values = twice.groupby("session_date")[list(VALUE_COLUMNS)].nunique(dropna=False).max(axis=1)
    return twice.index[twice["session_date"].map(values) > 1]


def _judge_ranges(good: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accepted rows with bar_quality, and the rows as delivered whose range or volume was dropped."""
    ohl = good[list(RANGE_COLUMNS)]
    present = ohl.notna().sum(axis=1)
    top = good[["open", "close", "low"]].max(axis=1)
    bottom = good[["open", "close", "high"]].min(axis=1)
    impossible = (present == len(RANGE_COLUMNS)) & (
        (good["high"] < top) | (good["low"] > bottom) | (ohl <= 0).any(axis=1) | ohl.isin([np.inf, -np.inf]).any(axis=1)
    )
    incomplete = present.between(1, len(RANGE_COLUMNS) - 1)
    bad_volume = (good["volume"] < 0) | np.isinf(good["volume"])
    flat = (present == len(RANGE_COLUMNS)) & ohl.eq(good["close"], axis=0).all(axis=1)

    demoted = pd.concat(
        [
            good[impossible].assign(rule="impossible_range"),
            good[incomplete].assign(rule="incomplete_range"),
            good[bad_volume].assign(rule="invalid_volume"),
        ]
    )
    accepted = good[["session_date", *VALUE_COLUMNS]].copy()
    accepted.loc[impossible | incomplete, list(RANGE_COLUMNS)] = np.nan
    accepted.loc[bad_volume, "volume"] = np.nan
    accepted["adj_close"] = accepted["adj_close"].where(
        np.isfinite(accepted["adj_close"]) & (accepted["adj_close"] > 0)
    )
    accepted["dividend"] = accepted["dividend"].fillna(0.0)
    # Yahoo writes 0 for "no split".
    accepted["split_ratio"] = accepted["split_ratio"].where(accepted["split_ratio"] > 0, 1.0)
    accepted["bar_quality"] = np.select(
        [impossible | incomplete, flat, present == 0], ["range_rejected", "flat", "close_only"], "ok"
    )
    return accepted, demoted


def _quarantine(rows: pd.DataFrame, rules: "Sequence[str]", severity: str) -> pd.DataFrame:
    """Rows as they are kept in the quarantine, each with the whole delivered row as JSON."""
    raw = [
        json.dumps({k: _as_json(v) for k, v in zip(VALUE_COLUMNS, values, strict=True)})
        for values in rows[list(VALUE_COLUMNS)].itertuples(index=False, name=None)
    ]
    return pd.DataFrame(
        {
            "session_date": rows["session_date"].astype("datetime64[s]").to_numpy(),
            "rule": pd.Series(list(rules), dtype=object).to_numpy(),
            "severity": severity,
            "detail": [
                error if isinstance(error, str) else _DETAILS[rule]
                for error, rule in zip(rows["parse_error"], rules, strict=True)
            ],
            "raw": pd.Series(raw, dtype=object).to_numpy(),
            "origin": rows["origin"].to_numpy(),
            "row_number": rows["row_number"].to_numpy(),
        }
    )


def _as_json(value: float) -> float | str | None:
    # JSON has no infinity.
    return None if np.isnan(value) else float(value) if np.isfinite(value) else str(value)


def quarantine_id(symbol: str, session: dt.date | None, rule: str, raw: str, detail: str) -> str:
    """A stable key of a quarantined row: the same fault delivered again is the same row."""
    text = "|".join((symbol, "" if session is None else session.isoformat(), rule, raw, detail))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_DETAILS = {
    "malformed_value": "a cell could not be read",
    "missing_date": "the row has no date",
    "future_session": "the session lies in the future",
    "not_a_session": "the exchange held no session on that day",
    "missing_close": "the row has no close",
    "non_finite_close": "the close is not finite",
    "non_positive_close": "the close is zero or negative",
    "invalid_dividend": "the dividend is negative or not finite",
    "invalid_split": "the split ratio is negative or not finite",
    "duplicate_session": "the session stands more than once with different values",
    "impossible_range": "high, low and open contradict the close; the close is kept, the range is not",
    "incomplete_range": "open, high or low is missing; the close is kept, the range is not",
    "invalid_volume": "the volume is negative or not finite; the bar is kept, the volume is not",
}
