"""Dividends and splits of rows without a close: carried to the next accepted bar, over which a holder receives them.

To the bar before they would be paid to those who had it too early.
"""

import numpy as np
import pandas as pd

from orchestration.market.bars import split_ratio


def has_action_alone(frame: pd.DataFrame, last_closed: pd.Timestamp) -> pd.Series:
    """Rows that can be read, lie in the past and have a sound dividend or split, but no close."""
    dividend, split = frame["dividend"].fillna(0.0), frame["split_ratio"].fillna(0.0)
    sound = (dividend >= 0) & np.isfinite(dividend) & (split >= 0) & np.isfinite(split)
    has_action = (dividend > 0) | ((split > 0) & (split != 1))
    # A date that is none compares as False.
    past = frame["session_date"] <= last_closed
    return frame["parse_error"].isna() & past & frame["close"].isna() & sound & has_action


def carry_actions(
    alone: pd.DataFrame, good: pd.DataFrame, stored: pd.DataFrame | None
) -> tuple[pd.DataFrame, dict[int, str]]:
    """The good rows with the actions of the others, and for each carried row a text that says where to.

    An action is not carried if no good row follows, if its own session has a good row, or if rows of its session
    disagree.

    Args:
        alone: rows with an action and without a close.
        good: rows with a close, ascending, one per session.
        stored: stored bars; an action that one of them has already is not carried to another one.
    """
    if alone.empty or good.empty:
        return good, {}
    days = good["session_date"].to_numpy()
    dividends = good["dividend"].fillna(0.0).to_numpy().copy()
    splits = split_ratio(good).to_numpy().copy()
    paid, had_split = _days_with_actions(stored)
    alone = alone.assign(dividend=alone["dividend"].fillna(0.0), split_ratio=split_ratio(alone))
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
        where = f"the row has no close; its {' and its '.join(what)} went to {pd.Timestamp(days[place]).date()}"
        carried |= dict.fromkeys(rows.index, where)
    return (good.assign(dividend=dividends, split_ratio=splits), carried) if carried else (good, {})


def _days_with_actions(stored: pd.DataFrame | None) -> tuple[set[pd.Timestamp], set[pd.Timestamp]]:
    """Sessions whose stored bar has a dividend, and those whose stored bar has a split."""
    if stored is None:
        return set(), set()
    split = stored["split_ratio"].fillna(1.0) != 1
    return set(stored.loc[stored["dividend"] > 0, "session_date"]), set(stored.loc[split, "session_date"])
