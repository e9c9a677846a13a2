"""What people wait for every day, as ratios of two commands measured side by side, in turn, in one run.

    python benchmarks/everyday.py [rounds]

- loading the code location (manifest prepared) against importing dagster and dagster_dbt alone
- a refresh that finds nothing new against a bare `dbt build` of the same project on the same data
- a refresh that builds everything against the same `dbt build`

Everything runs on the simulated market in a temporary home. Single times are noise on a shared machine; the ratio of
neighbours is what counts.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from orchestration.settings import DBT_PROJECT_DIR, Settings

BIN = Path(sys.executable).parent


def seconds(run: Callable[[], None]) -> float:
    """Wall time of one run."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def compare(name: str, ours: Callable[[], None], peer: Callable[[], None], rounds: int) -> None:
    """Run both in turn after a warm-up and print medians and the median ratio."""
    ours(), peer()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(rounds)]
    ratios = sorted(a / b for a, b in pairs)
    print(
        f"{name:<58} {statistics.median(a for a, _ in pairs):6.2f} s  {statistics.median(b for _, b in pairs):6.2f} s"
        f"  x{statistics.median(ratios):.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        environment = {**os.environ, "OREWATCH_HOME": home, "OREWATCH_SOURCE": "sample"}

        def command(*arguments: object, **variables: str) -> Callable[[], None]:
            def run() -> None:
                subprocess.run(
                    [str(a) for a in arguments], env={**environment, **variables}, check=True, stdout=subprocess.DEVNULL
                )

            return run

        refresh = command(BIN / "orewatch", "refresh")
        build = command(
            *(BIN / "dbt", "--quiet", "build", "--exclude-resource-type", "unit_test"),
            *("--project-dir", DBT_PROJECT_DIR, "--profiles-dir", DBT_PROJECT_DIR),
            *("--target-path", Path(home) / "target", "--log-path", Path(home) / "target"),
            **settings.dbt_environment(),
        )
        refresh()

        def everything() -> None:
            # The market checks have not seen the published version: everything after the fetch runs again.
            (settings.root / "market_checks.json").unlink()
            refresh()

        print(f"{'':<58} {'ours':>8}  {'peer':>8}  ratio  (min to max), {rounds} rounds")
        compare(
            "load the code location / import dagster, dagster_dbt",
            command(sys.executable, "-c", "from orchestration.definitions import defs"),
            command(sys.executable, "-c", "import dagster, dagster_dbt"),
            rounds,
        )
        compare("refresh that finds nothing new / dbt build", refresh, build, rounds)
        compare("refresh that builds everything / dbt build", everything, build, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
