"""The raw daily bar: its columns, and the rules that decide what is accepted, demoted or rejected.

A bar is valid when high >= max(open, close, low), low <= min(open, close, high), every price is positive, and its
session is one of its exchange and has closed. A bar whose range contradicts its close keeps the close and loses the
range (demoted); a close that is missing, not finite or not positive rejects the bar: no price is ever repaired.

A dividend or split of a row without a close is not lost with the row: it is carried to the next accepted bar, over
which its holder receives it. To the bar before it would be paid to those who had it too early.
"""

import datetime as dt
import functools
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

PRICE_COLUMNS = ("open", "high", "low", "close")
RANGE_COLUMNS = ("open", "high", "low")
VALUE_COLUMNS = (*PRICE_COLUMNS, "adj_close", "volume", "dividend", "split_ratio")

# What a bar can do without.
OPTIONAL_COLUMNS = (*RANGE_COLUMNS, "adj_close", "volume")

# What a source delivers for one symbol. `session_date` is datetime64[s]; NaT where the source could not read the
# date, then `parse_error` says why; `cell_error` says which other cell could not be read. `origin` and `row_number` say
# where the row stood, for files.
RAW_COLUMNS = ("session_date", *VALUE_COLUMNS, "origin", "row_number", "parse_error", "cell_error")

# No price lies outside of these, not even one that a history of reverse splits has multiplied.
SMALLEST_PRICE, LARGEST_PRICE = 1e-9, 1e15

# Days of a delivery that the calendar lacks and that may be sessions all the same: so many, or that share of its rows.
MAX_SPECIAL_SESSIONS, MAX_SPECIAL_SHARE = 3, 0.01
# Sessions that it takes to compare them with.
LEAST_BESIDE_SPECIAL = 5
# Of the other rows with a volume, from which on a session's bar has one.
VOLUME_SHARE = 0.95
SATURDAY = 5

# High and low of one session: the widest range of a watched instrument is below 2. This is a misplaced decimal point.
IMPLAUSIBLE_RANGE = 50.0

# Vendors compute in single precision, and differently from one request to the next. What is nearer than this part of
# itself is equal: rows of one session, a range and its close, adjusted closes.
VENDOR_TOLERANCE = 1e-6


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
    for name in ("origin", "parse_error", "cell_error"):
        # pandas reads a column of text and None as text and NaN.
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None) if name in frame else None
    frame["row_number"] = (frame["row_number"] if "row_number" in frame else pd.Series(dtype="float64")).astype("Int64")
    return frame[list(RAW_COLUMNS)].reset_index(drop=True)


def split_adjusted(traded: pd.DataFrame) -> pd.DataFrame:
    """A whole history as it was traded, on the basis of its last session, as the lake holds it.

    Args:
        traded: `RAW_COLUMNS`; adj_close is adjusted already.
    """
    known = traded[traded["session_date"].notna() & (traded["split_ratio"] > 0) & (traded["split_ratio"] != 1)]
    splits = known.drop_duplicates(["session_date", "split_ratio"]).sort_values("session_date")
    if splits.empty:
        return traded
    days = traded["session_date"].fillna(pd.Timestamp.max)
    factor = _splits_after(days, splits["session_date"], splits["split_ratio"])
    changed = {name: traded[name] / factor for name in (*PRICE_COLUMNS, "dividend")}
    return traded.assign(**changed, volume=traded["volume"] * factor)


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
        stored: session_date, dividend and split_ratio of the stored bars. An action that a stored bar has already is
            not carried to another one when the vendor loses the price of its session.
        weekends: whether the exchange may have held a session on a weekend that its calendar does not know of.
    """
    return _all_sound(raw, closed, known) or _sorted_out(raw, closed, known, stored, weekends)


def _all_sound(raw: pd.DataFrame, closed: pd.DatetimeIndex, known: pd.DatetimeIndex) -> Validated | None:
    """A delivery in which nothing is wrong, which nearly all are, in a fiftieth of the time; None if something is.

    The same as `_sorted_out`, with whole columns instead of rows and rules; a property test holds the two together.
    """
    days = raw["session_date"].to_numpy()
    if not len(days) or not len(closed) or np.isnat(days[0]) or not (days[1:] > days[:-1]).all():
        return None
    exchange = closed.to_numpy()
    end = int(np.searchsorted(days, exchange[-1], side="right"))
    to_come, days = days[end:], days[:end]
    if not end or (len(to_come) and not np.isin(to_come, known.to_numpy()).all()):
        return None
    unread = raw["parse_error"].notna() | raw["cell_error"].notna()
    if (exchange[np.searchsorted(exchange, days)] != days).any() or unread.iloc[:end].any():
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
    quality = np.select([flat, absent], ["flat", "close_only"], "ok") if (flat | absent).any() else "ok"
    return Validated(
        pd.DataFrame({"session_date": days, **values, "bar_quality": quality}), _nothing_rejected(), len(to_come)
    )


@functools.cache
def _nothing_rejected() -> pd.DataFrame:
    nothing = raw_frame({}).assign(detail=None)
    return pd.concat([_quarantine(nothing, [], severity) for severity in ("rejected", "demoted")], ignore_index=True)


def _sorted_out(
    raw: pd.DataFrame,
    closed: pd.DatetimeIndex,
    known: pd.DatetimeIndex,
    stored: pd.DataFrame | None,
    weekends: bool,
) -> Validated:
    """Row by row and rule by rule."""
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
    # A vendor row that carries neither a price nor an action says nothing: Yahoo pads dividend days and holidays so.
    silent = (reasons == "missing_close") & frame[list(VALUE_COLUMNS)].fillna(0).eq(0).all(axis=1)
    frame, reasons = frame[~silent], reasons[~silent]

    conflicting, together = _told_twice(frame[reasons.isna()])
    reasons[conflicting] = "duplicate_session"
    frame.loc[together.index, [*VALUE_COLUMNS, "cell_error"]] = together[[*VALUE_COLUMNS, "cell_error"]]

    good = frame[reasons.isna()].drop_duplicates("session_date", keep="last").sort_values("session_date")
    good, carried = _carry_actions(frame[_has_action_alone(frame, last_closed)], good, stored)
    frame.loc[list(carried), "detail"] = list(carried.values())
    reasons[list(carried)] = "missing_close"
    bad = frame[reasons.notna()]
    accepted, demoted = _judge_ranges(good)
    rejected = pd.concat(
        [
            _quarantine(bad, reasons[reasons.notna()].tolist(), "rejected"),
            _quarantine(demoted, demoted["rule"].tolist(), "demoted"),
        ],
        ignore_index=True,
    )
    return Validated(accepted.reset_index(drop=True), rejected, int(open_session.sum()))


def below(lower: Any, upper: Any) -> Any:
    """Whether one is below the other by more than a vendor's noise; unknown compares as False."""
    return lower < upper - VENDOR_TOLERANCE * abs(upper)


def equal(a: Any, b: Any) -> Any:
    """Which numbers are the same but for a vendor's noise; two that are unknown are."""
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= VENDOR_TOLERANCE * np.abs(b)
    return near | (a == b) | (np.isnan(a) & np.isnan(b))


def _special_sessions(frame: pd.DataFrame, closed: pd.DatetimeIndex, weekends: bool) -> pd.Series:
    """Rows of days that the calendar lacks and that have a session's bar: budget Saturdays, Diwali evenings.

    They are few; a file with many has its dates shifted. No session's bar is a copy of another one, with which vendors
    pad holidays, nor one without volume where the others have some.
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


def differs(new: pd.DataFrame, stored: pd.DataFrame) -> pd.Series:
    """Which rows of `new` are absent from `stored` or hold other values.

    Both frames are aligned by position (`stored` reindexed to `new`, NaN where absent). Prices are compared exactly;
    adj_close but for a vendor's noise.
    """
    changed = np.zeros(len(new), dtype=bool)
    for column in VALUE_COLUMNS:
        a, b = new[column].to_numpy(), stored[column].to_numpy()
        changed |= ~(equal(a, b) if column == "adj_close" else (a == b) | (np.isnan(a) & np.isnan(b)))
    qualities = new["bar_quality"].array, stored["bar_quality"].array
    same = np.asarray(qualities[0] == qualities[1], dtype=bool)
    changed |= ~(same | (pd.isna(qualities[0]) & pd.isna(qualities[1])))
    return pd.Series(changed, index=new.index)


def news(delivered: pd.DataFrame, stored: pd.DataFrame) -> np.ndarray:
    """Which accepted rows are not stored yet, or with other values.

    Args:
        delivered: accepted rows.
        stored: the newest stored versions, ascending by session, one row each; at least one.
    """
    place, is_stored = _places(delivered, stored)
    return ~is_stored | differs(delivered, stored.iloc[place]).to_numpy()


def _places(delivered: pd.DataFrame, stored: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The place of each delivered session among those stored, and whether it is there."""
    days, known = delivered["session_date"].to_numpy(), stored["session_date"].to_numpy()
    place = np.minimum(np.searchsorted(known, days), len(known) - 1)
    return place, known[place] == days


def rebased(delivered: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Stored bars that a whole history leaves out, put on the basis that its new splits have given the others.

    Where the vendor's history has become shorter, the sessions that it no longer holds would stay on the old basis
    beside neighbours on the new one. A split counts if it is not stored yet; a stored one that has become another, or
    has moved to another session, counts by what changed. See docs/decisions/0007-rebased-bars.md.

    Args:
        delivered: accepted rows of a whole history.
        stored: the newest stored version of every bar of the symbol, with whatever other columns.

    Returns:
        New versions of stored rows, with the columns of `stored`; none if the basis has not changed.
    """
    if (delivered["split_ratio"].to_numpy() == 1).all():
        return stored.iloc[:0]
    both = delivered.merge(stored, on="session_date", how="left", suffixes=("", "_stored"))
    change = both["split_ratio"] / both["split_ratio_stored"].fillna(1.0)
    newly_seen = (change != 1) & (both["split_ratio"] != 1)
    left_out = stored[~stored["session_date"].isin(delivered["session_date"])]
    if left_out.empty or not newly_seen.any():
        return stored.iloc[:0]
    if not _prices_have_moved(both, _splits_after(both["session_date"], both["session_date"], change)):
        return stored.iloc[:0]
    factor = _splits_after(left_out["session_date"], both["session_date"], change)
    left_out, factor = left_out[factor != 1], factor[factor != 1]
    changed = {name: left_out[name] / factor for name in (*PRICE_COLUMNS, "dividend")}
    # The vendor's adjusted close of a session that it no longer delivers is not ours to guess.
    return left_out.assign(**changed, volume=left_out["volume"] * factor, adj_close=np.nan)


def _splits_after(sessions: pd.Series, split_days: pd.Series, ratios: pd.Series) -> np.ndarray:
    """The product of the ratios that lie after each session; `split_days` ascending."""
    to_come = np.append(np.cumprod(ratios.to_numpy()[::-1])[::-1], 1.0)
    return to_come[np.searchsorted(split_days.to_numpy(), sessions.to_numpy(), side="right")]


def _prices_have_moved(both: pd.DataFrame, factor: np.ndarray) -> bool:
    """Whether the closes that are stored and delivered changed as the splits after them say.

    A vendor may name a split long after it has adjusted its prices for it, and a close may change for another reason:
    so most of the closes have to be nearer to the stored one divided by the splits than to the stored one. Where no
    common session lies before the splits nothing speaks against them.
    """
    witness = both["close_stored"].notna() & (factor != 1)
    if not witness.any():
        return True
    moved = np.log(both.loc[witness, "close_stored"] / both.loc[witness, "close"])
    return bool(((moved - np.log(factor[witness])).abs() < moved.abs()).mean() > 0.5)


def _has_action_alone(frame: pd.DataFrame, last_closed: pd.Timestamp) -> pd.Series:
    """Rows that can be read, lie in the past and have a sound dividend or split, but no close."""
    dividend, split = frame["dividend"].fillna(0.0), frame["split_ratio"].fillna(0.0)
    sound = (dividend >= 0) & np.isfinite(dividend) & (split >= 0) & np.isfinite(split)
    something = (dividend > 0) | ((split > 0) & (split != 1))
    # A date that is none compares as False.
    past = frame["session_date"] <= last_closed
    return frame["parse_error"].isna() & past & frame["close"].isna() & sound & something


def _carry_actions(
    alone: pd.DataFrame, good: pd.DataFrame, stored: pd.DataFrame | None
) -> tuple[pd.DataFrame, dict[int, str]]:
    """The good rows with the actions of rows without a close, and for each row that was carried where it went.

    A row stays where it is, its action with it, if there is no later good row; if its session has a good row, which
    then speaks for the session; or if the session stands more than once with different actions.
    """
    if alone.empty or good.empty:
        return good, {}
    days = good["session_date"].to_numpy()
    dividends = good["dividend"].fillna(0.0).to_numpy().copy()
    splits = _split_ratio(good).to_numpy().copy()
    paid, had_split = _days_with_actions(stored)
    alone = alone.assign(dividend=alone["dividend"].fillna(0.0), split_ratio=_split_ratio(alone))
    carried: dict[int, str] = {}
    for day in np.sort(alone["session_date"].unique()):
        rows = alone[alone["session_date"] == day]
        actions = rows[["dividend", "split_ratio"]].drop_duplicates()
        place = int(np.searchsorted(days, day))
        if len(actions) > 1 or place == len(days) or days[place] == day:
            continue
        dividend = 0.0 if pd.Timestamp(day) in paid else float(actions["dividend"].iloc[0])
        split = 1.0 if pd.Timestamp(day) in had_split else float(actions["split_ratio"].iloc[0])
        total, product = dividends[place] + dividend, splits[place] * split
        # What a float cannot hold is not carried; neither is what the stored bar of that day has already.
        if (dividend == 0 and split == 1) or not np.isfinite([total, product]).all() or product <= 0:
            continue
        dividends[place], splits[place] = total, product
        what = [f"dividend of {dividend:g}"] * (dividend > 0) + [f"split of {split:g}"] * (split != 1)
        went = f"the row has no close; its {' and its '.join(what)} went to {pd.Timestamp(days[place]).date()}"
        carried |= dict.fromkeys(rows.index, went)
    return (good.assign(dividend=dividends, split_ratio=splits), carried) if carried else (good, {})


def _days_with_actions(stored: pd.DataFrame | None) -> tuple[set[pd.Timestamp], set[pd.Timestamp]]:
    """Sessions whose stored bar has a dividend, and those whose stored bar has a split."""
    if stored is None:
        return set(), set()
    split = stored["split_ratio"].fillna(1.0) != 1
    return set(stored.loc[stored["dividend"] > 0, "session_date"]), set(stored.loc[split, "session_date"])


def _told_twice(frame: pd.DataFrame) -> tuple[pd.Index, pd.DataFrame]:
    """Rows that share a session: those that disagree, and what the others say together.

    Which of two prices is right is unknown, so neither is taken; a volume or an adjusted close that is told in two
    ways costs itself alone. What one row does not know the other may say.

    Returns:
        The places of rows that disagree; and for each other session, at the place of its last row, `VALUE_COLUMNS` and
        `cell_error`.
    """
    twice = frame[frame.duplicated("session_date", keep=False)]
    if twice.empty:
        return twice.index, twice
    session = twice["session_date"]
    values = twice[list(VALUE_COLUMNS)]
    last = values.groupby(session).transform("last")
    agree = pd.DataFrame({name: values[name].isna() | equal(values[name], last[name]) for name in VALUE_COLUMNS})
    agree = agree.groupby(session).transform("all")
    conflicting = ~agree.drop(columns=list(_LOSABLE)).all(axis=1)
    together = last.assign(cell_error=twice["cell_error"])[~conflicting & ~session.duplicated(keep="last")]
    for name in _LOSABLE:
        contradicted = ~agree.loc[together.index, name]
        said = f"the session stands more than once with different values of {name}"
        together.loc[contradicted, "cell_error"] = together.loc[contradicted, "cell_error"].fillna(said)
        together.loc[contradicted, name] = np.nan
    return twice.index[conflicting], together


# What differs between two rows of a session without costing the session.
_LOSABLE = ("volume", "adj_close")


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
    accepted["split_ratio"] = _split_ratio(accepted)
    accepted["bar_quality"] = np.select([untrusted, flat, present == 0], ["range_rejected", "flat", "close_only"], "ok")
    return accepted, demoted


def _split_ratio(frame: pd.DataFrame) -> pd.Series:
    """The split ratio, 1 where there is none; Yahoo writes 0 for "no split"."""
    return frame["split_ratio"].where(frame["split_ratio"] > 0, 1.0)


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
