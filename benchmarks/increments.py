"""What a small increment costs: a new session, corrected bars, a new instrument, beside the build of everything.

    python -m benchmarks.increments [instruments] [years] [--home FOLDER] [--rounds N]

A SIMULATED market is built whole without its last sessions and without one instrument; then each kind of news arrives
in turn, and the real dbt project takes it in, as a refresh would. `models` is the time that dbt takes for all models,
without its own start.
"""

import argparse
import datetime as dt
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.large import Cost, cost, dbt_run, runner
from benchmarks.simulated_market import NOW, write_market
from orchestration.ingest.lake import Lake
from orchestration.settings import Settings
from orchestration.transform.build_state import BuildState, take_back
from orchestration.transform.changed_ranges import after_build, still_true

# Of its sessions that are held back, one arrives in each round.
HELD_BACK = 8
LATER = "later-"
# The silver future, against which all have a Dimson beta, and the fund, which all are compared with.
COMPARED_WITH = ("SI=F", "SLV")


class Market:
    """A home without the last sessions and without the last instrument, and what is to come.

    Args:
        home: where it is kept.
        instruments, years: how large it is.
    """

    def __init__(self, home: Path, instruments: int, years: int) -> None:
        self.settings = Settings(home=home, source="sample")
        self.home = home
        self.lake = Lake(self.settings.paths.lake)
        self.deliveries = 0
        held = home / "to_come.parquet"
        if not held.exists():
            to_come: list[pa.Table] = []
            begun: list[str] = []

            def take(bars: pa.Table) -> pa.Table:
                begun.append(bars["symbol"][0].as_py())
                cut = bars.num_rows if len(begun) == instruments else HELD_BACK
                to_come.append(bars.slice(bars.num_rows - cut))
                return bars.slice(0, bars.num_rows - cut)

            count = write_market(self.settings, instruments, years, take)
            print(f"{count:,} SIMULATED bars written below {home}", flush=True)
            pq.write_table(pa.concat_tables(to_come), held)
        for path in self.lake.paths("bars"):
            if path.name.startswith(LATER):
                path.unlink()
        self.to_come = pq.read_table(held)
        # Written last.
        self.newcomer = self.to_come["symbol"][-1].as_py()
        others = self.to_come.filter(pc.not_equal(self.to_come["symbol"], self.newcomer))
        self.sessions: list[dt.date] = sorted(set(others["session_date"].to_pylist()))
        self.others = others

    def deliver(self, bars: pa.Table) -> None:
        """Append bars as one more batch, observed a day after the one before."""
        self.deliveries += 1
        moment = NOW.replace(tzinfo=None) + dt.timedelta(days=self.deliveries)
        batch = f"{LATER}{self.deliveries:04d}"
        for name, value in (("observed_at", moment), ("batch_id", batch)):
            index = bars.schema.get_field_index(name)
            bars = bars.set_column(index, name, pa.array([value] * bars.num_rows, bars.schema.field(name).type))
        self.lake.append("bars", bars, batch, 0)

    def next_session(self) -> None:
        """One session of every instrument."""
        day = self.sessions.pop(0)
        self.deliver(self.others.filter(pc.equal(self.others["session_date"], pa.scalar(day))))

    def correction(self, symbol: str | None = None) -> None:
        """A later version of one bar, ten years back or in the middle of what there is.

        Args:
            symbol: of whom; if not given, of an instrument that nothing is compared with.
        """
        symbol = symbol or self.others["symbol"][self.others.num_rows - 1].as_py()
        bars = self.lake.newest_bars([symbol])
        bar = bars.slice(max(bars.num_rows - 2520, bars.num_rows // 2), 1)
        index = bar.schema.get_field_index("close")
        self.deliver(bar.set_column(index, "close", pc.divide(pc.add(bar["high"], bar["low"]), 2)))

    def new_instrument(self) -> None:
        """All bars of an instrument that had none."""
        self.deliver(self.to_come.filter(pc.equal(self.to_come["symbol"], self.newcomer)))

    def build(self, whole: bool) -> tuple[Cost, float]:
        """Run dbt; returns what it cost, and the seconds that the models took."""
        spent = cost(runner(self.settings, self.home / "target").start, *dbt_run(whole, evidence=False))
        return spent, json.loads((self.home / "target" / "run_results.json").read_text("utf-8"))["elapsed_time"]


@contextmanager
def incremental_build(state: Path, warehouse: Path) -> Iterator[None]:
    """Note around an incremental build, as a refresh does, from which session on it changes tables."""
    before = still_true(BuildState.load(state).changed, warehouse)
    take_back(state)
    yield
    BuildState(changed=after_build(before, warehouse)).save(state)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instruments", type=int, nargs="?", default=100)
    parser.add_argument("years", type=int, nargs="?", default=20)
    parser.add_argument("--home", type=Path, help="where the market is kept; a temporary folder if not given")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        market = Market((asked.home or Path(temporary)).resolve(), asked.instruments, asked.years)
        measured = {"everything": [market.build(whole=True)]}
        news = {
            "one new session": (market.next_session, asked.rounds),
            "one corrected bar": (market.correction, asked.rounds),
            **{f"of {symbol}": (partial(market.correction, symbol), asked.rounds) for symbol in COMPARED_WITH},
            "one new instrument": (market.new_instrument, 1),
        }
        for name, (arrive, rounds) in news.items():
            measured[name] = []
            for _ in range(rounds):
                arrive()
                measured[name].append(market.build(whole=False))
        print(f"\n{asked.instruments:,} instruments, {asked.years} years, medians of {asked.rounds}\n")
        print("| | models s | of everything | CPU s | peak GB |\n|---|---|---|---|---|")
        whole = measured["everything"][0][1]
        for name, runs in measured.items():
            models = statistics.median(seconds for _, seconds in runs)
            cpu = statistics.median(spent.cpu for spent, _ in runs)
            memory = max(spent.memory for spent, _ in runs)
            print(f"| {name} | {models:.1f} | {models / whole:.1%} | {cpu:.1f} | {memory:.2f} |")


if __name__ == "__main__":
    main()
