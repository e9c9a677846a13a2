"""How rare a move is: once in how many years returns as large have come, by the tail of the returns known before it.

Peaks over threshold (Coles 2001, 4.3 and 5.3): the largest return of each cluster beyond a high quantile follows a
generalised Pareto distribution, clusters come as a Poisson process. Intervals are those of profile likelihood (2.6.6).
Sizes are log returns turned so that larger is further out; years have 252 returns.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

YEAR = 252
QUANTILE = 0.975
# Other thresholds, which say how much depends on the choice.
OTHER_QUANTILES = (0.95, 0.96, 0.97, 0.98)
# A new cluster begins after so many returns that are not beyond the threshold.
APART = 5
FEWEST_RETURNS, FEWEST_CLUSTERS = 1_000, 40
# Of twice the likelihood; its root.
ALLOWED = math.sqrt(stats.chi2.ppf(0.95, 1))
# An end of an interval beyond so many years is no end.
SHORTEST, LONGEST = 1e-3, 1_000.0
# From where a lower end is looked for if the tail ends before the size; it may lie beyond.
NEVER = 1e6
# How far a search for an end that goes step by step goes at once, of the logarithm of the period.
STEP = 0.4
# A shape so near to 0 is that of the exponential distribution.
EXPONENTIAL = 1e-6


@dataclass(frozen=True)
class Tail:
    """The generalised Pareto distribution of what lies beyond a threshold.

    Attributes:
        threshold: the size from which on returns belong to it.
        excesses: by how much the largest return of each cluster lies beyond it.
        returns: how many returns were looked at.
        shape: xi; above 0 the tail is heavy.
        scale: sigma.
    """

    threshold: float
    excesses: "Floats"
    returns: int
    shape: float
    scale: float

    @property
    def clusters_per_year(self) -> float:
        """How many clusters a year has."""
        return len(self.excesses) / self.returns * YEAR

    def period(self, size: float) -> float | None:
        """Once in how many years something larger comes; None of what is not beyond the threshold.

        Infinite, if the tail ends before.
        """
        if size <= self.threshold:
            return None
        beyond = float(stats.genpareto.sf(size - self.threshold, self.shape, scale=self.scale))
        return float(np.inf) if beyond == 0 else 1 / (self.clusters_per_year * beyond)

    def level(self, years: float) -> float | None:
        """The size that is exceeded once in so many years; None where that is more than once a cluster."""
        share = 1 / (years * self.clusters_per_year)
        if share >= 1:
            return None
        return self.threshold + float(stats.genpareto.isf(share, self.shape, scale=self.scale))

    def interval(self, size: float) -> tuple[float | None, float | None]:
        """Where the period of a size lies, to 95 %; None where it has no end, or one beyond `LONGEST` years."""
        best = self.period(size)
        if best is None:
            return None, None
        profile = _Profile(self, size - self.threshold, min(best, NEVER))
        return profile.end(-1.0), profile.end(1.0)


def tail_of(sizes: "Floats", quantile: float = QUANTILE, fewest: int = FEWEST_CLUSTERS) -> Tail | None:
    """The tail of some sizes in the order of their sessions; None where they, or their clusters, are too few.

    Args:
        sizes: of returns of single sessions.
        quantile: of these beyond which the tail begins, linear as numpy has it.
        fewest: clusters that it takes.
    """
    if len(sizes) < FEWEST_RETURNS:
        return None
    threshold = threshold_of(sizes, quantile)
    excesses = cluster_maxima(sizes, threshold) - threshold
    if len(excesses) < fewest:
        return None
    shape, scale = _fit(excesses)
    return Tail(threshold, excesses, len(sizes), shape, scale)


def threshold_of(sizes: "Floats", quantile: float = QUANTILE) -> float:
    """The size beyond which the tail begins."""
    return float(np.quantile(sizes, quantile))


def cluster_maxima(sizes: "Floats", threshold: float) -> "Floats":
    """The largest of each cluster beyond a threshold."""
    beyond = np.flatnonzero(sizes > threshold)
    if not len(beyond):
        return np.empty(0)
    first = np.flatnonzero(np.r_[True, np.diff(beyond) > APART])
    return np.maximum.reduceat(sizes[beyond], first)


def sizes_of(returns: "Floats", side: str) -> "Floats":
    """How far out returns are on one side.

    Args:
        returns: simple ones.
        side: down or up.
    """
    logs: Floats = np.log1p(returns)
    return -logs if side == "down" else logs


def return_of(size: float, side: str) -> float:
    """The simple return of a size."""
    return float(np.expm1(-size if side == "down" else size))


def _fit(excesses: "Floats") -> tuple[float, float]:
    """Shape and scale of most likelihood, as `scipy.stats.genpareto.fit(floc=0)` finds them.

    Its search asks for the likelihood a hundred times, and takes ten times as long with its own function for it.
    """

    def search(_: object, start: "Floats", args: tuple[object, ...] = (), disp: int = 0) -> "Floats":  # noqa: ARG001
        found: Floats = optimize.fmin(lambda at: _cost(at[0], at[1], excesses), start, disp=disp)
        return found

    shape, _, scale = stats.genpareto.fit(excesses, floc=0, optimizer=search)
    return float(shape), float(scale)


def _cost(shape: float, scale: float, excesses: "Floats") -> float:
    """Minus the log likelihood (Coles 2001, 4.10)."""
    if scale <= 0:
        return math.inf
    shape = shape if abs(shape) > EXPONENTIAL else EXPONENTIAL
    inside = 1 + (shape / scale) * excesses
    if inside.min() <= 0:
        return math.inf
    return len(excesses) * math.log(scale) + (1 / shape + 1) * float(np.log(inside).sum())


class _Profile:
    """How much likelihood a period of an excess costs, with shape and rate of clusters as it likes best.

    The scale follows from these: it makes one cluster in a period as large.
    """

    def __init__(self, tail: Tail, excess: float, period: float) -> None:
        self.tail, self.excess = tail, excess
        self.years, clusters = tail.returns / YEAR, len(tail.excesses)
        log_rate = math.log(clusters / self.years)
        self.best, self.log_period = np.array([tail.shape, log_rate]), math.log(period)
        self.least = _cost(tail.shape, tail.scale, tail.excesses) - clusters * log_rate + clusters
        self.known: dict[float, float] = {}

    def end(self, way: float) -> float | None:
        """Where the profile has lost what 95 % allow, from the best period on one way; None beyond `LONGEST`."""
        self.at = self.best
        near, last = self.log_period, math.log(LONGEST) if way > 0 else math.log(SHORTEST)
        if way < 0 and near == math.log(NEVER) and self._deviance(near) > 0:
            return NEVER
        while (near - last) * way < 0:
            far = near + way * min(STEP, abs(last - near))
            if self._deviance(far) > 0:
                return math.exp(optimize.brentq(self._deviance, *sorted((near, far)), xtol=1e-3))
            near = far
        return None

    def _deviance(self, log_period: float) -> float:
        """What a period loses, less what 95 % allow; as roots, which are nearly straight.

        The search begins where the last one ended.
        """
        if log_period in self.known:
            return self.known[log_period]
        # A period has at least one cluster; a heavy tail has no end before the largest excess.
        begins = ([shape, max(rate, 0.01 - log_period)] for shape, rate in (self.at, self.best, [0.1, self.best[1]]))
        start = next(at for at in begins if math.isfinite(self._loss(at, log_period)[0]))
        at, _, found, _ = optimize.fsolve(
            lambda at: self._loss(at, log_period)[1], start, full_output=True, xtol=1e-6, maxfev=30
        )
        least = self._loss(at, log_period)[0]
        if found != 1 or not least <= self._loss(start, log_period)[0] + 1e-9:
            search = optimize.minimize(lambda at: self._loss(at, log_period)[0], start, method="Nelder-Mead")
            at, least = search.x, search.fun
        self.at = at
        self.known[log_period] = math.sqrt(max(2 * (least - self.least), 0.0)) - ALLOWED
        return self.known[log_period]

    def _loss(self, at: "Floats | Sequence[float]", log_period: float) -> "tuple[float, Floats]":
        """Minus the log likelihood at a shape and the logarithm of a rate, and its slopes."""
        shape = at[0] if abs(at[0]) > EXPONENTIAL else EXPONENTIAL
        log_clusters = at[1] + log_period  # in a period
        if not 0 < log_clusters < LONGEST or abs(shape) * log_clusters > 300:
            return math.inf, np.full(2, math.nan)
        grown = math.exp(shape * log_clusters)
        size = (grown - 1) / shape
        scaled = self.tail.excesses * (size / self.excess)
        inside = 1 + shape * scaled
        if inside.min() <= 0:
            return math.inf, np.full(2, math.nan)
        clusters, logs, rate = len(scaled), float(np.log(inside).sum()), math.exp(min(at[1], 50.0))
        log_scale = math.log(self.excess / size)
        loss = clusters * log_scale + (1 / shape + 1) * logs - clusters * at[1] + rate * self.years
        part = float((scaled / inside).sum())
        of_scale = clusters - (1 + shape) * part
        of_shape = -logs / shape**2 + (1 / shape + 1) * part
        slopes = (
            of_shape - of_scale * (log_clusters * grown - size) / shape / size,
            -of_scale * grown / size - clusters + rate * self.years,
        )
        return loss, np.array(slopes)
