"""What a delivery means: whose prices, how often, as they were traded or adjusted for the dividends paid since.

Closes that are traded lie on a grid, cents mostly. Adjusted ones leave it before the last dividend, and do not fall
when one is paid. With the dividends at hand the adjustment can be undone, and if what comes out lies on the grid
again, it is what was traded.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from orchestration.market.bars import PRICE_COLUMNS, equal, split_adjusted

# Steps of prices. Fine ones of large prices are lost in single precision, so there are coarse ones too.
GRIDS = (1.0, 0.1, 0.05, 0.01, 0.005, 0.001)
# Of a step, and of a price; from where on of a step being on it says nothing.
GRID_TOLERANCE, SINGLE_PRECISION, LARGEST_TOLERANCE = 0.02, 1.2e-7, 0.25
# Closes before the last dividend that it takes to say that the adjustment was undone; and before and after it, that
# closes are adjusted although it cannot be.
LEAST_UNDONE, LEAST_BEFORE, LEAST_AFTER = 5, 20, 3
ON_GRID, OFF_GRID = 0.95, 0.5

# What else prices were once quoted in: parts of today's step, and fractions (in New York until 2001).
PARTS_OF_A_STEP, FRACTION = (1, 2, 4, 5, 8, 10), 1 / 64
# Below a dollar there are finer steps.
PENNY, PENNY_STEP = 1.0, 0.0001
# A split of up to so many shares for one, and of so many sessions at least between two of them.
MOST_SHARES, LEAST_OF_A_SPLIT = 50, 20

# A step that is found out: from so many moves, of which the smallest has up to so many steps, each by a whole number of
# them; and how near it must be to a step that prices are quoted in, or some of them, to be the same.
LEAST_MOVES, MOST_PARTS, STEP_TOLERANCE, SAME_STEP, MOST_MULTIPLES = 8, 60, 0.1, 1e-6, 20

# Steps of exchange rates, which no close is held against: finer than what single precision leaves of most prices.
FINE = (1e-4, 1e-5)

# What is rounded to no more decimals was quoted, or adjusted by somebody who rounds.
DECIMALS = 6

# Smaller splits look like ordinary moves; beside adjusted closes, like dividends.
LEAST_SPLIT, LEAST_TOLD = 1.3, 1.1

# Which part of a dividend the close falls by: at least so much (taxes take the rest). By how many standard errors a
# history must be away from that to be adjusted, from nothing to be not; and over how many dividends.
LEAST_FALL, SURE, LEAST_DIVIDENDS = 0.7, 3.0, 20


class PriceBasis(StrEnum):
    """What was taken out of prices after they were traded."""

    TRADED = "traded"
    SPLIT_ADJUSTED = "split_adjusted"
    DIVIDEND_ADJUSTED = "dividend_adjusted"  # and splits


class UnclearBasisError(Exception):
    """Closes may be adjusted for the dividends beside them or not."""


DOUBT = (
    "nothing tells whether the closes hold the dividends beside them; they were taken as prices that do not; "
    "if they do, say dividend_adjusted in price_basis.csv"
)


@dataclass(frozen=True)
class Established:
    """A delivery whose basis is known.

    Attributes:
        bars: on the basis of the last split; closes that could be put back to what was traded are.
        basis: split-adjusted, or adjusted for dividends too: then the returns hold them, and what was traded is
            unknown.
        note: what was found out and a person should know; empty if nothing.
    """

    bars: pd.DataFrame
    basis: PriceBasis = PriceBasis.SPLIT_ADJUSTED
    note: str = ""


def establish(delivered: pd.DataFrame, said: PriceBasis | None = None) -> Established:
    """Find out what a delivery's prices are, so that each dividend and each split counts once.

    Args:
        delivered: `RAW_COLUMNS` of a whole history.
        said: what its vendor or its owner says; None where nobody does.

    Raises:
        UnclearBasisError: there are dividends, and nothing tells whether the closes hold them.
    """
    if said is PriceBasis.SPLIT_ADJUSTED:
        return Established(delivered)
    if said is PriceBasis.TRADED:
        return Established(split_adjusted(_told(delivered)))
    if said is PriceBasis.DIVIDEND_ADJUSTED:
        return _put_back(delivered) or _adjusted(delivered)
    if is_as_traded(delivered) or _adjusted_closes_skip_splits(delivered):
        note = "prices were as traded before each split; they were put on the basis of the last one"
        return Established(split_adjusted(_told(delivered)), note=note)
    if not _says_nothing(delivered["adj_close"], delivered["close"]).all():
        return Established(delivered)
    return _recognised(delivered)


def _recognised(delivered: pd.DataFrame) -> Established:
    """The same where only closes and dividends tell."""
    known = _known_closes(delivered)
    paid = np.flatnonzero(known["dividend"] > 0)
    traded = known["close"].to_numpy() * _later_splits(known)
    if not len(paid):
        return _adjusted(delivered) if len(traded) and _left_the_grid(traded) else Established(delivered)
    last = int(paid[-1])
    if last < LEAST_UNDONE:
        return Established(delivered)
    falls = falls_by_dividends(known)
    if falls is not True and _share_on(traded[:last], _step_after(traded[last:])) < OFF_GRID:
        if back := _put_back(delivered):
            return back
        if falls is False or _left_the_grid(traded):
            return _adjusted(delivered)
    if falls is not None:
        return Established(delivered) if falls else _adjusted(delivered)
    if _on_a_grid(traded[:last]) >= OFF_GRID:
        # Rounded after they were adjusted, perhaps.
        return Established(delivered, note=DOUBT)
    if _by_a_split(traded[:last], 0.01):
        return Established(delivered)
    if (np.round(traded, DECIMALS) == traded).all():
        raise UnclearBasisError
    # Computed, not quoted: who computes prices takes dividends out or leaves them in as he says.
    return Established(delivered, note=DOUBT)


def _told(delivered: pd.DataFrame) -> pd.DataFrame:
    """The delivery; without adjusted closes if they are the closes: then they are of the same basis."""
    tells = not _says_nothing(delivered["adj_close"], delivered["close"]).all()
    return delivered if tells else delivered.assign(adj_close=np.nan)


def _says_nothing(adjusted: pd.Series, close: pd.Series) -> pd.Series:
    """Where an adjusted close is unknown, or the close itself."""
    return adjusted.isna() | equal(adjusted, close) | ((adjusted - close).abs() <= _decimals(adjusted.to_numpy()) / 2)


def _adjusted(delivered: pd.DataFrame) -> Established:
    """Closes that hold the dividends; those beside them are not counted again."""
    return Established(
        delivered.assign(adj_close=np.nan, dividend=np.where(delivered["dividend"].isna(), np.nan, 0.0)),
        PriceBasis.DIVIDEND_ADJUSTED,
        "closes are adjusted for dividends: returns hold the dividends, and as nobody knows what was traded, no level "
        "is watched; for both, export closes that are not adjusted (auto_adjust=False in yfinance)",
    )


def _put_back(delivered: pd.DataFrame) -> Established | None:
    """Adjusted closes as they were traded, on the basis of the last split; None if the dividends do not tell.

    Yahoo's adjustment multiplies what lies before a dividend D by 1 - D / C, with C the close before it. So from the
    adjusted close A and the factor f of the day of the dividend, the close before it is A / f + D.
    """
    known = _known_closes(delivered)
    paid = np.flatnonzero(known["dividend"] > 0)
    if not len(paid) or paid[-1] < LEAST_UNDONE:
        return None
    last, closes = int(paid[-1]), known["close"].to_numpy()
    factor = _factors(closes, known["dividend"].to_numpy())
    later = _later_splits(known)
    back, rounding = (closes * later / factor)[:last], _rounding(closes) * (later / factor)[:last]
    after = closes[last:] * later[last:]
    steps = GRIDS if len(after) < LEAST_AFTER else GRIDS[: GRIDS.index(_step_after(after)) + 1]
    if max(_on(back, step, rounding).mean() for step in steps) < ON_GRID:
        return None
    of_session = pd.Series(factor, index=known["session_date"])
    by_row = delivered["session_date"].map(of_session).fillna(1.0)
    prices = {name: delivered[name] / by_row for name in PRICE_COLUMNS}
    return Established(
        delivered.assign(adj_close=delivered["close"], **prices),
        note="closes came adjusted for dividends; with the dividends of the file they were put back to what was traded",
    )


def is_as_traded(delivered: pd.DataFrame) -> bool:
    """Whether closes were left as they were traded before each of several splits; a vendor's fault does so to one."""
    known = _known_closes(delivered)
    moves = np.diff(np.log(known["close"].to_numpy()), prepend=0.0)
    places, said = _splits(known, LEAST_SPLIT)
    return len(places) > 1 and bool((np.abs(moves[places] + said) < np.abs(moves[places])).all())


def _adjusted_closes_skip_splits(delivered: pd.DataFrame) -> bool:
    """Whether closes jump at every split, by what it says, and the adjusted closes beside them at none."""
    known = _known_closes(delivered)
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.log(known["adj_close"].to_numpy() / known["close"].to_numpy())
    places, said = _splits(known, LEAST_TOLD)
    told = factor[places] - factor[places - 1]
    return len(places) > 0 and bool((np.abs(told - said) < np.log(LEAST_TOLD) / 2).all())


def _splits(known: pd.DataFrame, least: float) -> tuple[np.ndarray, np.ndarray]:
    """The places of splits of a size or more that a session lies before, and the logarithms of their ratios."""
    ratio = np.log(known["split_ratio"].to_numpy())
    places = np.flatnonzero(np.abs(ratio) >= np.log(least))
    places = places[places > 0]
    return places, ratio[places]


def falls_by_dividends(known: pd.DataFrame) -> bool | None:
    """Whether closes fall when a dividend is paid, as traded ones do; None if the dividends are too few to tell.

    The part of the dividend that they fall by is the slope of a regression through the origin, of the returns of those
    days on dividend over the close before; its standard error comes from the returns of all other days.

    Args:
        known: close, dividend and split_ratio of each session, ascending, on the basis of the last split.
    """
    close, dividend = known["close"].to_numpy(), known["dividend"].to_numpy()
    returns = close[1:] / close[:-1] - 1
    yields = dividend[1:] / close[:-1]
    paid = yields > 0
    size = float(np.sqrt((yields**2).sum()))
    if paid.sum() < LEAST_DIVIDENDS or paid.all():
        return None
    fall = -float((returns * yields).sum()) / size**2
    error = float(returns[~paid].std()) / size
    if LEAST_FALL - fall > SURE * error:
        return False
    return True if fall > SURE * error else None


def _known_closes(delivered: pd.DataFrame) -> pd.DataFrame:
    """The last row of each session with a price, ascending; without a dividend 0, without a split 1."""
    known = delivered[delivered["session_date"].notna() & (delivered["close"] > 0) & np.isfinite(delivered["close"])]
    known = known.drop_duplicates("session_date", keep="last").sort_values("session_date")
    split = known["split_ratio"]
    return known.assign(dividend=known["dividend"].fillna(0.0), split_ratio=split.where(split > 0, 1.0))


def _later_splits(known: pd.DataFrame) -> np.ndarray:
    """The product of the splits after each session."""
    return np.append(np.cumprod(known["split_ratio"].to_numpy()[::-1])[::-1][1:], 1.0)


def _rounding(closes: np.ndarray) -> float:
    """By how much closes that are rounded to some decimals may be off; 0 if they are not."""
    return next((0.5 * 10.0**-n for n in range(1, DECIMALS + 1) if (np.round(closes, n) == closes).all()), 0.0)


def _factors(adjusted: np.ndarray, dividends: np.ndarray) -> np.ndarray:
    """By what each close was multiplied; 1 from the last dividend on."""
    factor = np.ones(len(adjusted))
    for place in range(len(adjusted) - 1, 0, -1):
        close_before = adjusted[place - 1] / factor[place] + dividends[place]
        factor[place - 1] = adjusted[place - 1] / close_before
    return factor


def _step_after(closes: np.ndarray) -> float:
    """The largest step that all closes after the last dividend are on; the finest where they are few, or on none."""
    if len(closes) < LEAST_AFTER:
        return GRIDS[-1]
    return next((step for step in GRIDS if _on(closes, step).all()), GRIDS[-1])


def _share_on(prices: np.ndarray, step: float) -> float:
    """The share of prices that are whole steps, or such fractions as were quoted once."""
    return float((_on(prices, step) | _on(prices, FRACTION)).mean())


def _on_a_grid(prices: np.ndarray) -> float:
    """The largest share of prices that are whole steps of the same size."""
    return max(_on(prices, step).mean() for step in GRIDS)


def _on(prices: np.ndarray, step: float, rounding: float = 0.0) -> np.ndarray:
    """Which prices are whole steps, but for single precision and a rounding; none where that is half a step.

    Args:
        prices: of any size.
        step: of the grid.
        rounding: by how much prices may be off besides.
    """
    tolerance = GRID_TOLERANCE + (SINGLE_PRECISION * prices + rounding) / step
    return (np.abs(prices / step - np.round(prices / step)) < tolerance) & (tolerance < LARGEST_TOLERANCE)


def _left_the_grid(closes: np.ndarray) -> bool:
    """Whether closes lie on a grid at the end of a history and on none before, as those adjusted for dividends do.

    Or at the end on one of their own, where a dividend followed that the history does not have. Other steps and
    fractions of former times, and splits that the history does not name, are told from that.
    """
    if _on_a_grid(closes) < OFF_GRID and _is_odd(_own_step(closes[-LEAST_OF_A_SPLIT:])):
        return True
    for step in GRIDS:
        off = np.flatnonzero(~_on(closes, step))
        if not len(off):
            return False
        if len(closes) - off[-1] <= LEAST_AFTER:
            continue
        before = closes[: off[-1] + 1]
        grids = np.array([_on(before, step / part) for part in PARTS_OF_A_STEP])
        pennies = (before < PENNY) & _on(before, PENNY_STEP)
        if len(before) < LEAST_BEFORE or (grids | _on(before, FRACTION) | pennies).mean(axis=1).max() >= OFF_GRID:
            return False
        return not _by_a_split(before, step)
    return False


def _own_step(closes: np.ndarray) -> float | None:
    """The largest step that closes are whole multiples of; None if there is none that many would not have by chance."""
    moves = np.sort(np.abs(np.diff(closes)))
    moves = moves[moves > 1e-6 * closes[:1]]
    if len(moves) < LEAST_MOVES:
        return None
    for parts in range(1, MOST_PARTS + 1):
        # From the smallest move on, each larger one makes the step more exact.
        step = moves[0] / parts
        for move in moves:
            times = np.round(move / step)
            if abs(move / step - times) > STEP_TOLERANCE:
                break
            step = move / times
        else:
            step = np.mean(closes / np.round(closes / step))
            if _on(closes, step).all():
                return float(step)
    return None


def _is_odd(step: float | None) -> bool:
    """Whether a step is none that prices are quoted in, nor a whole part of one, as after a split."""
    if step is None:
        return False
    quoted = np.array([*GRIDS, FRACTION, *FINE])[:, np.newaxis] / np.arange(1, MOST_SHARES + 1)
    multiples = step / quoted
    same = np.abs(multiples - np.round(multiples)) < SAME_STEP * multiples
    return not same[(multiples > 0.5) & (multiples < MOST_MULTIPLES)].any()


def _by_a_split(closes: np.ndarray, step: float) -> bool:
    """Whether whole multiples of closes lie on a grid, as before a split: of most of the times, each its own."""
    times = [closes[n : n + LEAST_OF_A_SPLIT] for n in range(0, len(closes), LEAST_OF_A_SPLIT)]
    shares = [max(_on(part * n, step).mean() for n in range(2, MOST_SHARES + 1)) for part in times]
    return bool(np.mean(np.array(shares) >= ON_GRID) > OFF_GRID)


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
# Two bars of an instrument may differ: those are marked one by one (`int_bar_anomalies`).
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
        traded = close * _later_splits(bars)
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
