"""Counts of what followed, each beside what follows any session, with intervals and a finding."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# A return that is no more than this is none.
NOTHING = 1e-9
# With fewer outcomes no interval is told: too few.
FEWEST = 10
CONFIDENCE = 0.95
# From here on a difference from the base share may be chance, of all studies together.
MOST_Q = 0.05


@dataclass(frozen=True)
class Share:
    """How many of n, with Wilson's interval to 95 %; None where they are too few."""

    hits: int
    n: int

    @property
    def rate(self) -> float | None:
        """The share; None of none."""
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Its ends."""
        lower, upper = intervals([self])
        return (None, None) if self.n < FEWEST else (float(lower[0]), float(upper[0]))


def p_values(shares: "Sequence[Share]", bases: "Sequence[float | None]") -> list[float | None]:
    """How likely a share so far from its base is, if the base is the truth; None of none, and without a base.

    Two-sided and binomial: what all outcomes have that are not likelier. It is what `scipy.stats.binomtest` finds for
    each; of thousands of studies that takes seconds.
    """
    from scipy.stats import binom

    asked = [at for at, (share, base) in enumerate(zip(shares, bases, strict=True)) if share.n and base is not None]
    found: list[float | None] = [None] * len(shares)
    if not asked:
        return found
    n, hits = (np.array([getattr(shares[at], name) for at in asked]) for name in ("n", "hits"))
    base = np.array([bases[at] for at in asked], dtype=float)
    begins = np.cumsum([0, *(n + 1)])[:-1]
    outcomes = np.arange(int((n + 1).sum())) - np.repeat(begins, n + 1)
    likely = binom.pmf(outcomes, np.repeat(n, n + 1), np.repeat(base, n + 1))
    is_no_likelier = likely <= np.repeat(likely[begins + hits], n + 1) * (1 + 1e-7)
    for at, p in zip(asked, np.add.reduceat(np.where(is_no_likelier, likely, 0.0), begins), strict=True):
        found[at] = min(float(p), 1.0)
    return found


def intervals(shares: "Sequence[Share]") -> "tuple[Floats, Floats]":
    """Both ends of Wilson's interval of each share to 95 %; NaN where they are too few."""
    from statsmodels.stats.proportion import proportion_confint

    hits, n = (np.array([getattr(share, name) for share in shares], dtype=float) for name in ("hits", "n"))
    n[n < FEWEST] = np.nan
    lower, upper = proportion_confint(hits, n, alpha=1 - CONFIDENCE, method="wilson")
    return np.asarray(lower), np.asarray(upper)


def share_up(changes: "Floats") -> Share:
    """How many of some changes are rises."""
    return Share(int((changes > NOTHING).sum()), len(changes))


def median(changes: "Floats") -> tuple[float | None, float | None, float | None]:
    """The median of some changes, and its exact interval to 95 %; None where they are too few."""
    if not len(changes):
        return None, None, None
    middle = float(np.median(changes))
    if len(changes) < FEWEST:
        return middle, None, None
    low, high = _ranks(len(changes))
    ordered = np.sort(changes)
    return middle, float(ordered[low]), float(ordered[high])


@cache
def _ranks(n: int) -> tuple[int, int]:
    """Between which of n ordered values the median lies; it depends on how many they are, and on nothing else."""
    from scipy.stats import quantile_test

    interval = quantile_test(np.arange(n, dtype=float), q=0, p=0.5).confidence_interval(CONFIDENCE)
    return int(interval.low), int(interval.high)


def q_values(p_values: "Sequence[float | None]") -> list[float | None]:
    """What p values are worth among so many studies: the false discovery rate, whatever depends on whatever."""
    known = [p for p in p_values if p is not None]
    if not known:
        return [None] * len(p_values)
    from statsmodels.stats.multitest import multipletests

    corrected = iter(multipletests(known, method="fdr_by")[1])
    return [None if p is None else float(next(corrected)) for p in p_values]


def finding(share: Share, base: float | None, q_value: float | None) -> str:
    """What is to be said: above, below, not different, or too few."""
    if share.rate is None or share.n < FEWEST or base is None or q_value is None:
        return "too few"
    if q_value > MOST_Q:
        return "not different"
    return "above" if share.rate > base else "below"
