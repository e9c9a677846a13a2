"""Whether DuckDB and Spark build the same tables, cell by cell: `make parity`.

    python -m tests.parity [sample] [generated] [FOLDER] [--spark ADDRESS] [--home FOLDER]

Each market is ingested once, then the dbt project is built whole by both engines from the same lake. Rows are matched
by the grain of their table; floats may differ by 1e-9 of the larger one, or by 1e-12, everything else not at all. dbt's
data tests must find the same on both sides, be it nothing or as many rows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.large import dbt_run
from benchmarks.simulated_market import write_market
from orchestration.cli.compare import BETWEEN_ENGINES, TableComparison, compare
from orchestration.ingest.lake import BARS
from orchestration.publish.marts import mart_grains
from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.transform.dbt import DbtRunner
from orchestration.transform.spark import EVIDENCE
from orchestration.transform.spark_tables import load_tables, start_over


@dataclass(frozen=True)
class Parity:
    """How the two builds of a market compare.

    Attributes:
        tables: what each looks like on both sides.
        seconds: wall time of each engine's build, by its name.
    """

    tables: list[TableComparison]
    seconds: dict[str, float]


class Verdict(NamedTuple):
    """How a data test ended.

    Attributes:
        status: pass, warn, fail or error.
        failures: rows that it found.
    """

    status: str
    failures: int | None


def build(
    settings: Settings, engine: str, spark: str = "local[2]", whole: bool = True, marts: Sequence[str] = ()
) -> float:
    """Build all models, or those that some marts need, with one engine; returns the seconds that it took.

    Raises:
        RuntimeError: dbt failed; what it said is in the message.
    """
    if engine == "spark" and whole:
        start_over(settings.paths.spark)
    selected = ["--select", *(f"+{mart}" for mart in marts)] if marts else []
    if engine == "spark":
        selected += ["--exclude", EVIDENCE]
    begin = time.perf_counter()
    run_dbt(settings, engine, spark, settings.paths.root / f"dbt-{engine}", [*dbt_run(whole), *selected])
    return time.perf_counter() - begin


def data_tests(settings: Settings, engine: str, spark: str = "local[2]") -> dict[str, Verdict]:
    """Run dbt's data tests on every row that an engine has built; how each ended, by its name."""
    target = settings.paths.root / f"dbt-tests-{engine}"
    (target / "run_results.json").unlink(missing_ok=True)  # an old one would answer for this run
    everything = ["--select", "test_type:data", "--exclude", EVIDENCE, "--vars", "test_all_rows: true"]
    run_dbt(settings, engine, spark, target, ["test", *everything], tests_may_fail=True)
    results = json.loads((target / "run_results.json").read_text())["results"]
    return {
        result["unique_id"].split(".")[2]: Verdict(result["status"], result["failures"])
        for result in results
        if result["unique_id"].startswith("test.")
    }


def run_dbt(
    settings: Settings,
    engine: str,
    spark: str,
    target: Path,
    arguments: list[str],
    tests_may_fail: bool = False,
    warehouse: Path | None = None,
) -> str:
    """Run dbt on a home with one engine; its own files go to a folder. Returns what it said.

    Raises:
        RuntimeError: dbt failed; what it said is in the message.
    """
    chosen = settings.model_copy(update={"engine": engine, "spark": spark})
    other = {} if warehouse is None else {"OREWATCH_WAREHOUSE": str(warehouse)}
    dbt = DbtRunner(target, {**chosen.dbt_environment(), **other, "PYTHONPATH": str(PROJECT_ROOT)})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = dbt.run(*arguments, cwd=settings.paths.root, text=True, **pipes)
    if done.returncode not in ({0, 1} if tests_may_fail else {0}):
        raise RuntimeError(f"dbt failed on {engine}:\n{done.stdout[-8000:]}")
    return done.stdout


def parity(settings: Settings, spark: str = "local[2]", whole: bool = True, marts: Sequence[str] = ()) -> Parity:
    """Build a market with both engines and compare all marts.

    Args:
        settings: of its home.
        spark: address of Spark.
        whole: whether Spark builds everything too, or only what is new since it last has.
        marts: compare these alone, and build no more than they need.
    """
    seconds = {
        "duckdb": build(settings, "duckdb", marts=marts),
        "spark": build(settings, "spark", spark, whole, marts),
    }
    other = settings.paths.root / "spark.duckdb"
    load_tables(settings.paths.spark, other)
    if not marts:
        evidence = [*dbt_run(whole), "--select", EVIDENCE]
        run_dbt(settings, "duckdb", spark, settings.paths.root / "dbt-evidence", evidence, warehouse=other)
    grains = {mart: grain for mart, grain in mart_grains().items() if not marts or mart in marts}
    return Parity(compare(settings.paths.warehouse, other, grains, tolerance=BETWEEN_ENGINES), seconds)


def generated_market(home: Path, instruments: int = 34, years: int = 3) -> Settings:
    """A SIMULATED market with all that real ones have too: holes, splits, flat bars, bars without a range, equal
    returns, one price for weeks, dividends, prices in another unit, and several versions of a bar.
    """
    settings = Settings(home=home, source="sample")
    rng = np.random.default_rng(20260130)
    count = 0

    def disturbed(bars: pa.Table) -> pa.Table:
        nonlocal count
        count += 1
        frame = bars.to_pandas()
        n = len(frame)
        prices = ["open", "high", "low", "close"]
        if count % 4 == 0:  # a split of 2 for 1; prices before it are delivered on the new basis
            frame.loc[n // 2, "split_ratio"] = 2.0
        if count % 4 == 1:  # on a coarse grid, returns are equal again and again
            frame[prices] = frame[prices].round(0).clip(lower=1)
        if count % 5 == 0:
            frame.loc[frame.index % 17 == 3, "bar_quality"] = "close_only"
        flat = rng.random(n) < 0.03
        for column in ("open", "high", "low"):
            frame.loc[flat, column] = frame.loc[flat, "close"]
        frame.loc[flat, "bar_quality"] = "flat"
        without = (frame["bar_quality"] == "close_only").to_numpy()
        frame.loc[without, ["open", "high", "low"]] = None
        if count % 6 == 0:  # one price for two weeks
            frame.loc[n // 3 : n // 3 + 9, prices] = frame.loc[n // 3, "close"]
        if count % 7 == 0:  # pence for pounds
            frame.loc[n // 4, prices] *= 100
        frame["adj_close"] = frame["close"] if count % 3 else None
        holes = rng.random(n) < (0.02 if count % 2 else 0.002)
        if count % 8 == 0:
            holes[n // 2 + 20 : n // 2 + 45] = True
        kept = frame[~holes]
        again = kept[rng.random(len(kept)) < 0.02].copy()  # later versions, some of which say something else
        again["observed_at"] += np.timedelta64(1, "D")
        again["batch_id"] = again["batch_id"] + "-later"
        again.loc[again.index % 2 == 0, "close"] = again["low"].fillna(again["close"])
        both = [pa.Table.from_pandas(part, schema=BARS, preserve_index=False) for part in (kept, again)]
        return pa.concat_tables(both)

    write_market(settings, instruments, years, disturbed, abroad=True)
    return settings


def refreshed(settings: Settings) -> Settings:
    """A home after a refresh, as a person starts it."""
    subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", "refresh"],
        env={**os.environ, **settings.given_environment(), "PYTHONPATH": str(PROJECT_ROOT)},
        stdout=subprocess.DEVNULL,
        check=False,  # what the vendor did not send is no matter here
    )
    return settings


def _said(table: TableComparison) -> str:
    if table.equal or table.problem:
        return table.problem or "equal"
    return f"{table.differing_cells} cells differ, rows only in DuckDB {table.only_left}, in Spark {table.only_right}"


def report(market: str, found: Parity) -> Iterable[str]:
    """The comparison as lines of Markdown."""
    yield f"\n{market}: DuckDB {found.seconds['duckdb']:.1f} s, Spark {found.seconds['spark']:.1f} s\n"
    yield "| table | rows | cells | largest difference | |"
    yield "|---|---|---|---|---|"
    for table in found.tables:
        yield f"| {table.table} | {table.rows:,} | {table.cells:,} | {table.largest_difference:.1e} | {_said(table)} |"
        for example in table.examples:
            yield f"|   {example.key} {example.column} | | | {example.left!r} | {example.right!r} |"


def report_of_tests(duckdb: dict[str, Verdict], spark: dict[str, Verdict]) -> Iterable[str]:
    """How the data tests ended on both engines, as lines of Markdown."""
    names = sorted(duckdb.keys() | spark.keys())
    same = [name for name in names if duckdb.get(name) == spark.get(name)]
    yield f"\ndata tests that end alike: {len(same)} of {len(names)}"
    for name in names:
        ours, theirs = duckdb.get(name), spark.get(name)
        if name not in same or ours is None or ours.status != "pass":
            yield f"- {name}: DuckDB {_ended(ours)}, Spark {_ended(theirs)}"


def _ended(verdict: Verdict | None) -> str:
    return f"{verdict.status} ({verdict.failures} rows)" if verdict else "not run"


def main() -> int:
    """Compare and print; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("markets", nargs="*", default=["sample", "generated"], help="or a folder with files of prices")
    parser.add_argument("--spark", default="local[2]", help="address of Spark")
    parser.add_argument("--home", type=Path, help="where the markets are kept; a temporary folder if not given")
    asked = parser.parse_args()
    equal = True
    with tempfile.TemporaryDirectory() as temporary:
        home = (asked.home or Path(temporary)).resolve()
        for number, market in enumerate(asked.markets):
            place = home / f"{number}"
            if market == "generated":
                settings = generated_market(place)
            elif market == "sample":
                settings = refreshed(Settings(home=place, source="sample"))
            else:
                settings = refreshed(Settings(home=place, source="files", files=Path(market).resolve()))
            found = parity(settings, asked.spark)
            sys.stdout.write("\n".join(report(market, found)) + "\n")
            ours, theirs = data_tests(settings, "duckdb"), data_tests(settings, "spark", asked.spark)
            sys.stdout.write("\n".join(report_of_tests(ours, theirs)) + "\n")
            equal = equal and ours == theirs and all(table.equal for table in found.tables)
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
