"""A small home that lives evening after evening, with a clock that moves, in the process of the test.

Each evening a session is added to the drop folder, the clock is put to its close, and the command line's refresh runs.
"""

import datetime as dt
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from dagster import _time as dagster_time

from orchestration.market.calendar import closed_sessions
from orchestration.settings import NEW_YORK
from tests.jobs import ClockedSettings, refresh_and_read, small_seeds

SYMBOLS = ("AAA", "BBB")
LEVELS = "aaa_100,AAA,100,100,psychological,2015-01-02,\nbbb_zone,BBB,104,106,support,2015-01-02,\n"
# Sessions before the first evening: so many that those which come do not make the tables much larger.
HISTORY = 1000


@dataclass(frozen=True)
class Evening:
    """One evening's figures.

    Attributes:
        number: counting from 1.
        wall, cpu: seconds of the refresh; of this process.
        sizes: files and bytes of each folder and file below the home, hard links once.
        said: what the command printed.
    """

    number: int
    wall: float
    cpu: float
    sizes: dict[str, tuple[int, int]]
    said: str

    @property
    def files(self) -> int:
        """All of them."""
        return sum(files for files, _ in self.sizes.values())

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(size for _, size in self.sizes.values())


class Evenings:
    """The home.

    Args:
        folder: an empty one.
        count: of evenings; the last is the latest session that has closed.
        monkeypatch: moves the clock.
        settings: beyond those of the home.
    """

    def __init__(self, folder: Path, count: int, monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
        self.folder, self.count, self.given = folder, count, settings
        self.home = folder / "home"
        closed = closed_sessions("XNYS", dt.datetime.now(dt.UTC))["session_date"]
        self.days = [day.date() for day in closed][-(HISTORY + count) :]
        small_seeds(folder / "seeds", *SYMBOLS, levels=LEVELS)
        (folder / "drop").mkdir()
        draw = random.Random(1)  # noqa: S311
        self.closes = {symbol: _walk(draw, len(self.days)) for symbol in SYMBOLS}
        self.moment = dt.datetime.now(dt.UTC)
        self._started = time.monotonic()
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        move_clock(monkeypatch, self.now)

    def now(self) -> dt.datetime:
        """The clock: it goes on while an evening lasts."""
        return self.moment + dt.timedelta(seconds=time.monotonic() - self._started)

    @property
    def settings(self) -> ClockedSettings:
        """Of the evening."""
        return ClockedSettings(
            source="files",
            home=self.home,
            files=self.folder / "drop",
            seeds=self.folder / "seeds",
            moment=self.moment,
            **self.given,
        )

    def begin(self, number: int) -> None:
        """The evening comes: its session has closed and is delivered."""
        sessions = self.days[: HISTORY + number]
        for symbol, closes in self.closes.items():
            table = pd.DataFrame({"Date": sessions, "Close": closes[: len(sessions)]})
            table.to_csv(self.folder / "drop" / f"{symbol}.csv", index=False)
        self.moment = dt.datetime.combine(sessions[-1], dt.time(18, 0), NEW_YORK).astimezone(dt.UTC)
        self._started = time.monotonic()

    def live(self, until: int, begin: int = 1) -> Iterator[Evening]:
        """One evening after the other."""
        for number in range(begin, until + 1):
            self.begin(number)
            wall, cpu = time.perf_counter(), time.process_time()
            success, said = refresh_and_read(self.settings)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            assert success, said
            for path in self.settings.paths.briefs.iterdir():
                if path.stem == self.days[HISTORY + number - 1].isoformat():
                    os.utime(path, (self.moment.timestamp(),) * 2)
            yield Evening(number, wall, cpu, sizes(self.settings.paths.root), said)


def move_clock(monkeypatch: pytest.MonkeyPatch, now: Callable[[], dt.datetime]) -> None:
    """Put the clock of this process where `now` says; that of SQLite, of files and of `datetime` stay."""
    monkeypatch.setattr(time, "time", lambda: now().timestamp())
    monkeypatch.setattr(dagster_time, "_mockable_get_current_datetime", now)


def sizes(root: Path) -> dict[str, tuple[int, int]]:
    """Files and bytes of each folder and file in a folder; what has several names counts once."""
    seen: set[int] = set()
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for path in root.rglob("*"):
        facts = path.lstat()
        if path.is_symlink() or path.is_dir() or facts.st_ino in seen:
            continue
        seen.add(facts.st_ino)
        part = path.relative_to(root).parts[0]
        files, size = found[part]
        found[part] = (files + 1, size + facts.st_size)
    return dict(found)


def _walk(draw: random.Random, steps: int) -> list[float]:
    """Closes around 100, with a large move now and then."""
    closes = [100.0]
    for _ in range(steps - 1):
        step = draw.gauss(0, 0.012) + 0.02 * (1 - closes[-1] / 100) + (0.06 if draw.random() < 0.01 else 0)
        closes.append(round(closes[-1] * (1 + step), 2))
    return closes
