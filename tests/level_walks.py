"""Random walks with random levels: bars as traded for the loop, and as a vendor would deliver them for a drop folder.

Everything lies on a coarse grid of dyadic numbers, so that closes fall on levels, bars touch them and splits divide
evenly. What is delivered carries the noise of a feed, which rounding to the tick has to take away.
"""

import datetime as dt
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from tests.jobs import INSTRUMENTS_HEADER, small_seeds
from tests.levels_oracle import Bar, Level, Watched

TICK = 0.03125
GRID = 0.5


def walk(symbol: str, sessions: Sequence[dt.date], seed: int) -> Watched:
    """An instrument with holes, close-only and flat bars, jumps, perhaps a split, and levels among its prices."""
    rng = random.Random(f"{symbol}-{seed}")  # noqa: S311
    price = rng.choice([4.0, 9.5, 20.0, 60.0, 99.5, 250.0])
    reach = rng.choice([1, 2, 3, 6])
    split_at = rng.randrange(len(sessions)) if rng.random() < 0.5 else -1
    hole = rng.randrange(len(sessions)) if rng.random() < 0.3 else len(sessions)
    ranges_seldom = rng.random() < 0.2
    bars: list[Bar] = []
    for position, day in enumerate(sessions):
        split = rng.choice([2.0, 4.0, 0.5]) if position == split_at else 1.0
        price /= split
        opened = max(price + GRID * rng.choice([0, 0, 0, 1, -1, reach, -reach]), 2.0)
        close = max(opened + GRID * rng.randint(-reach, reach), 2.0)
        if rng.random() < 0.02:
            close = max(close * rng.choice([0.75, 0.875, 1.125, 1.25]) // GRID * GRID, 2.0)
        high = max(opened, close) + GRID * rng.choice([0, 0, 1, 1, 2])
        low = max(min(opened, close) - GRID * rng.choice([0, 0, 1, 1, 2]), 1.0)
        price = close
        bar = Bar(day, close, opened, high, low, split, position)
        kind = rng.random()
        if kind < (0.5 if ranges_seldom else 0.04):
            bar = replace(bar, open=None, high=None, low=None)
        elif kind < 0.55 and ranges_seldom:
            bar = replace(bar, open=close, high=close, low=close)
        if split == 1 and (rng.random() < 0.02 or hole <= position < hole + 70):
            continue
        bars.append(bar)
    return Watched(symbol, bars, _levels(symbol, bars, rng), TICK)


def _levels(symbol: str, bars: Sequence[Bar], rng: random.Random) -> list[Level]:
    """Four lines and two zones at prices that the walk passes, some of them watched from later on."""
    levels = []
    for number in range(6):
        active_from = rng.choice([bars[0].day, bars[0].day, bars[rng.randrange(len(bars))].day])
        at = rng.randrange(len(bars))
        # in the prices of the day that the level is named on
        named = max(i for i, bar in enumerate(bars) if bar.day <= active_from)
        factor = math.prod(b.split for b in bars[named + 1 : at + 1]) / math.prod(b.split for b in bars[at + 1 : named + 1])
        lower = bars[at].close * factor + rng.choice([0, 0, 0, 0.25])
        upper = lower + rng.choice([0.5, 1.0, 4.0]) * factor if number >= 4 else lower
        levels.append(Level(f"{symbol.lower()}_{number}", lower, upper, active_from))
    return levels


def cut(watched: Watched, bars: int) -> Watched:
    """The same instrument as it was known so many bars earlier."""
    return replace(watched, bars=watched.bars[: len(watched.bars) - bars])


def deliver(folder: Path, market: Sequence[Watched]) -> None:
    """One CSV per instrument, on the split-adjusted basis of its last bar, with a feed's noise."""
    folder.mkdir(exist_ok=True)
    for watched in market:
        rng = random.Random(watched.symbol)  # noqa: S311
        factor, lines = 1.0, []
        for bar in reversed(watched.bars):
            noisy = factor * (1 + 1e-8 * rng.random())
            lines.append(
                {
                    "Date": bar.day.isoformat(),
                    **{
                        name.title(): None if (price := getattr(bar, name)) is None else price * noisy
                        for name in ("open", "high", "low", "close")
                    },
                    "Stock Splits": bar.split if bar.split != 1 else 0.0,
                }
            )
            factor /= bar.split
        pd.DataFrame(lines[::-1]).to_csv(folder / f"{watched.symbol}.csv", index=False, float_format="%.17g")


def seeds(folder: Path, market: Sequence[Watched]) -> Path:
    """Seeds with these instruments and levels."""
    levels = "".join(
        f"{level.level_id},{w.symbol},{level.lower!r},{level.upper!r},support,{level.active_from},\n"
        for w in market
        for level in w.levels
    )
    folder = small_seeds(folder, *(w.symbol for w in market), levels=levels)
    rows = "".join(f"{w.symbol},{w.symbol},{w.symbol} fund,etf,silver,senior,XNYS,USD,{w.tick},,,\n" for w in market)
    (folder / "instruments.csv").write_text(INSTRUMENTS_HEADER + rows)
    return folder
