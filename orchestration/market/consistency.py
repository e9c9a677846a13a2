"""Whether a delivery agrees with itself and with what is stored: its frequency, its adjusted closes, its returns."""

import numpy as np
import pandas as pd

from orchestration.market.bars import Columns, splits_after
from orchestration.market.price_grid import rounding_unit

# With fewer distances between sessions the frequency is unknown.
LEAST_STEPS = 4
# Of bars that are not daily: days from one to the next, at least and at most.
_STEPS = ((5, 10, "weekly"), (20, 40, "monthly"), (80, 110, "quarterly"), (330, 400, "yearly"))
# How many distances are of the same kind, for all holidays and holes; and how many are those of a daily history.
SAME_STEPS, DAILY_STEPS, DAYS_OF_A_STEP = 0.6, 0.2, 4

# Of a return: single precision of both adjusted closes.
DISAGREEMENT = 2e-5
# Two bars of an instrument may differ: those are marked one by one (`int_bar_anomalies`).
DISAGREEMENTS_ALLOWED = 2

# Sessions in a row that it takes to tell one company from another, and by how much most of their returns differ then.
LEAST_RETURNS, OTHER_RETURNS = 20, 0.001


def frequency(days: np.ndarray | pd.Series) -> str:
    """`daily`, `weekly`, `monthly`, `quarterly` or `yearly`, by the distances between the dates.

    Daily bars with holes count as daily.
    """
    days = np.asarray(days)
    steps = np.diff(np.unique(days[~np.isnat(days)])).astype("timedelta64[D]").astype(int)
    if len(steps) < LEAST_STEPS or np.mean(steps <= DAYS_OF_A_STEP) > DAILY_STEPS:
        return "daily"
    shares = {name: np.mean((steps >= least) & (steps <= most)) for least, most, name in _STEPS}
    return next((name for name, share in shares.items() if share >= SAME_STEPS), "daily")


def contradicted_sessions(bars: Columns, sessions: pd.DatetimeIndex, tick_size: float) -> list[pd.Timestamp]:
    """Sessions over which a delivery's adjusted closes give another return than its closes and dividends.

    The data test `vendor_adjustment_agrees` checks the same in all that is stored.

    Args:
        bars: accepted rows, ascending.
        sessions: of the exchange, ascending; returns over a hole are not compared.
        tick_size: smallest step of the price.
    """
    days, close, adjusted, dividend, split = (
        np.asarray(bars[name]) for name in ("session_date", "close", "adj_close", "dividend", "split_ratio")
    )
    if len(days) <= DISAGREEMENTS_ALLOWED or np.isnan(adjusted).all():
        return []
    place = sessions.to_numpy().searchsorted(days)
    with np.errstate(invalid="ignore", divide="ignore"):
        ours = close[1:] / (close[:-1] - dividend[1:])
        difference = np.abs(adjusted[1:] / adjusted[:-1] / ours - 1)
        # Rounded to cents or to four decimals, and a little more.
        unit = 1.01 * rounding_unit(adjusted, (2, 4))
        tolerance = DISAGREEMENT + unit / np.minimum(adjusted[1:], adjusted[:-1])
        traded = close * splits_after(days, days, split)
        if (np.abs(traded - np.round(traded, 4)) < 1e-9).all():
            tolerance = tolerance + tick_size / np.minimum(traded[1:], traded[:-1])
    # A dividend as large as the price is not comparable, and unknown compares as False.
    wrong = (difference > tolerance) & (np.diff(place) == 1) & (dividend[1:] < close[:-1])
    return [pd.Timestamp(day) for day in days[1:][wrong]]


def other_returns(delivered: pd.DataFrame, stored: pd.DataFrame) -> tuple[int, int]:
    """Over how many sessions a whole history has another return than what is stored, and of how many.

    A new basis, another unit or other dividends change prices and next to no return; another company has returns of
    its own. Too few sessions are not compared: 0 of 0.

    Args:
        delivered: accepted rows, ascending.
        stored: the newest stored versions, ascending.
    """
    days = delivered["session_date"].to_numpy().astype("datetime64[s]")
    known = stored["session_date"].to_numpy().astype("datetime64[s]")
    _, here, there = np.intersect1d(days, known, assume_unique=True, return_indices=True)
    if len(here) <= LEAST_RETURNS:
        return 0, 0
    new = np.diff(np.log(delivered["close"].to_numpy(dtype=float)[here]))
    old = np.diff(np.log(stored["close"].to_numpy(dtype=float)[there]))
    return int((np.abs(new - old) > OTHER_RETURNS).sum()), len(new)
