"""The quarantine: rejected rows and those that lost a part, each with its rule and as it was delivered."""

import datetime as dt
import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from orchestration.market.bars import VALUE_COLUMNS

# No price lies outside of these, not even one that a history of reverse splits has multiplied.
SMALLEST_PRICE, LARGEST_PRICE = 1e-9, 1e15

# High and low of one session: the widest range of a watched instrument is below 2. This is a misplaced decimal point.
IMPLAUSIBLE_RANGE = 50.0

_DETAILS = {
    "malformed_value": "a cell could not be read",
    "missing_date": "the row has no date",
    "future_session": "the session lies in the future",
    "before_calendar": "the session lies before the first one that the calendar of its exchange knows",
    "not_a_session": "the exchange held no session on that day",
    "missing_close": "the row has no close",
    "non_finite_close": "the close is not finite",
    "non_positive_close": "the close is zero or negative",
    "implausible_close": f"the close is not between {SMALLEST_PRICE:g} and {LARGEST_PRICE:g}",
    "invalid_dividend": "the dividend is negative or not finite",
    "invalid_split": "the split ratio is negative or not finite",
    "duplicate_session": "the session stands more than once with different values",
    "impossible_range": "high, low and open contradict the close; the close is kept, the range is not",
    "implausible_range": f"high is {IMPLAUSIBLE_RANGE:g} times the low or more; the close is kept, the range is not",
    "incomplete_range": "open, high or low is missing; the close is kept, the range is not",
    "unreadable_cell": "a cell that a bar can do without could not be read; the bar is kept, the cell is unknown",
    "invalid_volume": "the volume is negative or not finite; the bar is kept, the volume is not",
}


def quarantined(rows: pd.DataFrame, rules: Sequence[str], severity: str) -> pd.DataFrame:
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
                for error, rule in zip(rows["detail"], rules, strict=True)
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
