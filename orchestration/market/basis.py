"""What a delivery means: whose prices, how often, as they were traded or adjusted for the dividends paid since.

Closes that are traded lie on a grid, cents mostly. Adjusted ones leave it before the last dividend. With the dividends
at hand the adjustment can be undone, and if what comes out lies on the grid again, it is what was traded.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestration.market.bars import PRICE_COLUMNS

# Steps of prices. Fine ones of large prices are lost in single precision, so there are coarse ones too.
GRIDS = (1.0, 0.1, 0.05, 0.01, 0.005, 0.001)
# Of a step; single precision of a price of a hundred thousand steps.
GRID_TOLERANCE = 0.02
# Closes before the last dividend that it takes to say that the adjustment was undone; and before and after it, that
# closes are adjusted although it cannot be.
LEAST_UNDONE, LEAST_BEFORE, LEAST_AFTER = 5, 20, 3
ON_GRID, OFF_GRID = 0.95, 0.5


# Smaller splits look like ordinary moves.
LEAST_SPLIT = 1.3


def is_as_traded(delivered: pd.DataFrame) -> bool:
    """Whether closes were left as they were traded before each of several splits; a vendor's fault does so to one."""
    known = _known_closes(delivered)
    ratio = known["split_ratio"].to_numpy()
    moves = np.diff(np.log(known["close"].to_numpy()), prepend=0.0)
    places = np.flatnonzero(np.abs(np.log(ratio)) >= np.log(LEAST_SPLIT))
    places = places[places > 0]
    said = np.log(ratio[places])
    return len(places) > 1 and bool((np.abs(moves[places] + said) < np.abs(moves[places])).all())


@dataclass(frozen=True)
class Basis:
    """What was found out about a delivery with dividends and without adjusted closes.

    Attributes:
        bars: the delivery, with closes that were traded and, where they came adjusted, the adjusted ones beside them.
        was_adjusted: whether the closes were adjusted for dividends.
        is_clear: whether what was traded is known.
    """

    bars: pd.DataFrame
    was_adjusted: bool
    is_clear: bool


def without_dividend_adjustment(delivered: pd.DataFrame) -> Basis:
    """Closes as they were traded, on the basis of the last session's splits.

    Yahoo's adjustment multiplies what lies before a dividend D by 1 - D / C, with C the close before it. So from the
    adjusted close A and the factor f of the day of the dividend, the close before it is A / f + D.

    Args:
        delivered: `RAW_COLUMNS` of a whole history; nothing is known of its adjusted closes.
    """
    known = _known_closes(delivered)
    paid = np.flatnonzero(known["dividend"] > 0)
    if not len(paid):
        return Basis(delivered, was_adjusted=False, is_clear=True)
    closes, last = known["close"].to_numpy(), int(paid[-1])
    later_splits = np.append(np.cumprod(known["split_ratio"].to_numpy()[::-1])[::-1][1:], 1.0)
    traded = closes * later_splits
    if last < LEAST_UNDONE or _on_a_grid(traded[:last]) >= OFF_GRID:
        return Basis(delivered, was_adjusted=False, is_clear=True)
    factor = _factors(closes, known["dividend"].to_numpy())
    if _on_a_grid(traded[:last] / factor[:last]) < ON_GRID:
        # What lies on no grid even after the last dividend, such as a net asset value, says nothing.
        tells = last >= LEAST_BEFORE and len(known) - last >= LEAST_AFTER and _on_a_grid(traded[last:]) >= ON_GRID
        return Basis(delivered, was_adjusted=tells, is_clear=not tells)
    of_session = pd.Series(factor, index=known["session_date"])
    by_row = delivered["session_date"].map(of_session).fillna(1.0)
    prices = {name: delivered[name] / by_row for name in PRICE_COLUMNS}
    return Basis(delivered.assign(adj_close=delivered["close"], **prices), was_adjusted=True, is_clear=True)


def _known_closes(delivered: pd.DataFrame) -> pd.DataFrame:
    """The last row of each session with a price, ascending; without a dividend 0, without a split 1."""
    known = delivered[delivered["session_date"].notna() & (delivered["close"] > 0) & np.isfinite(delivered["close"])]
    known = known.drop_duplicates("session_date", keep="last").sort_values("session_date")
    split = known["split_ratio"]
    return known.assign(dividend=known["dividend"].fillna(0.0), split_ratio=split.where(split > 0, 1.0))


def _factors(adjusted: np.ndarray, dividends: np.ndarray) -> np.ndarray:
    """By what each close was multiplied; 1 from the last dividend on."""
    factor = np.ones(len(adjusted))
    for place in range(len(adjusted) - 1, 0, -1):
        close_before = adjusted[place - 1] / factor[place] + dividends[place]
        factor[place - 1] = adjusted[place - 1] / close_before
    return factor


def _on_a_grid(prices: np.ndarray) -> float:
    """The largest share of prices that are whole steps of the same size."""
    steps = prices[:, np.newaxis] / np.array(GRIDS)
    return float(np.mean(np.abs(steps - np.round(steps)) < GRID_TOLERANCE, axis=0).max())


# Fewer distances between sessions tell nothing.
LEAST_STEPS = 4
# Of bars that are not daily: days from one to the next, at least and at most.
_STEPS = ((5, 10, "weekly"), (20, 40, "monthly"), (80, 110, "quarterly"), (330, 400, "yearly"))
# How many distances are of the same kind, for all holidays and holes; and how many are those of a daily history.
SAME_STEPS, DAILY_STEPS, DAYS_OF_A_STEP = 0.6, 0.2, 4


def frequency(days: pd.Series) -> str:
    """`daily`, or what the distances between the dates say that the bars are.

    Bars of some days of a long time, whatever they are, are not told from daily ones with holes.
    """
    steps = np.diff(np.unique(days.dropna().to_numpy())).astype("timedelta64[D]").astype(int)
    if len(steps) < LEAST_STEPS or np.mean(steps <= DAYS_OF_A_STEP) > DAILY_STEPS:
        return "daily"
    shares = {name: np.mean((steps >= least) & (steps <= most)) for least, most, name in _STEPS}
    return next((name for name, share in shares.items() if share >= SAME_STEPS), "daily")


# Of a return: single precision of both adjusted closes.
DISAGREEMENT = 2e-5
# Two bars of an instrument may differ: those are marked one by one (`stg_suspect_bars`).
DISAGREEMENTS_ALLOWED = 2


def contradicted_sessions(bars: pd.DataFrame, sessions: pd.DatetimeIndex, tick_size: float) -> list[pd.Timestamp]:
    """Sessions over which a delivery's adjusted closes tell another return than its closes and dividends.

    The data test `vendor_adjustment_agrees` asks the same of all that is stored; here one delivery is asked, before it
    is stored.

    Args:
        bars: accepted rows, ascending.
        sessions: of the exchange, ascending; returns over a hole are not compared.
        tick_size: smallest step of the price.
    """
    close, adjusted = bars["close"].to_numpy(), bars["adj_close"].to_numpy()
    dividend = bars["dividend"].to_numpy()
    if len(bars) <= DISAGREEMENTS_ALLOWED or np.isnan(adjusted).all():
        return []
    place = sessions.searchsorted(pd.DatetimeIndex(bars["session_date"]))
    with np.errstate(invalid="ignore", divide="ignore"):
        ours = close[1:] / (close[:-1] - dividend[1:])
        difference = np.abs(adjusted[1:] / adjusted[:-1] / ours - 1)
        tolerance = DISAGREEMENT + _decimals(adjusted) / np.minimum(adjusted[1:], adjusted[:-1])
        later_splits = np.append(np.cumprod(bars["split_ratio"].to_numpy()[::-1])[::-1][1:], 1.0)
        traded = close * later_splits
        if (np.abs(traded - np.round(traded, 4)) < 1e-9).all():
            tolerance = tolerance + tick_size / np.minimum(traded[1:], traded[:-1])
    # A dividend as large as the price is not comparable, and unknown compares as False.
    wrong = (difference > tolerance) & (np.diff(place) == 1) & (dividend[1:] < close[:-1])
    return [pd.Timestamp(day) for day in bars["session_date"].to_numpy()[1:][wrong]]


def _decimals(adjusted: np.ndarray) -> float:
    """The unit that adjusted closes are rounded to; 0 if to none that matters."""
    known = adjusted[~np.isnan(adjusted)]
    return next((10.0**-n * 1.01 for n in (2, 4) if (known == np.round(known, n)).all()), 0.0)


# Sessions in a row that it takes to tell one company from another, and by how much most of their returns differ then.
LEAST_RETURNS, OTHER_RETURNS = 20, 0.001


def other_returns(delivered: pd.DataFrame, stored: pd.DataFrame) -> tuple[int, int]:
    """Over how many sessions a whole history tells another return than what is stored, and of how many.

    A new basis, another unit or other dividends change prices and next to no return; another company has returns of
    its own. With fewer sessions than tell, nothing is compared.

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
