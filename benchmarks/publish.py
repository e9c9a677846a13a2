"""What a publication costs beside a copy of the same tables by DuckDB, each table sorted by its grain.

    python -m benchmarks.publish [instruments] [years] [--home FOLDER] [--rounds N] [--large-rows N]

Without a size: the default universe with eight years, each round into an empty folder. With one: a large SIMULATED
market (10,000 instruments over 20 years are fifty million bars) is built and published; then one new session and one
corrected bar arrive in turn, are built by the real dbt project as a refresh would, and published. `written` and
`linked` are bytes of the new version's files.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.increments import Market, incremental_build
from orchestration.duckdb_io import identifier, literal
from orchestration.publish.marts import marts
from orchestration.publish.tables import LARGE_ROWS
from orchestration.publish.versions import publish
from orchestration.settings import Settings

DEFAULT = (30, 8)


@dataclass(frozen=True)
class Spent:
    """Wall and CPU seconds of this process, and bytes."""

    wall: float
    cpu: float
    written: int = 0
    linked: int = 0


def spent(work: Callable[[], None]) -> Spent:
    """What some work takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def copy(settings: Settings) -> Spent:
    """DuckDB's own copy of all marts, each sorted by its grain, into a file that goes away."""
    with tempfile.TemporaryDirectory(dir=settings.paths.root) as folder:
        target = Path(folder) / "copy.duckdb"

        def work() -> None:
            with duckdb.connect() as connection:
                connection.execute(f"set memory_limit = '{settings.memory_gb}GB'")
                connection.execute(f"set temp_directory = {literal(Path(folder) / 'spilled')}")
                connection.execute(f"attach {literal(settings.paths.warehouse)} as warehouse (read_only)")
                connection.execute(f"attach {literal(target)} as copied (storage_version 'v1.0.0')")
                for name, mart in marts().items():
                    order = ", ".join(map(identifier, mart.grain)) or "all"
                    table = identifier(name)
                    connection.table(f"warehouse.main.{table}").order(order).create(f"copied.main.{table}")
                connection.execute("detach copied")

        took = spent(work)
        return Spent(took.wall, took.cpu, target.stat().st_size)


def published(settings: Settings, large_rows: int) -> Spent:
    """A publication of what is in the warehouse."""
    tables = marts()

    def work() -> None:
        publish(
            settings.paths.warehouse,
            tables,
            settings.paths.published,
            "benchmark",
            settings.source,
            settings.simulated,
            build_state=settings.paths.build_state,
            large_rows=large_rows,
            memory_gb=settings.memory_gb,
        )

    took = spent(work)
    files = [p.stat() for p in (settings.paths.published / "current").resolve().rglob("*") if p.is_file()]
    # What an older version has as well.
    linked = sum(f.st_size for f in files if f.st_nlink > 1)
    return Spent(took.wall, took.cpu, sum(f.st_size for f in files) - linked, linked)


def forget(settings: Settings) -> None:
    """Remove every version."""
    shutil.rmtree(settings.paths.published, ignore_errors=True)
    settings.paths.build_state.unlink(missing_ok=True)


def take_in(market: Market, arrive: Callable[[], None]) -> None:
    """News arrives and is built."""
    arrive()
    with incremental_build(market.settings.paths.build_state, market.settings.paths.warehouse):
        market.build(whole=False)


def show(name: str, runs: list[Spent], copies: list[Spent]) -> None:
    """One line of the table."""
    wall, cpu, written, linked = (
        statistics.median(getattr(run, figure) for run in runs) for figure in ("wall", "cpu", "written", "linked")
    )
    ratios = [statistics.median(getattr(run, f) for run in copies) for f in ("wall", "cpu")]
    print(
        f"| {name} | {wall:.2f} | {wall / ratios[0]:.2f} | {cpu:.2f} | {cpu / ratios[1]:.2f}"
        f" | {written / 1e6:,.0f} | {linked / 1e6:,.0f} |",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instruments", type=int, nargs="?", default=DEFAULT[0])
    parser.add_argument("years", type=int, nargs="?", default=DEFAULT[1])
    parser.add_argument("--home", type=Path, help="where the market is kept; a temporary folder if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large-rows", type=int, default=LARGE_ROWS, help="a table with more rows is cut into parts")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        market = Market((asked.home or Path(temporary)).resolve(), asked.instruments, asked.years)
        settings = market.settings
        market.build(whole=True)
        copies, first = [], []
        for _ in range(asked.rounds):
            copies.append(copy(settings))
            forget(settings)
            first.append(published(settings, asked.large_rows))
        print(f"\n{asked.instruments:,} instruments, {asked.years} years, medians of {asked.rounds}\n")
        print("| | wall s | of the copy | CPU s | of the copy | MB written | MB linked |")
        print("|---|---|---|---|---|---|---|")
        show("DuckDB's copy", copies, copies)
        show("first publication", first, copies)
        if (asked.instruments, asked.years) == DEFAULT:
            return
        for name, arrive in {"one new session": market.next_session, "one corrected bar": market.correction}.items():
            runs = []
            for _ in range(asked.rounds):
                take_in(market, arrive)
                runs.append(published(settings, asked.large_rows))
            show(name, runs, copies)


if __name__ == "__main__":
    main()
