"""Do levels hold? Tests of lines and zones, how they ended, and the same of lines that nobody ever named."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

ABOVE, BELOW = "above", "below"
# A price has come to a level that it is within 1 % of; it is away from 1 % and half the average range on.
REACH = 0.01
# What neither held nor failed within so many sessions counts for neither.
LONGEST = 21
# A level that nobody named: the same, moved by so much.
SHIFTS = tuple(sign * step / 100 for step in range(3, 31, 3) for sign in (1, -1))
# A grid that nobody sees: round numbers moved by these parts of their step. Half a step is round itself (Osler 2003).
GRID_SHIFTS = (0.37, 0.63)
# A moved level so near to a watched one is left out.
TOO_NEAR = 0.01
HELD, FAILED, OPEN = 1, 0, -1
# Floats of prices, as levels are compared everywhere.
DIGITS = 6


@dataclass(frozen=True)
class Bars:
    """Prices of one instrument in the order of their sessions, all in the prices of one day.

    Attributes:
        low, high, close: of each session.
        atr: the average range of 14; NaN where it is unknown.
    """

    low: "Floats"
    high: "Floats"
    close: "Floats"
    atr: "Floats"


@dataclass(frozen=True)
class LevelTest:
    """One test that was decided.

    Attributes:
        side: from which the price came: above or below.
        place: of the session on which it came.
        held: whether it turned.
    """

    side: str
    place: int
    held: bool


def level_tests(bars: Bars, lower: "Floats", upper: "Floats") -> Iterator[LevelTest]:
    """The tests of lines or zones that were decided; of each one at a time, from whichever side.

    A test begins where the close before was away and the bar reaches the level. From the next session on it has held
    with the first close away on the old side, and failed with two closes in a row beyond; of a zone, beyond all of it.

    Args:
        bars: of their instrument.
        lower: edges, a row for each level and a column for each session, in the prices of the bars; NaN where none is
            watched.
        upper: edges; for a line the same.
    """
    away = (
        _rounded(bars.close - upper) > _least(upper, bars.atr),
        _rounded(lower - bars.close) > _least(lower, bars.atr),
    )
    near = _rounded(bars.low) <= _rounded((1 + REACH) * upper), _rounded(bars.high) >= _rounded((1 - REACH) * lower)
    found: list[tuple[int, int, str, int, int]] = []
    for side, at, edges, sign in ((ABOVE, 0, (upper, lower), 1), (BELOW, 1, (lower, upper), -1)):
        lines, places = np.nonzero(away[at][:, :-1] & near[at][:, 1:])
        places += 1
        ends, outcomes = _ends(bars, places, edges[0][lines, places], edges[1][lines, places], sign)
        columns = (lines.tolist(), places.tolist(), [side] * len(places), ends.tolist(), outcomes.tolist())
        found += zip(*columns, strict=True)
    before, free = -1, 0
    for line, place, side, end, outcome in sorted(found):
        if line == before and place < free:
            continue
        before, free = line, end + 1
        if outcome in (HELD, FAILED):
            yield LevelTest(side, place, outcome == HELD)


def _ends(bars: Bars, places: "Places", near: "Floats", far: "Floats", sign: int) -> "tuple[Places, Places]":
    """Where tests ended, and how: held, failed, open."""
    at = places[:, None] + np.arange(1, LONGEST + 1)
    is_there = at < len(bars.close)
    at = np.where(is_there, at, 0)
    close, atr = bars.close[at], bars.atr[at]
    away = is_there & (_rounded(sign * (close - near[:, None])) > _least(near[:, None], atr))
    beyond = is_there & (_rounded(sign * (close - far[:, None])) < 0)
    beyond[:, 1:] &= beyond[:, :-1].copy()
    beyond[:, 0] = False
    held, failed = (np.where(flags.any(axis=1), flags.argmax(axis=1), LONGEST) for flags in (away, beyond))
    outcomes = np.where(held < failed, HELD, np.where(failed < held, FAILED, OPEN))
    return places + np.minimum(np.minimum(held, failed) + 1, LONGEST), outcomes


def _least(level: "Floats", atr: "Floats") -> "Floats":
    """From where on a close is away from a level."""
    return _rounded(np.fmax(REACH * level, atr / 2))


def _rounded(prices: "Floats") -> "Floats":
    return np.round(prices, DIGITS)


def moved(lower: "Floats", upper: "Floats", watched: "Floats") -> "tuple[Floats, Floats]":
    """The same line or zone at prices that nobody named: moved up and down, but for where a watched level is near.

    Args:
        lower: edge on each session.
        upper: edge.
        watched: all lines and edges of the instrument, a row each, on the same sessions.

    Returns:
        Lower and upper edges, a row for each.
    """
    factors = 1 + np.array(SHIFTS)[:, None]
    edges = factors * lower, factors * upper
    is_near = [(np.abs(edge[:, None] / watched - 1) <= TOO_NEAR).any(axis=(1, 2)) for edge in edges]
    kept = ~(is_near[0] | is_near[1])
    return edges[0][kept], edges[1][kept]


def round_numbers(low: float, high: float, shift: float = 0.0) -> "Floats":
    """The round numbers between two prices: 1, 2, ... 9, 10, 20, ...; or all of them, moved by a part of their step.

    Args:
        low: a price above 0.
        high: another one.
        shift: of the step of its magnitude.
    """
    magnitudes = 10.0 ** np.arange(np.floor(np.log10(low)) - 1, np.floor(np.log10(high)) + 1)
    grid = (magnitudes[:, None] * (np.arange(1, 10) + shift)).ravel()
    return grid[(grid >= low) & (grid <= high)]
