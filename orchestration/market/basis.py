"""What prices mean: as they were traded, split-adjusted, or adjusted for the dividends paid since too.

Adjusted closes leave the grid of traded prices (`price_grid`) before the last dividend, and do not fall when one is
paid. With the dividends at hand the adjustment can be undone, and if what comes out lies on the grid again, it is what
was traded.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestration.market import price_grid as grid
from orchestration.market.bars import PRICE_COLUMNS, equal, split_adjusted, split_ratio, splits_after
from orchestration.market.price_basis import PriceBasis

# Closes before the last dividend that it takes to say that the adjustment was undone.
LEAST_UNDONE = 5

# What is rounded to no more decimals was quoted, or adjusted by somebody who rounds.
DECIMALS = 6

# Smaller splits look like ordinary moves; beside adjusted closes, like dividends.
LEAST_SPLIT, LEAST_SPLIT_BESIDE_ADJUSTED = 1.3, 1.1

# Which part of a dividend the close falls by: at least so much (taxes take the rest). By how many standard errors a
# history must be away from that to be adjusted, from nothing to be not; and over how many dividends.
LEAST_FALL, SURE, LEAST_DIVIDENDS = 0.7, 3.0, 20


class UnclearBasisError(Exception):
    """Closes may be adjusted for the dividends beside them or not."""


DOUBT = (
    "nothing tells whether the closes hold the dividends beside them; they were taken as prices that do not; "
    "if they do, say dividend_adjusted in price_basis.csv"
)


@dataclass(frozen=True)
class Established:
    """A delivery whose basis is known."""

    bars: pd.DataFrame  # on the basis of the last split; closes that could be put back to what was traded are
    # Split-adjusted, or adjusted for dividends too: then the returns hold them, and what was traded is unknown.
    basis: PriceBasis = PriceBasis.SPLIT_ADJUSTED
    note: str = ""  # for a person; empty if there is nothing to know


def establish(delivered: pd.DataFrame, declared: PriceBasis | None = None) -> Established:
    """The delivery on a known basis, so that each dividend and each split counts once.

    Args:
        delivered: `RAW_COLUMNS` of a whole history.
        declared: the basis by its vendor or its owner; None where it has to be recognised.

    Raises:
        UnclearBasisError: there are dividends, and nothing tells whether the closes hold them.
    """
    if declared is PriceBasis.SPLIT_ADJUSTED:
        return Established(delivered)
    if declared is PriceBasis.TRADED:
        return Established(split_adjusted(_without_equal_adjusted(delivered)))
    if declared is PriceBasis.DIVIDEND_ADJUSTED:
        return _put_back(delivered) or _adjusted(delivered)
    if is_as_traded(delivered) or _adjusted_closes_skip_splits(delivered):
        note = "prices were as traded before each split; they were put on the basis of the last one"
        return Established(split_adjusted(_without_equal_adjusted(delivered)), note=note)
    if not _equals_close(delivered["adj_close"], delivered["close"]).all():
        return Established(delivered)
    return _recognised(delivered)


def _recognised(delivered: pd.DataFrame) -> Established:
    """The same, recognised by closes and dividends alone."""
    known = _known_closes(delivered)
    paid = np.flatnonzero(known["dividend"] > 0)
    traded = known["close"].to_numpy() * _later_splits(known)
    if not len(paid):
        return _adjusted(delivered) if len(traded) and grid.left_the_grid(traded) else Established(delivered)
    last = int(paid[-1])
    if last < LEAST_UNDONE:
        return Established(delivered)
    falls = falls_by_dividends(known)
    if falls is not True and grid.share_on(traded[:last], grid.step_after(traded[last:])) < grid.OFF_GRID:
        if back := _put_back(delivered):
            return back
        if falls is False or grid.left_the_grid(traded):
            return _adjusted(delivered)
    if falls is not None:
        return Established(delivered) if falls else _adjusted(delivered)
    if grid.share_on_a_grid(traded[:last]) >= grid.OFF_GRID:
        # Rounded after they were adjusted, perhaps.
        return Established(delivered, note=DOUBT)
    if grid.before_a_split(traded[:last], 0.01):
        return Established(delivered)
    if (np.round(traded, DECIMALS) == traded).all():
        raise UnclearBasisError
    # Computed, not quoted: who computes prices takes dividends out or leaves them in as he says.
    return Established(delivered, note=DOUBT)


def _without_equal_adjusted(delivered: pd.DataFrame) -> pd.DataFrame:
    """The delivery; without its adjusted closes if all of them are closes."""
    adds = not _equals_close(delivered["adj_close"], delivered["close"]).all()
    return delivered if adds else delivered.assign(adj_close=np.nan)


def _equals_close(adjusted: pd.Series, close: pd.Series) -> pd.Series:
    """Where an adjusted close is unknown or equals the close."""
    rounding = 1.01 * grid.rounding_unit(adjusted.to_numpy(), (2, 4))
    return adjusted.isna() | equal(adjusted, close) | ((adjusted - close).abs() <= rounding / 2)


def _adjusted(delivered: pd.DataFrame) -> Established:
    """Closes that hold the dividends; those beside them are not counted again."""
    return Established(
        delivered.assign(adj_close=np.nan, dividend=np.where(delivered["dividend"].isna(), np.nan, 0.0)),
        PriceBasis.DIVIDEND_ADJUSTED,
        "closes are adjusted for dividends: returns hold the dividends, and as nobody knows what was traded, no level "
        "is watched; for both, export closes that are not adjusted (auto_adjust=False in yfinance)",
    )


def _put_back(delivered: pd.DataFrame) -> Established | None:
    """Adjusted closes put back to the traded ones, on the basis of the last split; None if that leads to no grid.

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
    back, rounding = (
        (closes * later / factor)[:last],
        0.5 * grid.rounding_unit(closes, range(1, DECIMALS + 1)) * (later / factor)[:last],
    )
    after = closes[last:] * later[last:]
    steps = grid.GRIDS if len(after) < grid.LEAST_AFTER else grid.GRIDS[: grid.GRIDS.index(grid.step_after(after)) + 1]
    if max(grid.on_step(back, step, rounding).mean() for step in steps) < grid.ON_GRID:
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
    places, ratios = _splits(known, LEAST_SPLIT)
    return len(places) > 1 and bool((np.abs(moves[places] + ratios) < np.abs(moves[places])).all())


def _adjusted_closes_skip_splits(delivered: pd.DataFrame) -> bool:
    """Whether closes jump at every split by its ratio, and the adjusted closes beside them at none."""
    known = _known_closes(delivered)
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.log(known["adj_close"].to_numpy() / known["close"].to_numpy())
    places, ratios = _splits(known, LEAST_SPLIT_BESIDE_ADJUSTED)
    jumps = factor[places] - factor[places - 1]
    return len(places) > 0 and bool((np.abs(jumps - ratios) < np.log(LEAST_SPLIT_BESIDE_ADJUSTED) / 2).all())


def _splits(known: pd.DataFrame, least: float) -> tuple[np.ndarray, np.ndarray]:
    """The places of splits of at least a size, but for the first session, and the logarithms of their ratios."""
    ratio = np.log(known["split_ratio"].to_numpy())
    places = np.flatnonzero(np.abs(ratio) >= np.log(least))
    places = places[places > 0]
    return places, ratio[places]


def falls_by_dividends(known: pd.DataFrame) -> bool | None:
    """Whether closes fall when a dividend is paid, as traded ones do; None if the dividends are too few.

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
    return known.assign(dividend=known["dividend"].fillna(0.0), split_ratio=split_ratio(known))


def _later_splits(known: pd.DataFrame) -> np.ndarray:
    """The product of the splits after each session."""
    return splits_after(known["session_date"], known["session_date"], known["split_ratio"])


def _factors(adjusted: np.ndarray, dividends: np.ndarray) -> np.ndarray:
    """By what each close was multiplied; 1 from the last dividend on."""
    factor = np.ones(len(adjusted))
    for place in range(len(adjusted) - 1, 0, -1):
        close_before = adjusted[place - 1] / factor[place] + dividends[place]
        factor[place - 1] = adjusted[place - 1] / close_before
    return factor
