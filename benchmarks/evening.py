"""The refresh of an evening beside a Polars program that computes the same columns of the whole history.

    python -m benchmarks.evening [instruments] [years] [--home FOLDER] [--rounds N]

One new session of every instrument, from the delivered bars in hand to published: validated, stored, built, tested,
audited, published, market checks, brief. Asking the source is left out: the bars are handed over. The real job runs, in
a process of its own; the first refresh, of everything, is the warm-up. The table says what each evening cost, and its
wall time as a part of the program's.
"""

import argparse
import csv
import datetime as dt
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd

from benchmarks.increments import Market
from benchmarks.large import PEERS, cost, runner
from benchmarks.simulated_market import universe
from orchestration.build import build_definitions
from orchestration.duckdb_io import rows
from orchestration.market.bars import raw_frame
from orchestration.market.fetch_plan import FetchRequest
from orchestration.settings import DBT_PROJECT_DIR, PROJECT_ROOT, Settings
from orchestration.sources.base import FetchOutcome, FetchStatus

VALUES = ("session_date", "open", "high", "low", "close", "adj_close", "volume", "dividend", "split_ratio")


class HandedBars:
    """A source that has everything in hand: the bars of the last weeks, and those that are to come.

    Args:
        bars: with a column `symbol`.
    """

    local = False

    def __init__(self, bars: pd.DataFrame) -> None:
        bars = bars.sort_values(["symbol", "session_date"], ignore_index=True)
        self.bars = raw_frame({name: bars[name] for name in VALUES})
        self.days = self.bars["session_date"].to_numpy()
        places = bars.groupby("symbol").indices
        self.places = {symbol: (rows[0], rows[-1] + 1) for symbol, rows in places.items()}

    def fetch(self, requests: Sequence[FetchRequest]) -> Iterator[FetchOutcome]:
        """What was asked for of it."""
        for request in requests:
            first, end = self.places[request.symbol]
            days = self.days[first:end]
            end = first + days.searchsorted(np.datetime64(request.end), side="right")
            if request.start is not None:
                first += days.searchsorted(np.datetime64(request.start))
            yield FetchOutcome(request, FetchStatus.OK, self.bars.iloc[first:end].reset_index(drop=True))


def settings_on(home: Path, day: dt.date) -> Settings:
    """Of the home on the evening of a session."""
    return Settings(home=home, source="sample", seeds=home / "seeds", as_of=day, whole_history_days=3650)


def write_seeds(folder: Path, instruments: int) -> None:
    """The shipped seeds, with the market's instruments, and move rules of these."""
    shutil.copytree(DBT_PROJECT_DIR / "seeds", folder, dirs_exist_ok=True)
    market = universe(instruments)
    for name, seeds in (("instruments.csv", market.instruments), ("move_rules.csv", market.move_rules)):
        columns = (folder / name).read_text("utf-8").splitlines()[0].split(",")
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(seed.model_dump() for seed in seeds)


def refresh(home: Path, day: dt.date) -> None:
    """The job, in this process."""
    settings, in_hand = settings_on(home, day), pd.read_parquet(home / "in_hand.parquet")
    source = dg.ResourceDefinition.hardcoded_resource(HandedBars(in_hand))
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(settings, {"bar_source": source}).resolve_job_def("refresh")
        loggers = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
        if not job.execute_in_process(instance=instance, run_config=loggers).success:
            raise SystemExit(f"the refresh of {day} failed")
    handed = in_hand[in_hand["session_date"] == day]["symbol"].nunique()
    sql = "select count(*) as bars from daily_bars where session_date = ?"
    if (published := rows(settings.paths.published_file, sql, [day])[0]["bars"]) != handed:
        raise SystemExit(f"{published} bars of {day} were published, {handed} were handed over")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instruments", type=int, nargs="?", default=100)
    parser.add_argument("years", type=int, nargs="?", default=20)
    parser.add_argument("--home", type=Path, help="where the market is kept; a temporary folder if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--day", type=dt.date.fromisoformat, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.day:
        refresh(asked.home, asked.day)
        return
    with tempfile.TemporaryDirectory() as temporary:
        home = (asked.home or Path(temporary)).resolve()
        market = Market(home, asked.instruments, asked.years)
        write_seeds(home / "seeds", asked.instruments)
        stored = market.lake.newest_bars(None, since=market.sessions[0] - dt.timedelta(days=60))
        in_hand = pd.concat([stored.to_pandas(), market.to_come.to_pandas()])
        in_hand.to_parquet(home / "in_hand.parquet")
        evenings = [market.sessions[0] - dt.timedelta(days=1), *market.sessions]
        dbt = runner(market.settings, home / "target")
        polars = [sys.executable, str(PEERS / "polars_program.py"), str(home), str(home / "polars")]
        costs = []
        for day in evenings[: asked.rounds + 1]:
            command = [sys.executable, "-m", "benchmarks.evening", "--home", str(home), "--day", day.isoformat()]
            ours = cost(partial(subprocess.Popen, command, env=dbt.environment, cwd=PROJECT_ROOT))
            costs.append((ours, cost(partial(subprocess.Popen, polars, env=dbt.environment))))
        print(f"\n{asked.instruments:,} instruments, {asked.years} years\n")
        print("| | wall s | CPU s | peak GB | wall against Polars | CPU against Polars |\n|---|---|---|---|---|---|")
        for day, (ours, peer) in zip(["everything", *evenings[1:]], costs, strict=False):
            ratios = f"x{ours.wall / peer.wall:.2f} | x{ours.cpu / peer.cpu:.2f}"
            print(f"| {day} | {ours.wall:.1f} | {ours.cpu:.1f} | {ours.memory:.2f} | {ratios} |")
        median = statistics.median(ours.wall / peer.wall for ours, peer in costs[1:])
        print(f"\nan evening against Polars, median of {len(costs) - 1}: {median:.2f}")


if __name__ == "__main__":
    main()
