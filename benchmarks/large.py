"""Large markets: the models of the real dbt project beside a Polars and a pandas program that compute the same columns.

    python -m benchmarks.large [instruments] [years] [--home FOLDER] [--rounds N] [--without pandas]

10,000 instruments over 20 years are fifty million bars. The SIMULATED market is written below the folder once and used
again. Everything is run in turn, in processes of its own, each writing its tables: the models that the peers compute
too (`same columns`), the whole project (`everything`), then the peers (benchmarks/peers/). The table says wall time,
CPU time and peak memory of each; what counts are the ratios.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.transform.dbt import WHOLE, dbt_command, dbt_environment

PEERS = Path(__file__).parent / "peers"

# What the peers compute, with all that it is made from.
SAME_COLUMNS = ("+returns", "+volatility", "+trend", "+sector_relative", "+int_move_scores")


@dataclass(frozen=True)
class Cost:
    """Of one command: wall and CPU seconds, peak memory in GB."""

    wall: float
    cpu: float
    memory: float


def cost(command: list[str], environment: dict[str, str]) -> Cost:
    """Run a command to its end and measure it.

    Raises:
        SystemExit: it failed; what it printed is shown.
    """
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{said.read()[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def dbt_run(whole: bool) -> list[str]:
    """The command that builds the models, everything or what new bars can change."""
    return dbt_command("--quiet", "run", *(WHOLE if whole else ()))


def commands(home: Path, without: set[str]) -> dict[str, list[str]]:
    """What is measured, by name."""
    dbt = dbt_run(whole=True)
    found = {"dbt, same columns": [*dbt, "--select", *SAME_COLUMNS], "dbt, everything": dbt}
    for peer in ("polars", "pandas"):
        if peer not in without:
            program = PEERS / f"{peer}_program.py"
            found[peer] = [sys.executable, str(program), str(home), str(home / peer)]
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
        environment = {**dbt_environment(home / "target", settings), "PYTHONPATH": str(PROJECT_ROOT)}
        runs = commands(home, set(asked.without))
        costs: dict[str, list[Cost]] = {name: [] for name in runs}
        for _ in range(asked.rounds):
            for name, command in runs.items():
                settings.paths.warehouse.unlink(missing_ok=True)
                costs[name].append(cost(command, environment))
        print(f"\n{asked.instruments:,} instruments, {asked.years} years, median of {asked.rounds}\n")
        print("| | wall s | CPU s | peak GB | wall against dbt, same columns |\n|---|---|---|---|---|")
        own = statistics.median(c.wall for c in costs["dbt, same columns"])
        for name, measured in costs.items():
            wall, cpu, memory = (
                statistics.median(getattr(c, figure) for c in measured) for figure in ("wall", "cpu", "memory")
            )
            print(f"| {name} | {wall:.1f} | {cpu:.1f} | {memory:.2f} | x{wall / own:.2f} |")


if __name__ == "__main__":
    main()
