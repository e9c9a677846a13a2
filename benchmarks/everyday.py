"""What people wait for every day, as ratios of two commands measured side by side, in turn, in one run.

    python -m benchmarks.everyday [rounds]
    python -m benchmarks.everyday --steps

- loading the code location (manifest prepared) against importing dagster and dagster_dbt alone
- a refresh that finds nothing new against a bare `dbt build` of the same project on the same data
- a refresh that builds everything against the same `dbt build`
- the refresh of an evening, which brings one new session of every instrument, against the same `dbt build`
- the first refresh of a new home against the first `dbt build` into a new warehouse, which reads every model anew

Everything runs on the simulated market in a temporary home. Single times are noise on a shared machine; the ratio of
neighbours is what counts, and that of their processor time, the last column, is what a busy machine distorts least.
`--steps` lists where the seconds of a refresh go, from samples of its main thread.
"""

import datetime as dt
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from benchmarks.steps import print_steps
from orchestration.market.calendar import sessions
from orchestration.settings import DBT_PROJECT_DIR, SAMPLE_LAST_AS_OF, Settings
from orchestration.transform.dbt import DbtRunner

BIN = Path(sys.executable).parent
# Of everything: an incremental one would have nothing to do.
BUILD = ("build", "--full-refresh", "--exclude-resource-type", "unit_test")


def measured(run: Callable[[], None]) -> tuple[float, float]:
    """Wall seconds of one run, and seconds of processors."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run()
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(name: str, ours: Callable[[], None], peer: Callable[[], None], rounds: int) -> None:
    """Run both in turn after a warm-up and print medians and the median ratio."""
    ours(), peer()
    pairs = [(measured(ours), measured(peer)) for _ in range(rounds)]
    ratios = sorted(a / b for (a, _), (b, _) in pairs)
    print(
        f"{name:<54} {statistics.median(a for (a, _), _ in pairs):6.2f} s  "
        f"{statistics.median(b for _, (b, _) in pairs):6.2f} s  x{statistics.median(ratios):.2f}  "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f})  x{statistics.median(a / b for (_, a), (_, b) in pairs):.2f}",
        flush=True,
    )


class Bench:
    """Commands on one home below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(home=folder / "home")
        self.numbers = count()
        self.evenings = _evenings(self.settings.as_of)

    def run(self, *arguments: object, home: Path | None = None, **variables: str) -> None:
        """A command of ours, with the sample as its source."""
        environment = {
            **os.environ,
            "OREWATCH_HOME": str(home or self.settings.home),
            "OREWATCH_SOURCE": "sample",
            **variables,
        }
        subprocess.run([str(a) for a in arguments], env=environment, check=True, stdout=subprocess.DEVNULL)

    def refresh(self) -> None:
        """A refresh on the evening that the last one knew."""
        self.run(BIN / "orewatch", "refresh")

    def everything(self) -> None:
        """A refresh that fetches, builds, audits, publishes, checks and writes the brief, on prices that are known."""
        # The market checks have not seen the published version: everything after the fetch runs again.
        (self.settings.paths.root / "market_checks.json").unlink()
        self.refresh()

    def evening(self) -> None:
        """A refresh on the next evening."""
        self.run(BIN / "orewatch", "refresh", OREWATCH_AS_OF=next(self.evenings).isoformat())

    def first(self) -> None:
        """The first refresh of a new home."""
        with tempfile.TemporaryDirectory(dir=self.folder) as home:
            self.run(BIN / "orewatch", "refresh", home=Path(home))

    def build(self) -> None:
        """A bare `dbt build` of the same models and tests on the same data, again."""
        self._build(self.settings.paths.warehouse, self.folder / "target")

    def first_build(self) -> None:
        """The same into a new warehouse, by a dbt that has not read the models for it."""
        folder = self.folder / f"build{next(self.numbers)}"
        shutil.copytree(DBT_PROJECT_DIR / "target", folder)
        self._build(folder / "warehouse.duckdb", folder)

    def _build(self, warehouse: Path, target: Path) -> None:
        dbt = DbtRunner(target, {**self.settings.dbt_environment(), "OREWATCH_WAREHOUSE": str(warehouse)})
        dbt.run("--quiet", *BUILD, stdout=subprocess.DEVNULL).check_returncode()


def _evenings(after: dt.date) -> Iterator[dt.date]:
    """Evenings with a new session, in order."""
    for session in sessions("XNYS", after + dt.timedelta(days=1), SAMPLE_LAST_AS_OF)["session_date"]:
        yield session.date()


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.refresh()
        print(f"{'':<54} {'ours':>8}  {'peer':>8}  ratio  (min to max)    processors, {rounds} rounds")
        compare(
            "load the code location / import dagster, dagster_dbt",
            lambda: bench.run(sys.executable, "-c", "from orchestration.definitions import defs"),
            lambda: bench.run(sys.executable, "-c", "import dagster, dagster_dbt"),
            rounds,
        )
        compare("refresh that finds nothing new / dbt build", bench.refresh, bench.build, rounds)
        compare("refresh that builds everything / dbt build", bench.everything, bench.build, rounds)
        compare("refresh of an evening / dbt build", bench.evening, bench.build, min(rounds, 20))
        compare("first refresh of a home / first dbt build", bench.first, bench.first_build, rounds)


if __name__ == "__main__":
    if sys.argv[1:] == ["--steps"]:
        print_steps()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
