"""The whole build on each engine: DuckDB, Spark in one process, and a standalone cluster of two workers on loopback.

    python -m benchmarks.engines [instruments] [years] [--home FOLDER] [--rounds N] [--engines duckdb local cluster]

The SIMULATED market is written below the folder once and used again. Each build is the real dbt project, in processes
of its own; the time is from command to end. What Java takes beside it is not seen from here.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.large import cost, dbt_run, runner
from benchmarks.simulated_market import write_market
from benchmarks.spark_cluster import spark_cluster
from orchestration.ingest.lake import Lake
from orchestration.settings import Settings
from orchestration.transform.spark_tables import start_over

ENGINES = {"duckdb": "DuckDB", "local": "Spark, local", "cluster": "Spark, two workers"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instruments", type=int, nargs="?", default=200)
    parser.add_argument("years", type=int, nargs="?", default=20)
    parser.add_argument("--home", type=Path, help="where the market is kept; a temporary folder if not given")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="all, if not given")
    parser.add_argument("--memory-gb", type=float, default=6, help="of DuckDB, of Spark in one process, of all workers")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = (asked.home or Path(temporary)).resolve()
        settings = Settings(home=home, source="sample", memory_gb=asked.memory_gb)
        if not settings.paths.lake.exists():
            write_market(settings, asked.instruments, asked.years)
        bars = Lake(settings.paths.lake).versions_observed_by(settings.now().replace(tzinfo=None))

        def build(engine: str, spark: str, memory_gb: float) -> float:
            chosen = settings.model_copy(update={"engine": engine, "spark": spark, "memory_gb": memory_gb})
            settings.paths.warehouse.unlink(missing_ok=True)
            start_over(settings.paths.spark)
            return cost(runner(chosen, home / f"target-{engine}").start, *dbt_run(whole=True, evidence=False)).wall

        print(f"\n{bars:,} bars, {asked.instruments:,} instruments, {asked.years} years, median of {asked.rounds}\n")
        print("| | wall s | s per million bars | against DuckDB |\n|---|---|---|---|")
        duckdb = None
        for engine in asked.engines:
            times = []
            for _ in range(asked.rounds):
                if engine == "cluster":
                    half = max(int(asked.memory_gb / 2), 1)
                    with spark_cluster(home / "cluster", workers=2, cores=1, memory_gb=half) as cluster:
                        times.append(build("spark", cluster.address, half))
                else:
                    times.append(build("spark" if engine == "local" else engine, "local[2]", asked.memory_gb))
            wall = statistics.median(times)
            duckdb = wall if engine == "duckdb" else duckdb
            ratio = f"{wall / duckdb:.1f}" if duckdb else ""
            print(f"| {ENGINES[engine]} | {wall:.1f} | {wall / bars * 1e6:.1f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
