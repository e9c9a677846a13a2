"""How often levels held, beside the same levels where nobody named one: of each, of each kind, and of round numbers."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from orchestration.evidence.arrays import by_name
from orchestration.evidence.levels import GRID_SHIFTS, Bars, LevelTest, level_tests, moved, round_numbers
from orchestration.evidence.statistics import Share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Dates = NDArray[np.datetime64]

LEVEL, KIND, ROUND = "level", "kind", "round_numbers"
ROUND_KIND = "round number"


class Of(NamedTuple):
    """What a row is about."""

    scope: str
    level_id: str | None
    kind: str
    symbol: str | None
    side: str
    in_hindsight: bool


class _Counts:
    """How many tests held and failed."""

    def __init__(self) -> None:
        self.hits = self.n = 0

    def add(self, held: bool) -> None:
        self.hits, self.n = self.hits + held, self.n + 1

    @property
    def share(self) -> Share:
        return Share(self.hits, self.n)


def level_statistics(prices: pa.Table, levels: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of level_statistics.

    Args:
        prices: symbol, session_date, low, high, close, atr_14, splits_to_come; ordered by symbol and session.
        levels: rows of price_levels.csv that are held against prices: level_id, symbol, lower, upper, kind,
            active_from, known_since (None: nobody could have named it before the end).
    """
    named: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for level in levels:
        named[level["symbol"]].append(level)
    counts: dict[Of, tuple[_Counts, _Counts]] = defaultdict(lambda: (_Counts(), _Counts()))
    for symbol, (dates, low, high, close, atr, splits) in by_name(prices):
        low, high = (np.where(np.isnan(found), close, found) for found in (low, high))
        bars = Bars(low / splits, high / splits, close / splits, atr / splits)
        for level, is_real, test in _of_levels(bars, dates, splits, named[symbol]):
            since = level["known_since"]
            hindsight = since is None or dates[test.place] < np.datetime64(since)
            for of in (
                Of(LEVEL, level["level_id"], level["kind"], symbol, test.side, hindsight),
                Of(KIND, None, level["kind"], None, test.side, hindsight),
            ):
                counts[of][not is_real].add(test.held)
        for is_real, test in _of_round_numbers(bars, splits, low, high):
            for of in (
                Of(ROUND, None, ROUND_KIND, symbol, test.side, False),
                Of(KIND, None, ROUND_KIND, None, test.side, False),
            ):
                counts[of][not is_real].add(test.held)
    for of, (real, placebo) in sorted(counts.items(), key=lambda item: [str(part) for part in item[0]]):
        yield _row(of, real.share, placebo.share)


def _of_levels(
    bars: Bars, dates: "Dates", splits: "Floats", levels: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], bool, LevelTest]]:
    """The tests of each level, and of what it is held against."""
    edges = []
    for level in levels:
        # Named in the prices of its first day.
        first = max(int(dates.searchsorted(np.datetime64(level["active_from"]), side="right")) - 1, 0)
        is_watched = np.where(dates >= np.datetime64(level["active_from"]), 1.0, np.nan)
        edges.append((level, level["lower"] / splits[first] * is_watched, level["upper"] / splits[first] * is_watched))
    if not edges:
        return
    watched = np.array([edge for _, lower, upper in edges for edge in (lower, upper)])
    for level, lower, upper in edges:
        for test in level_tests(bars, lower[None], upper[None]):
            yield level, True, test
        for test in level_tests(bars, *moved(lower, upper, watched)):
            yield level, False, test


def _of_round_numbers(bars: Bars, splits: "Floats", low: "Floats", high: "Floats") -> Iterator[tuple[bool, LevelTest]]:
    """The tests of round numbers as traded, and of a grid beside them."""
    positive = low[low > 0]
    if not len(positive):
        return
    for shift in (0.0, *GRID_SHIFTS):
        lines = round_numbers(float(positive.min()), float(high.max()), shift)[:, None] / splits
        for test in level_tests(bars, lines, lines):
            yield shift == 0, test


def _row(of: Of, real: Share, placebo: Share) -> dict[str, Any]:
    lower, upper = real.interval
    finding = "in hindsight"
    if not of.in_hindsight:
        finding = "too few"
        if lower is not None and upper is not None and placebo.rate is not None:
            finding = "above" if lower > placebo.rate else "below" if upper < placebo.rate else "not different"
    return of._asdict() | {
        "tests": real.n,
        "held": real.hits,
        "hold_rate": real.rate,
        "hold_lower": lower,
        "hold_upper": upper,
        "placebo_tests": placebo.n,
        "placebo_held": placebo.hits,
        "placebo_rate": placebo.rate,
        "finding": finding,
    }
