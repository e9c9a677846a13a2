"""Building all tables from a lake, beside the warehouse: what `orewatch verify` and `orewatch as-of` have in common.

A build lives in a scratch folder with the layout of a home, so the models read it as they read any other. It is always
a full refresh, whatever the warehouse has accumulated, and it knows nothing of publications.
"""

import re
import signal
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from orchestration.instance.progress import ProgressReporter, silent_progress
from orchestration.instance.scratch import Scratch
from orchestration.market.errors import RebuildError
from orchestration.settings import Settings
from orchestration.transform.dbt import BUILD, FULL_REFRESH, DbtRunner
from orchestration.transform.run_results import RUN_RESULTS, dbt_failures

# 12 of 40 OK created sql table model main.trend ... [OK in 0.60s]
_DONE = re.compile(r"(\d+) of (\d+) (?:OK|ERROR|SKIP)\b.*?\bmain\.(\w+)")


def inside(settings: Settings, scratch: Scratch) -> Settings:
    """The settings of a home in a scratch folder, in which DuckDB builds, whatever built what it is compared with."""
    return settings.model_copy(update={"home": scratch.path, "engine": "duckdb"})


def build_tables(
    settings: Settings, scratch: Scratch, progress: ProgressReporter = silent_progress, with_tests: bool = False
) -> Path:
    """Build every model from the lake and the control tables below `settings.paths.root`; returns the warehouse.

    Args:
        settings: of a home in a scratch folder; see `inside`.
        scratch: that folder; dbt keeps it from being swept as long as it runs.
        progress: called after each model.
        with_tests: whether dbt's data tests look at every row; incremental builds let them look at what they built.

    Raises:
        RebuildError: a model or a test failed; the message holds dbt's own.
    """
    dbt = DbtRunner(settings.paths.dbt, settings.dbt_environment())
    last_lines: deque[str] = deque(maxlen=5)
    process = dbt.start(
        *(BUILD if with_tests else ("run",)),
        *FULL_REFRESH,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=(scratch.lock,),
    )
    try:
        assert process.stdout is not None  # noqa: S101  (it was asked for)
        for line in process.stdout:
            last_lines.append(line.strip())
            if match := _DONE.search(line):
                progress(int(match[1]), int(match[2]), f"rebuilt {match[3]}")
        failed = process.wait() != 0
    finally:
        # An interrupted command must not leave dbt behind, writing into a folder that is going away.
        if process.poll() is None:
            process.terminate()
            process.wait()
    if failed:
        raise RebuildError(
            "the tables could not be rebuilt: " + (dbt_failures(dbt.target / RUN_RESULTS) or " ".join(last_lines))
        )
    return settings.paths.warehouse


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Let a polite kill (SIGTERM, SIGHUP) run the cleaning up, as Ctrl-C does. Only in the main thread."""

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
