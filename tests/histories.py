"""Generated histories of deliveries: what a vendor says about a market, in whatever order and however often.

A `Vendor` knows the prices of one symbol as they were traded, its splits and dividends, and writes them into the drop
folder as vendors do: split-adjusted, with an adjusted close. A history changes what it knows and how much of it is in
the file, one delivery after the other. The last delivery of a history that is not `forgetful` holds everything.
"""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from orchestration.ingest.lake import Lake
from orchestration.market.calendar import closed_sessions
from orchestration.market.fetch_plan import PlanRules
from orchestration.market.universe import Universe, load_universe
from orchestration.sources.files import FilesSource
from tests.jobs import ClockedSettings, small_seeds

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
SESSIONS = tuple(d.date() for d in closed_sessions("XNYS", NOW)["session_date"][-400:])
SYMBOLS = ("AAA", "BBB", "CCC")
KINDS = (
    *("further", "restate", "restate", "late", "fill", "split", "dividend", "no dividend", "hide", "break"),
    *("watch", "level", "threshold", "nothing"),
)
EVERYTHING = PlanRules(restatement_sessions=None)

UNREADABLE = b"Date,Close\n2026-01-05,\xff\n"


@dataclass
class Vendor:
    """What a vendor knows of one symbol.

    Attributes:
        traded: close, high, low, open and volume as they were traded, by session.
        splits, dividends: by session; dividends in the shares of their day.
        hidden: sessions that it does not deliver at present.
        broken: sessions whose close it delivers as a text that is none.
        last_seen: closes as traded when their session was delivered last.
    """

    traded: dict[dt.date, dict[str, float]]
    splits: dict[dt.date, float] = field(default_factory=dict)
    dividends: dict[dt.date, float] = field(default_factory=dict)
    hidden: set[dt.date] = field(default_factory=set)
    broken: set[dt.date] = field(default_factory=set)
    last_seen: dict[dt.date, float] = field(default_factory=dict)

    def factor(self, session: dt.date) -> float:
        """The product of the splits after a session."""
        return float(np.prod([ratio for day, ratio in self.splits.items() if day > session]))

    def table(self, through: dt.date) -> pd.DataFrame:
        """Everything that it delivers up to a session, in Yahoo's names."""
        rows = []
        adjustment, following = 1.0, None
        for day in sorted((d for d in self.traded if d <= through), reverse=True):
            bar, factor = self.traded[day], self.factor(day)
            if following is not None and following in self.dividends:
                adjustment *= 1 - self.dividends[following] / self.factor(following) / (bar["close"] / factor)
            following = day
            if day in self.hidden:
                continue
            broken = day in self.broken
            if not broken:
                self.last_seen[day] = bar["close"]
            prices = {name: bar[name] / factor for name in ("open", "high", "low", "close")}
            rows.append(
                {
                    "Date": day.isoformat(),
                    **{name.title(): value for name, value in prices.items()},
                    "Close": "12,x" if broken else prices["close"],
                    "Adj Close": prices["close"] * adjustment,
                    "Volume": bar["volume"] * factor,
                    "Dividends": self.dividends.get(day, 0.0) / factor,
                    "Stock Splits": self.splits.get(day, 0.0),
                }
            )
        return pd.DataFrame(rows)


def bar(close: float, random_: random.Random) -> dict[str, float]:
    """A possible bar around a close, to the cent."""
    open_ = round(close * random_.uniform(0.98, 1.02), 2)
    return {
        "open": open_,
        "high": round(max(open_, close) * random_.uniform(1.0, 1.02), 2) + 0.01,
        "low": round(min(open_, close) * random_.uniform(0.98, 1.0), 2) - 0.01,
        "close": close,
        "volume": float(random_.randrange(1_000, 9_000)),
    }


class History:
    """One history, step by step, on a home of its own.

    Args:
        seed: of everything that is drawn.
        folder: an empty folder for drop folder, seeds and home.
        forgetful: whether the vendor may leave out for good what it delivered before.
    """

    def __init__(self, seed: int, folder: Path, forgetful: bool = False) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.forgetful = forgetful
        self.drop = folder / "drop"
        self.drop.mkdir(parents=True)
        self.seeds = folder / "seeds"
        self.seeds.mkdir()
        self.home = folder / "home"
        self.vendors = {symbol: self._vendor() for symbol in SYMBOLS}
        self.watched = list(SYMBOLS[: self.random.randint(2, 3)])
        self.level = 100.0
        self.threshold = 0.05
        # From where no further session is missing; the first delivery may be anything.
        self.through = self.random.randrange(30, len(SESSIONS))
        self.log: list[str] = []

    def _vendor(self) -> Vendor:
        close, traded = 100.0, {}
        for day in SESSIONS:
            close = round(close * self.random.choice((0.93, 0.98, 0.99, 1.0, 1.0, 1.01, 1.02, 1.08)), 2)
            close = min(max(close, 20.0), 400.0)
            traded[day] = bar(close, self.random)
        return Vendor(traded)

    def steps(self, count: int) -> Iterator[str]:
        """Change the world and write the drop folder, `count` times; says each time what was done.

        The last step of a history that is not forgetful delivers everything that the vendor ever knew.
        """
        for number in range(count):
            done = [self._change() for _ in range(self.random.randrange(1, 5))]
            if number == count - 1:
                self.through = len(SESSIONS) - 1
                for vendor in self.vendors.values():
                    vendor.broken.clear()
                    if not self.forgetful:
                        vendor.hidden.clear()
                self._write(partly=False)
            else:
                self._write(partly=True)
            self.log.append(f"{number}: {', '.join(done)}")
            yield self.log[-1]

    def _change(self) -> str:
        symbol = self.random.choice(SYMBOLS)
        vendor = self.vendors[symbol]
        day = self.random.choice(SESSIONS)
        # A split or a dividend that lies in the future is in no price yet.
        past = self.random.choice(SESSIONS[: self.through + 1])
        kind = self.random.choice(KINDS)
        if kind == "further":
            self.through = min(self.through + self.random.randrange(1, 30), len(SESSIONS) - 1)
        elif kind == "restate":
            close = round(vendor.traded[day]["close"] * self.random.uniform(0.9, 1.1), 2)
            vendor.traded[day] = bar(close, self.random)
        elif kind == "late":
            vendor.hidden |= set(self.random.sample(SESSIONS, self.random.randrange(1, 6)))
        elif kind == "fill":
            vendor.hidden.clear()
        elif kind == "split":
            vendor.splits[past] = self.random.choice((2.0, 0.1, 1.5))
        elif kind == "dividend":
            vendor.dividends[past] = self.random.choice((0.5, 1.25))
        elif kind == "no dividend" and vendor.dividends:
            del vendor.dividends[self.random.choice(sorted(vendor.dividends))]
        elif kind == "hide":
            # A shorter history.
            vendor.hidden |= set(SESSIONS[: self.random.randrange(1, 30)])
        elif kind == "break":
            vendor.broken = set(self.random.sample(SESSIONS, 2))
        elif kind == "watch":
            self.watched = sorted(self.random.sample(SYMBOLS, self.random.randint(2, 3)))
        elif kind == "level":
            self.level = float(self.random.randrange(60, 140))
        elif kind == "threshold":
            self.threshold = self.random.choice((0.03, 0.05, 0.07))
        return f"{kind} {symbol} {day}"

    def _write(self, partly: bool) -> None:
        """The seeds, and files of some or all symbols; rows in any order."""
        levels = [
            f"line,{symbol},{self.level},{self.level},resistance,{SESSIONS[0]},"
            if number == 0
            else f"zone_{number},{symbol},{self.level},{self.level + 4},support,{SESSIONS[10]},"
            for number, symbol in enumerate(self.watched)
        ]
        small_seeds(
            self.seeds,
            *self.watched,
            levels="\n".join(levels) + "\n",
            rules=f"daily,all,,return_1d,1,{self.threshold},\ncorrected,all,,price_correction,1,0.005,\n",
        )
        for symbol, vendor in self.vendors.items():
            if partly and self.random.random() < 0.25:
                continue  # as it was delivered last
            # Whoever delivers prices on the basis of a split names it; else nobody could know what they mean.
            vendor.hidden -= set(vendor.splits)
            vendor.broken -= set(vendor.splits)
            table = vendor.table(SESSIONS[self.through])
            if partly and self.random.random() < 0.1:
                (self.drop / f"{symbol}.csv").write_bytes(UNREADABLE)
                continue
            if self.random.random() < 0.3:
                table = table.sample(frac=1, random_state=self.random.randrange(1000))
            table.to_csv(self.drop / f"{symbol}.csv", index=False)

    @property
    def offers_nothing(self) -> bool:
        """Whether the drop folder has no file of a watched symbol that anybody could read."""
        files = (self.drop / f"{symbol}.csv" for symbol in self.watched)
        return not any(file.exists() and file.read_bytes() != UNREADABLE for file in files)

    @property
    def settings(self) -> ClockedSettings:
        """Of the home that has seen every delivery."""
        return ClockedSettings(source="files", home=self.home, files=self.drop, seeds=self.seeds, moment=NOW)

    @property
    def universe(self) -> Universe:
        """What is watched now."""
        return load_universe(self.seeds)

    def ingest(self, root: Path) -> Lake:
        """Take what lies in the drop folder, and the seeds, into `root`/lake and `root`/control."""
        from orchestration.ingest.reference import reference_tables, store_reference
        from orchestration.ingest.run import ingest
        from orchestration.market.calendar import closed_sessions_of

        lake = Lake(root / "lake")
        lake.prepare()
        universe = self.universe
        ingest(universe, FilesSource(self.drop), "files", lake, NOW, EVERYTHING)
        sessions = closed_sessions_of((i.calendar for i in universe.instruments), NOW)
        store_reference(root / "control", reference_tables(universe, sessions, lake.price_bases()))
        return lake
