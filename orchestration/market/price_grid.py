"""The steps that prices are quoted in: which closes are whole steps, and since when.

Traded closes lie on a grid, cents mostly. Closes that are adjusted for dividends leave it before the last dividend.
"""

from collections.abc import Iterable

import numpy as np

# Steps of prices. Fine ones of large prices are lost in single precision, so there are coarse ones too.
GRIDS = (1.0, 0.1, 0.05, 0.01, 0.005, 0.001)
# Tolerances as parts of a step and of a price; with the largest, of a step, nearly every price would be on the grid.
GRID_TOLERANCE, SINGLE_PRECISION, LARGEST_TOLERANCE = 0.02, 1.2e-7, 0.25
# Closes left the grid: so many at least before, and after the last one off it; and which shares lie on it.
LEAST_BEFORE, LEAST_AFTER = 20, 3
ON_GRID, OFF_GRID = 0.95, 0.5

# What else prices were once quoted in: parts of today's step, and fractions (in New York until 2001).
PARTS_OF_A_STEP, FRACTION = (1, 2, 4, 5, 8, 10), 1 / 64

# Below a dollar there are finer steps.
PENNY, PENNY_STEP = 1.0, 0.0001
# A split of up to so many shares for one, and of so many sessions at least between two of them.
MOST_SHARES, LEAST_OF_A_SPLIT = 50, 20

# The step that closes themselves show: of so many moves at least, the smallest of up to so many steps; how far a move
# may be from whole steps; and when that step counts as one that prices are quoted in, or as up to so many of them.
LEAST_MOVES, MOST_PARTS, STEP_TOLERANCE, SAME_STEP, MOST_MULTIPLES = 8, 60, 0.1, 1e-6, 20

# Steps of exchange rates: finer than what single precision leaves of most prices, so closes are not compared with them.
FINE = (1e-4, 1e-5)


def step_after(closes: np.ndarray) -> float:
    """The largest step that all closes after the last dividend are on; the finest where they are few, or on none."""
    if len(closes) < LEAST_AFTER:
        return GRIDS[-1]
    return next((step for step in GRIDS if on_step(closes, step).all()), GRIDS[-1])


def share_on(prices: np.ndarray, step: float) -> float:
    """The share of prices that are whole steps, or such fractions as were quoted once."""
    return float((on_step(prices, step) | on_step(prices, FRACTION)).mean())


def share_on_a_grid(prices: np.ndarray) -> float:
    """The largest share of prices that are whole steps of the same size."""
    return max(on_step(prices, step).mean() for step in GRIDS)


def on_step(prices: np.ndarray, step: float, rounding: float = 0.0) -> np.ndarray:
    """Which prices are whole steps, but for single precision and a rounding; none where that is half a step.

    Args:
        prices: of any size.
        step: of the grid.
        rounding: by how much prices may be off besides.
    """
    tolerance = GRID_TOLERANCE + (SINGLE_PRECISION * prices + rounding) / step
    return (np.abs(prices / step - np.round(prices / step)) < tolerance) & (tolerance < LARGEST_TOLERANCE)


def left_the_grid(closes: np.ndarray) -> bool:
    """Whether closes lie on a grid at the end of a history and on none before, as those adjusted for dividends do.

    Or at the end on an odd step of their own, because a dividend followed that the history does not have. Steps and
    fractions of former times, and splits that the history does not name, do not count.
    """
    if share_on_a_grid(closes) < OFF_GRID and _is_odd(_own_step(closes[-LEAST_OF_A_SPLIT:])):
        return True
    for step in GRIDS:
        off = np.flatnonzero(~on_step(closes, step))
        if not len(off):
            return False
        if len(closes) - off[-1] <= LEAST_AFTER:
            continue
        before = closes[: off[-1] + 1]
        grids = np.array([on_step(before, step / part) for part in PARTS_OF_A_STEP])
        pennies = (before < PENNY) & on_step(before, PENNY_STEP)
        if len(before) < LEAST_BEFORE or (grids | on_step(before, FRACTION) | pennies).mean(axis=1).max() >= OFF_GRID:
            return False
        return not before_a_split(before, step)
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
            if on_step(closes, step).all():
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


def before_a_split(closes: np.ndarray, step: float) -> bool:
    """Whether multiples of closes lie on a grid, as before a split; each stretch of the history may have its own."""
    times = [closes[n : n + LEAST_OF_A_SPLIT] for n in range(0, len(closes), LEAST_OF_A_SPLIT)]
    shares = [max(on_step(part * n, step).mean() for n in range(2, MOST_SHARES + 1)) for part in times]
    return bool(np.mean(np.array(shares) >= ON_GRID) > OFF_GRID)


def rounding_unit(prices: np.ndarray, decimals: Iterable[int]) -> float:
    """The unit that all known prices are rounded to, of the first fitting number of decimals; 0 if none fits."""
    known = prices[~np.isnan(prices)]
    return next((10.0**-n for n in decimals if (known == np.round(known, n)).all()), 0.0)
