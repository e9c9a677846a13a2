"""Verdicts as calls: whether they came true, and whether their record says more than what any session says."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from orchestration.evidence.statistics import FEWEST, NOTHING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Call:
    """What a kind of verdict says.

    Attributes:
        of_index: of the total-return index; else of the gap of a pair, or the volatility of an instrument.
        only_down: that it falls, whatever its direction; else that it goes on in that direction.
    """

    of_index: bool = True
    only_down: bool = False

    def rises(self, direction: str) -> bool:
        """Whether it says that something rises."""
        return direction == "up" and not self.only_down


# By the signal of the study. A consolidation says that prices rise, a reversal that they fall; so does a level that is
# support or resistance now. A gap widens further, a volatility calms down.
CALLS = {
    "verdict": Call(),
    "role_flip": Call(),
    "pair_widening": Call(of_index=False),
    "volatility_spike": Call(of_index=False, only_down=True),
}


def came_true(changes: "Floats", rises: bool) -> "Floats":
    """1 where a call came true, 0 where it did not, NaN where it is not known yet.

    Args:
        changes: over the horizon.
        rises: whether the call says that they are above nothing, or below.
    """
    found = (changes > NOTHING if rises else changes < -NOTHING).astype(float)
    return np.where(np.isnan(changes), np.nan, found)


def known_share(is_true: "Floats", counts: "NDArray[np.bool_]", sessions: int) -> "Floats":
    """On each session the share of those that count, of which it is known then; NaN of none.

    Args:
        is_true: `came_true` of each session.
        counts: which sessions count.
        sessions: the horizon: a session is known after so many.
    """
    known = counts & ~np.isnan(is_true)
    found = np.full(len(is_true), np.nan)
    seen, hits = np.cumsum(known), np.cumsum(np.where(known, is_true, 0.0))
    with np.errstate(invalid="ignore"):
        found[sessions:] = (hits / np.where(seen, seen, np.nan))[:-sessions]
    return found


def scores(hits: "Floats", bases: "Floats") -> tuple[float | None, float | None, float | None]:
    """Brier's score of the record as a forecast, of the base share as one, and the skill.

    Of a call the record says (k + 1) / (m + 2), by the k hits of the m calls before it (Brier 1950). Above 0 the skill
    is of some use; None where calls are too few.

    Args:
        hits: 1 or 0 of each call, in their order.
        bases: the base share known when it was made.
    """
    before = np.arange(len(hits))
    said = (np.cumsum(hits) - hits + 1) / (before + 2)
    known = ~np.isnan(bases)
    if known.sum() < FEWEST:
        return None, None, None
    own, base = (float(np.mean((forecast[known] - hits[known]) ** 2)) for forecast in (said, bases))
    return own, base, 1 - own / base if base else None
