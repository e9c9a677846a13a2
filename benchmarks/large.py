"""Large markets: the models of the real dbt project beside a Polars and a pandas program that compute the same columns.

    python -m benchmarks.large [instruments] [years] [--home FOLDER] [--rounds N] [--without pandas]

10,000 instruments over 20 years are fifty million bars. The SIMULATED market is written below the folder once and used
again. Everything is run in turn, in processes of its own, each writing its tables: the models that the peers compute
too (`same columns`), the whole project but for evidence (`everything`), evidence, then the peers (benchmarks/peers/).
The table says wall time, CPU time and peak memory of each; what counts are the ratios.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.transform.dbt import FULL_REFRESH, DbtRunner
from orchestration.transform.spark import EVIDENCE

PEERS = Path(__file__).parent / "peers"

# What the peers compute, with all that it is made from.
SAME_COLUMNS = ("+returns", "+volatility", "+trend", "+sector_relative", "+int_move_scores")

OF_EVENTS = "dbt, evidence"


@dataclass(frozen=True)
class Cost:
    """Of one command: wall and CPU seconds, peak memory in GB."""

    wall: float
    cpu: float
    memory: float


def cost(start: Callable[..., "subprocess.Popen[str]"], *arguments: str) -> Cost:
    """Run a command to its end and measure it.

    Args:
        start: begins it, as `DbtRunner.start` does.
        arguments: what `start` is given.

    Raises:
        SystemExit: it failed; what it printed is shown.
    """
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = start(*arguments, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{process.args} failed:\n{said.read()[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def dbt_run(whole: bool, evidence: bool = True) -> list[str]:
    """The command of dbt that builds the models, everything or what new bars can change.

    Args:
        whole: everything.
        evidence: with what is of events, not of bars.
    """
    return ["--quiet", "run", *(FULL_REFRESH if whole else ()), *(() if evidence else ("--exclude", EVIDENCE))]


def runner(settings: Settings, target: Path) -> DbtRunner:
    """Dbt on a home, wherever the benchmark was started."""
    return DbtRunner(target, {**settings.dbt_environment(), "PYTHONPATH": str(PROJECT_ROOT)})


def commands(home: Path, dbt: DbtRunner, without: set[str]) -> dict[str, Callable[[], Cost]]:
    """What is measured, by name."""
    run = dbt_run(whole=True)
    found = {
        "dbt, same columns": partial(cost, dbt.start, *run, "--select", *SAME_COLUMNS),
        "dbt, everything": partial(cost, dbt.start, *dbt_run(whole=True, evidence=False)),
        OF_EVENTS: partial(cost, dbt.start, *run, "--select", EVIDENCE),
    }
    for peer in ("polars", "pandas"):
        if peer not in without:
            command = [sys.executable, str(PEERS / f"{peer}_program.py"), str(home), str(home / peer)]
            found[peer] = partial(cost, partial(subprocess.Popen, command, env=dbt.environment))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instruments", type=int, nargs="?", default=100)
    parser.add_argument("years", type=int, nargs="?", default=20)
    parser.add_argument("--home", type=Path, help="where the market is kept; a temporary folder if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], help="peers to leave out")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = (asked.home or Path(temporary)).resolve()
        settings = Settings(home=home, source="sample")
        if not settings.paths.lake.exists():
            from benchmarks.simulated_market import write_market

            print(f"{write_market(settings, asked.instruments, asked.years):,} SIMULATED bars written below {home}")
        runs = commands(home, runner(settings, home / "target"), set(asked.without))
        costs: dict[str, list[Cost]] = {name: [] for name in runs}
        for _ in range(asked.rounds):
            for name, measured in runs.items():
                if name != OF_EVENTS:  # made of what everything has left
                    settings.paths.warehouse.unlink(missing_ok=True)
                    (home / "target" / "return_periods.parquet").unlink(missing_ok=True)
                costs[name].append(measured())
        print(f"\n{asked.instruments:,} instruments, {asked.years} years, median of {asked.rounds}\n")
        print("| | wall s | CPU s | peak GB | wall against dbt, same columns |\n|---|---|---|---|---|")
        own = statistics.median(c.wall for c in costs["dbt, same columns"])
        for name, found in costs.items():
            wall, cpu, memory = (
                statistics.median(getattr(c, figure) for c in found) for figure in ("wall", "cpu", "memory")
            )
            print(f"| {name} | {wall:.1f} | {cpu:.1f} | {memory:.2f} | x{wall / own:.2f} |")


if __name__ == "__main__":
    main()
