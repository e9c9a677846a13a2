"""What followed events: of episodes that do not overlap, how much the total return was some sessions later."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

# After so many sessions of the instrument.
HORIZONS = (5, 21, 63)
# A month: events of one kind that are closer are one episode.
LEAST_APART = 22
# Most falls are regained within so many sessions; what is not is looked for further and further on.
NEAR = 32


def episodes(places: Sequence[int], sessions: int) -> "NDArray[np.bool_]":
    """Which of some events are kept, so that their outcomes do not overlap.

    Args:
        places: of the sessions of the events in their series, ascending.
        sessions: the horizon.

    Returns:
        One flag per event; a later one is kept if it comes at least max(22, sessions + 1) sessions after the last one
        that was.
    """
    apart, at = max(LEAST_APART, sessions + 1), 0
    kept = np.zeros(len(places), dtype=bool)
    while at < len(places):
        kept[at] = True
        at = bisect_left(places, places[at] + apart, at + 1)
    return kept


def outcomes(index: "Floats", places: "Places", sessions: int) -> "tuple[Floats, Floats, Floats]":
    """What followed events at some places of a total-return index.

    Args:
        index: on every session.
        places: of the events.
        sessions: the horizon.

    Returns:
        Of each event the return over the horizon, and the lowest and highest on the way; NaN while it has not ended.
    """
    found = np.full((3, len(places)), np.nan)
    over = places + sessions < len(index)
    if over.any():
        with np.errstate(invalid="ignore"):  # an index that no number can hold any more
            paths = np.lib.stride_tricks.sliding_window_view(index[1:], sessions)[places[over]]
            paths = paths / index[places[over], None] - 1
        found[:, over] = paths[:, -1], paths.min(axis=1), paths.max(axis=1)
    return found[0], found[1], found[2]


def changes(index: "Floats", places: "Places", sessions: int) -> "Floats":
    """The first of `outcomes`: the return over the horizon."""
    found = np.full(len(places), np.nan)
    over = places + sessions < len(index)
    with np.errstate(invalid="ignore"):
        found[over] = index[places[over] + sessions] / index[places[over]] - 1
    return found


def recoveries(index: "Floats", places: "Places") -> "Places":
    """Places of the first sessions, from events on, that regained what was before the event; -1 for none yet."""
    found = np.full(len(places), -1)
    left, passed, width = np.flatnonzero(places > 0), 0, NEAR
    while len(left):
        ahead = np.append(index, np.full(width, np.nan))
        paths = np.lib.stride_tricks.sliding_window_view(ahead, width)[places[left] + passed]
        regained = paths >= index[places[left] - 1, None] * (1 - 1e-12)
        is_back = regained.any(axis=1)
        found[left[is_back]] = places[left[is_back]] + passed + regained[is_back].argmax(axis=1)
        passed += width
        left = left[~is_back]
        left, width = left[places[left] + passed < len(index)], 2 * width
    return found
