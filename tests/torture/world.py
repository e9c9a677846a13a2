"""A small market in a drop folder, the genuine command in a process of its own, and what must hold at any moment."""

import datetime as dt
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq

from orchestration.market.calendar import closed_sessions
from orchestration.settings import PROJECT_ROOT
from tests.jobs import small_seeds

SYMBOLS = ("AAA", "BBB", "CCC")
LEVELS = "aaa_100,AAA,100,100,psychological,2020-01-02,\naaa_zone,AAA,104,106,support,2020-01-02,\n"
HISTORY = 300


@dataclass
class World:
    """A drop folder, seeds and a home.

    Attributes:
        folder: where all of it lies; empty at first.
        extra: environment of the commands.
    """

    folder: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """OREWATCH_HOME."""
        return self.folder / "home"

    @property
    def root(self) -> Path:
        """Everything of the source `files`."""
        return self.home / "files"

    @property
    def drop(self) -> Path:
        """The drop folder."""
        return self.folder / "drop"

    def fill(self) -> "World":
        """Write the drop folder and the seeds of the first day."""
        self.drop.mkdir(parents=True)
        small_seeds(self.folder / "seeds", *SYMBOLS, levels=LEVELS)
        days = [d.date() for d in closed_sessions("XNYS", dt.datetime.now(dt.UTC))["session_date"]][-HISTORY:]
        for k, symbol in enumerate(SYMBOLS, start=2):
            closes = [round(100 + 8 * ((i * 37 * k) % 101 - 50) / 50, 2) for i in range(len(days))]
            frame = pd.DataFrame({"Date": [d.isoformat() for d in days], "Close": closes})
            # The last sessions come later.
            frame[:-3].to_csv(self.drop / f"{symbol}.csv", index=False)
            frame.to_csv(self.folder / f"{symbol}.whole.csv", index=False)
        return self

    def environment(self) -> dict[str, str]:
        """Of a command on this world."""
        own = {
            "OREWATCH_HOME": str(self.home),
            "OREWATCH_SOURCE": "files",
            "OREWATCH_FILES": str(self.drop),
            "OREWATCH_SEEDS": str(self.folder / "seeds"),
            # Builds that keep what earlier ones have left, however small the market: that is what may go wrong.
            "OREWATCH_FULL_REFRESH_BELOW_BARS": "0",
        }
        rest = {k: v for k, v in os.environ.items() if not k.startswith("OREWATCH_") and k != "DAGSTER_HOME"}
        return {**rest, **own, **self.extra}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """A command in a process group of its own, its output in `<folder>/said`."""
        with (self.folder / "said").open("w") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "orchestration.cli.main", *(arguments or ("refresh",))],
                env=self.environment(),
                cwd=PROJECT_ROOT,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def said(self) -> str:
        """What the last command printed."""
        return (self.folder / "said").read_text()

    def refresh(self) -> None:
        """A refresh that must succeed."""
        code = self.start().wait(timeout=300)
        assert code == 0, self.said()

    def copy(self, folder: Path) -> "World":
        """The same world elsewhere, with everything that is stored."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return World(folder, self.extra)


def later_sessions(world: World) -> None:
    """The next sessions arrive."""
    for symbol in SYMBOLS:
        shutil.copy(world.folder / f"{symbol}.whole.csv", world.drop / f"{symbol}.csv")


def correction(world: World) -> None:
    """The vendor restates a close long ago, and fills nothing in."""
    path = world.drop / "BBB.csv"
    frame = pd.read_csv(path)
    frame.loc[150, "Close"] += 1.25
    frame.to_csv(path, index=False)


def split(world: World) -> None:
    """A split in the middle: the whole history before it comes on a new basis."""
    path = world.drop / "CCC.csv"
    frame = pd.read_csv(path)
    frame["Stock Splits"] = 0.0
    frame.loc[200, "Stock Splits"] = 2.0
    frame.loc[:199, "Close"] /= 2
    frame.to_csv(path, index=False)


def hole(world: World) -> None:
    """A bad row and a file that cannot be read come with the next sessions."""
    later_sessions(world)
    path = world.drop / "AAA.csv"
    frame = pd.read_csv(path)
    frame.loc[len(frame) - 2, "Close"] = -5
    frame.to_csv(path, index=False)


CHANGES: dict[str, Callable[[World], None]] = {
    "later sessions": later_sessions,
    "correction": correction,
    "split": split,
    "bad row": hole,
}


def kill(process: "subprocess.Popen[str]") -> None:
    """The whole process tree, at once and for good."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def lake_files(world: World) -> dict[str, str]:
    """Name and digest of every finished file of the lake."""
    return {
        str(path.relative_to(world.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((world.root / "lake").rglob("*.parquet"))
        if not path.name.startswith(".")
    }


def assert_lake_whole(world: World, before: dict[str, str]) -> dict[str, str]:
    """Every finished file can be read, and what was stored before is still there, unchanged."""
    now = lake_files(world)
    for name in now:
        pq.read_table(world.root / name, partitioning=None)
    lost = {name for name, digest in before.items() if now.get(name) != digest}
    assert not lost, f"changed or lost: {lost}"
    return now


def assert_readable(world: World) -> int:
    """Readers find a whole version behind `current`, or none at all; returns its number, 0 for none."""
    current = world.root / "published" / "current"
    if not current.is_symlink():
        return 0
    folder = current.resolve(strict=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    with duckdb.connect(str(folder / "market.duckdb"), read_only=True) as connection:
        for table, rows in manifest["rows"].items():
            assert connection.table(table).count("*").fetchall() == [(rows,)]
            assert pq.read_metadata(folder / f"{table}.parquet").num_rows == rows
    return int(manifest["version"])


def content(world: World) -> str:
    """The hash of everything that is published, without the times of runs."""
    return str(json.loads((world.root / "published" / "current" / "manifest.json").read_text())["content_hash"])
