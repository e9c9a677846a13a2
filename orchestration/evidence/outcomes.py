"""What followed events: of episodes that do not overlap, how much the total return was some sessions later."""

from collections.abc import Iterable
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


def episodes(places: Iterable[int], sessions: int) -> "NDArray[np.bool_]":
    """Which of some events are kept, so that their outcomes do not overlap.

    Args:
        places: of the sessions of the events in their series, ascending.
        sessions: the horizon.

    Returns:
        One flag per event; a later one is kept if it comes at least max(22, sessions + 1) sessions after the last one
        that was.
    """
    apart, last = max(LEAST_APART, sessions + 1), None
    kept = []
    for place in places:
        is_kept = last is None or place - last >= apart
        last = place if is_kept else last
        kept.append(is_kept)
    return np.array(kept, dtype=bool)


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


def recoveries(index: "Floats", places: "Places") -> "Places":
    """Places of the first sessions, from events on, that regained what was before the event; -1 for none yet."""
    found = np.full(len(places), -1)
    for at, place in enumerate(places):
        if place > 0 and len(later := np.flatnonzero(index[place:] >= index[place - 1] * (1 - 1e-12))):
            found[at] = place + later[0]
    return found
