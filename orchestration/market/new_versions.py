"""What becomes a new version in the lake: rows that are new or changed, and stored rows that a split moved.

Nothing is overwritten there; a changed bar gets a further version.
"""

import numpy as np
import pandas as pd

from orchestration.market.bars import PRICE_COLUMNS, VALUE_COLUMNS, Columns, equal, splits_after


def differs(new: pd.DataFrame, stored: pd.DataFrame) -> pd.Series:
    """Which rows of `new` hold other values than the rows of `stored` at the same position (NaN where absent).

    Prices are compared exactly; adj_close but for a vendor's noise.
    """
    return pd.Series(_changed(new, stored, np.arange(len(stored))), index=new.index)


def is_new(delivered: Columns, stored: pd.DataFrame) -> np.ndarray:
    """Which accepted rows are not stored yet, or with other values.

    Args:
        delivered: accepted rows.
        stored: the newest stored versions, ascending by session, one row each; at least one.
    """
    days, known = np.asarray(delivered["session_date"]), stored["session_date"].to_numpy()
    place = np.minimum(np.searchsorted(known, days), len(known) - 1)
    return (known[place] != days) | _changed(delivered, stored, place)


def _changed(new: Columns, stored: pd.DataFrame, place: np.ndarray) -> np.ndarray:
    """Which rows of `new` hold other values than the rows of `stored` at these places."""
    changed = np.zeros(len(place), dtype=bool)
    for column in VALUE_COLUMNS:
        a, b = np.asarray(new[column]), stored[column].to_numpy()[place]
        changed |= ~(equal(a, b) if column == "adj_close" else (a == b) | (np.isnan(a) & np.isnan(b)))
    a, b = np.asarray(new["bar_quality"]), stored["bar_quality"].array.take(place)
    return changed | ~(np.asarray(b == a, dtype=bool) | (pd.isna(a) & pd.isna(b)))


def rebased(delivered: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Stored bars that a whole history leaves out, put on the basis that its new splits gave the others.

    Otherwise sessions that the vendor no longer delivers would stay on the old basis beside neighbours on the new one.
    A split counts if it is not stored yet; a stored one that has become another, or
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
    if not _prices_have_moved(both, splits_after(both["session_date"], both["session_date"], change)):
        return stored.iloc[:0]
    factor = splits_after(left_out["session_date"], both["session_date"], change)
    left_out, factor = left_out[factor != 1], factor[factor != 1]
    changed = {name: left_out[name] / factor for name in (*PRICE_COLUMNS, "dividend")}
    # The vendor's adjusted close of a session that it no longer delivers is not ours to guess.
    return left_out.assign(**changed, volume=left_out["volume"] * factor, adj_close=np.nan)


def _prices_have_moved(both: pd.DataFrame, factor: np.ndarray) -> bool:
    """Whether most closes, delivered and stored, changed by the splits after them; True where none can be compared.

    A vendor may name a split long after it has adjusted its prices for it, and a close may change for another reason.
    """
    compared = both["close_stored"].notna() & (factor != 1)
    if not compared.any():
        return True
    moved = np.log(both.loc[compared, "close_stored"] / both.loc[compared, "close"])
    return bool(((moved - np.log(factor[compared])).abs() < moved.abs()).mean() > 0.5)
