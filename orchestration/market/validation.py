"""The rules that decide what of a delivery is accepted, demoted or rejected.

A bar is valid when high >= max(open, close, low), low <= min(open, close, high), every price is positive, and its
session is one of its exchange and has closed. A bar whose range contradicts its close keeps the close and loses the
range (demoted); a close that is missing, not finite or not positive rejects the bar: no price is ever repaired.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestration.market.bars import PRICE_COLUMNS, RANGE_COLUMNS, VALUE_COLUMNS, below, equal, raw_frame, split_ratio
from orchestration.market.carried_actions import carry_actions, has_action_alone
from orchestration.market.quarantine import IMPLAUSIBLE_RANGE, LARGEST_PRICE, SMALLEST_PRICE, quarantined

# Days of a delivery that the calendar lacks and that may be sessions all the same: so many, or that share of its rows.
MAX_SPECIAL_SESSIONS, MAX_SPECIAL_SHARE = 3, 0.01
# Sessions that it takes to compare them with.
LEAST_BESIDE_SPECIAL = 5
# Of the other rows with a volume, from which on a session's bar has one.
VOLUME_SHARE = 0.95
SATURDAY = 5

# What differs between two rows of a session without costing the session.
_NOT_ESSENTIAL = ("volume", "adj_close")


@dataclass(frozen=True)
class Validated:
    """One symbol's delivery, sorted out.

    Attributes:
        columns: of the accepted rows: session_date, the value columns and bar_quality (ok, flat, close_only,
            range_rejected); ascending, one row per session.
        rejected: session_date, rule, severity (rejected | demoted), detail, raw (the row as JSON), origin, row_number.
        held_back: number of rows of sessions that have not closed yet; they are not stored and not wrong.
    """

    columns: dict[str, np.ndarray]
    rejected: pd.DataFrame
    held_back: int

    @functools.cached_property
    def accepted(self) -> pd.DataFrame:
        """The accepted rows as a frame, for whoever does more than to look at columns."""
        return pd.DataFrame(self.columns)


def validate(
    raw: pd.DataFrame,
    closed: pd.DatetimeIndex,
    known: pd.DatetimeIndex,
    stored: pd.DataFrame | None = None,
    weekends: bool = True,
) -> Validated:
    """Sort one symbol's delivery into accepted, rejected and held-back rows.

    Args:
        raw: `RAW_COLUMNS`, in the order of delivery.
        closed: the exchange's sessions that have ended, ascending.
        known: the exchange's sessions including those still to come within a week.
        stored: session_date, dividend and split_ratio of the stored bars.
        weekends: whether the exchange may have held a session on a weekend that its calendar does not know of.
    """
    return _without_faults(raw, closed, known) or _by_rules(raw, closed, known, stored, weekends)


def _without_faults(raw: pd.DataFrame, closed: pd.DatetimeIndex, known: pd.DatetimeIndex) -> Validated | None:
    """The result for a delivery without faults, in a fiftieth of the time of `_by_rules`; None if there is a fault.

    Nearly all deliveries are such. A property test compares the two.
    """
    days = raw["session_date"].to_numpy()
    if not len(days) or not len(closed) or np.isnat(days[0]) or not (days[1:] > days[:-1]).all():
        return None
    exchange = closed.to_numpy()
    end = int(np.searchsorted(days, exchange[-1], side="right"))
    to_come, days = days[end:], days[:end]
    if not end or (len(to_come) and not np.isin(to_come, known.to_numpy()).all()):
        return None
    errors = [pd.notna(raw[name].to_numpy()[:end]).any() for name in ("parse_error", "cell_error")]
    if (exchange[np.searchsorted(exchange, days)] != days).any() or any(errors):
        return None
    values = {name: raw[name].to_numpy()[:end] for name in VALUE_COLUMNS}
    opened, high, low, close = (values[name] for name in PRICE_COLUMNS)
    missing = np.isnan(opened).astype(np.int8) + np.isnan(high) + np.isnan(low)
    whole, absent = missing == 0, missing == len(RANGE_COLUMNS)
    if not (whole | absent).all() or not ((close >= SMALLEST_PRICE) & (close <= LARGEST_PRICE)).all():
        return None
    if any(np.isinf(prices).any() for prices in (opened, high, low)):
        return None
    top, bottom = np.maximum(np.maximum(opened, close), low), np.minimum(np.minimum(opened, close), high)
    # What is absent compares as False.
    if (below(high, top) | below(bottom, low) | (low <= 0) | (high >= IMPLAUSIBLE_RANGE * low)).any():
        return None
    high, low = np.maximum(high, np.maximum(opened, close)), np.minimum(low, np.minimum(opened, close))
    if any(((values[name] < 0) | np.isinf(values[name])).any() for name in ("volume", "dividend", "split_ratio")):
        return None
    adjusted, dividend, split = (values[name] for name in ("adj_close", "dividend", "split_ratio"))
    flat = (opened == close) & (high == close) & (low == close)
    values |= {
        "high": high,
        "low": low,
        "adj_close": np.where(np.isfinite(adjusted) & (adjusted > 0), adjusted, np.nan),
        "dividend": np.where(np.isnan(dividend), 0.0, dividend),
        "split_ratio": np.where(split > 0, split, 1.0),
    }
    quality = np.select([flat, absent], ["flat", "close_only"], "ok")
    return Validated({"session_date": days, **values, "bar_quality": quality}, _nothing_rejected(), len(to_come))


@functools.cache
def _nothing_rejected() -> pd.DataFrame:
    nothing = raw_frame({}).assign(detail=None)
    return pd.concat([quarantined(nothing, [], severity) for severity in ("rejected", "demoted")], ignore_index=True)


def _by_rules(
    raw: pd.DataFrame, closed: pd.DatetimeIndex, known: pd.DatetimeIndex, stored: pd.DataFrame | None, weekends: bool
) -> Validated:
    """The same, rule by rule."""
    frame = raw.assign(detail=raw["parse_error"])
    day = frame["session_date"]
    open_session = day.isin(known) & ~day.isin(closed)
    frame = frame[~open_session].reset_index(drop=True)
    day = frame["session_date"]
    close = frame["close"]

    # In order: the first rule that a row breaks names it.
    reasons = pd.Series(None, index=frame.index, dtype=object)
    first_closed, last_closed = (closed[0], closed[-1]) if len(closed) else (pd.Timestamp.min, pd.Timestamp.min)
    for rule, broken in (
        ("malformed_value", frame["parse_error"].notna()),
        ("missing_date", day.isna()),
        ("future_session", day > last_closed),
        ("before_calendar", day < first_closed),
        ("not_a_session", ~day.isin(closed) & ~_special_sessions(frame, closed, weekends)),
        ("missing_close", close.isna()),
        ("non_finite_close", np.isinf(close)),
        ("non_positive_close", close <= 0),
        ("implausible_close", (close < SMALLEST_PRICE) | (close > LARGEST_PRICE)),
        ("invalid_dividend", (frame["dividend"] < 0) | np.isinf(frame["dividend"])),
        ("invalid_split", (frame["split_ratio"] < 0) | np.isinf(frame["split_ratio"])),
    ):
        reasons = reasons.where(reasons.notna() | ~broken, rule)
    # Yahoo pads dividend days and holidays with rows that have neither a price nor an action.
    padding = (reasons == "missing_close") & frame[list(VALUE_COLUMNS)].fillna(0).eq(0).all(axis=1)
    frame, reasons = frame[~padding], reasons[~padding]

    conflicting, merged = _duplicates(frame[reasons.isna()])
    reasons[conflicting] = "duplicate_session"
    frame.loc[merged.index, [*VALUE_COLUMNS, "cell_error"]] = merged[[*VALUE_COLUMNS, "cell_error"]]

    good = frame[reasons.isna()].drop_duplicates("session_date", keep="last").sort_values("session_date")
    good, carried = carry_actions(frame[has_action_alone(frame, last_closed)], good, stored)
    frame.loc[list(carried), "detail"] = list(carried.values())
    reasons[list(carried)] = "missing_close"
    bad = frame[reasons.notna()]
    accepted, demoted = _judge_ranges(good)
    rejected = pd.concat(
        [
            quarantined(bad, reasons[reasons.notna()].tolist(), "rejected"),
            quarantined(demoted, demoted["rule"].tolist(), "demoted"),
        ],
        ignore_index=True,
    )
    columns = {name: accepted[name].to_numpy() for name in ("session_date", *VALUE_COLUMNS)}
    columns["bar_quality"] = accepted["bar_quality"].to_numpy(dtype=str)
    return Validated(columns, rejected, int(open_session.sum()))


def _special_sessions(frame: pd.DataFrame, closed: pd.DatetimeIndex, weekends: bool) -> pd.Series:
    """Rows of days that the calendar lacks and that look like sessions: budget Saturdays, Diwali evenings.

    There are few; a file with many has its dates shifted. A copy of another bar is a vendor's padding of a holiday, and
    so is a bar without volume where the others have some.
    """
    day, close = frame["session_date"], frame["close"]
    unlisted = day.notna() & ~day.isin(closed) & (close > 0) & np.isfinite(close)
    if not weekends:
        unlisted &= day.dt.day_of_week < SATURDAY
    count = int(unlisted.sum())
    at_most = max(MAX_SPECIAL_SESSIONS, MAX_SPECIAL_SHARE * len(frame))
    if not 0 < count <= at_most or day[day.isin(closed)].nunique() < LEAST_BESIDE_SPECIAL:
        return unlisted & False
    in_order = frame.sort_values("session_date", kind="stable")
    shape = in_order[list(PRICE_COLUMNS)].fillna(-1.0)
    known = in_order[list(RANGE_COLUMNS)]
    flat = (known.isna() | known.eq(in_order["close"], axis=0)).all(axis=1)
    stale = flat & (in_order["close"] == in_order["close"].shift(1))
    is_copy = shape.eq(shape.shift(1)).all(axis=1) | shape.eq(shape.shift(-1)).all(axis=1) | stale
    is_copy |= in_order.duplicated([*PRICE_COLUMNS, "volume"], keep=False) & ~known.isna().all(axis=1)
    is_copy = is_copy.reindex(frame.index)
    others = frame.loc[~unlisted, "volume"] > 0
    has_volume = (frame["volume"] > 0) | (others.mean() < VOLUME_SHARE)
    return unlisted & ~is_copy & has_volume


def _duplicates(frame: pd.DataFrame) -> tuple[pd.Index, pd.DataFrame]:
    """Rows that share a session: the index of those that disagree, and the others merged into their last row each.

    Which of two prices is right is unknown, so neither is taken. Where volumes or adjusted closes differ, only they are
    lost. What is missing in one row is taken from the other.
    """
    duplicates = frame[frame.duplicated("session_date", keep=False)]
    if duplicates.empty:
        return duplicates.index, duplicates
    session = duplicates["session_date"]
    values = duplicates[list(VALUE_COLUMNS)]
    last = values.groupby(session).transform("last")
    agree = pd.DataFrame({name: values[name].isna() | equal(values[name], last[name]) for name in VALUE_COLUMNS})
    agree = agree.groupby(session).transform("all")
    conflicting = ~agree.drop(columns=list(_NOT_ESSENTIAL)).all(axis=1)
    merged = last.assign(cell_error=duplicates["cell_error"])[~conflicting & ~session.duplicated(keep="last")]
    for name in _NOT_ESSENTIAL:
        contradicted = ~agree.loc[merged.index, name]
        text = f"the session stands more than once with different values of {name}"
        merged.loc[contradicted, "cell_error"] = merged.loc[contradicted, "cell_error"].fillna(text)
        merged.loc[contradicted, name] = np.nan
    return duplicates.index[conflicting], merged


def _judge_ranges(good: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accepted rows with bar_quality, and the rows as delivered whose range or volume was dropped."""
    ohl = good[list(RANGE_COLUMNS)]
    present = ohl.notna().sum(axis=1)
    top = good[["open", "close", "low"]].max(axis=1)
    bottom = good[["open", "close", "high"]].min(axis=1)
    contradicts = below(good["high"], top) | below(bottom, good["low"])
    not_positive_or_finite = (ohl <= 0).any(axis=1) | ohl.isin([np.inf, -np.inf]).any(axis=1)
    impossible = (present == len(RANGE_COLUMNS)) & (contradicts | not_positive_or_finite)
    implausible = (present == len(RANGE_COLUMNS)) & ~impossible & (good["high"] >= IMPLAUSIBLE_RANGE * good["low"])
    unread = good["cell_error"].notna()
    incomplete = present.between(1, len(RANGE_COLUMNS) - 1)
    bad_volume = (good["volume"] < 0) | np.isinf(good["volume"])

    demoted = pd.concat(
        [
            good[impossible].assign(rule="impossible_range"),
            good[implausible].assign(rule="implausible_range"),
            good[incomplete & ~unread].assign(rule="incomplete_range"),
            good[bad_volume].assign(rule="invalid_volume"),
            good[unread].assign(rule="unreadable_cell", detail=good.loc[unread, "cell_error"]),
        ]
    )
    accepted = good[["session_date", *VALUE_COLUMNS]].copy()
    untrusted = impossible | implausible | incomplete
    whole = (present == len(RANGE_COLUMNS)) & ~untrusted
    # A high that lies below the close by a vendor's noise is the close.
    accepted["high"] = accepted["high"].where(~whole, accepted[["high", "open", "close"]].max(axis=1))
    accepted["low"] = accepted["low"].where(~whole, accepted[["low", "open", "close"]].min(axis=1))
    flat = whole & accepted[list(RANGE_COLUMNS)].eq(accepted["close"], axis=0).all(axis=1)
    accepted.loc[untrusted, list(RANGE_COLUMNS)] = np.nan
    accepted.loc[bad_volume, "volume"] = np.nan
    accepted["adj_close"] = accepted["adj_close"].where(
        np.isfinite(accepted["adj_close"]) & (accepted["adj_close"] > 0)
    )
    accepted["dividend"] = accepted["dividend"].fillna(0.0)
    accepted["split_ratio"] = split_ratio(accepted)
    accepted["bar_quality"] = np.select([untrusted, flat, present == 0], ["range_rejected", "flat", "close_only"], "ok")
    return accepted, demoted
