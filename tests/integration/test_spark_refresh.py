"""The real job with Spark as the engine: what it publishes, and what a killed build leaves."""

import datetime as dt
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestration.cli.compare import BETWEEN_ENGINES, compare
from orchestration.publish.manifest import current_manifest
from orchestration.publish.marts import mart_grains
from orchestration.settings import PROJECT_ROOT, Settings
from tests.jobs import publish_tables
from tests.receivers import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None, reason="the packages of the extra `spark` are not installed"
    ),
]


def start(home: Path, as_of: str, engine: str, spark: str = "local[2]") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli.main", "refresh"],
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT_ROOT),
            "OREWATCH_HOME": str(home),
            "OREWATCH_AS_OF": as_of,
            "OREWATCH_ENGINE": engine,
            "OREWATCH_SPARK": spark,
            "OREWATCH_FULL_REFRESH_BELOW_BARS": "0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def refresh(home: Path, as_of: str, engine: str, spark: str = "local[2]") -> str:
    process = start(home, as_of, engine, spark)
    said, _ = process.communicate(timeout=900)
    assert process.returncode in (0, 1), said  # 1: something was flagged
    return said


def kill_while_building(home: Path, as_of: str) -> None:
    """Kill a refresh, with all of its processes, once Spark has begun to write tables."""
    process = start(home, as_of, "spark")
    tables = Settings(home=home, source="sample").paths.spark / "tables"
    deadline = time.monotonic() + 300
    begun = time.time()
    try:
        while not any(path.stat().st_mtime > begun for path in tables.glob("orewatch.db/int_*")):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_refresh_on_spark(tmp_path: Path) -> None:
    spark, duckdb = (Settings(home=tmp_path / name, source="sample") for name in ("spark", "duckdb"))
    publish_tables(spark.model_copy(update={"as_of": dt.date(2026, 1, 29)}))
    first = current_manifest(spark.paths.published)

    kill_while_building(spark.home, "2026-01-30")
    assert current_manifest(spark.paths.published) == first

    said = refresh(spark.home, "2026-01-30", "spark")
    assert "SIMULATED" in said
    second = current_manifest(spark.paths.published)
    assert second is not None
    assert second.version == 2
    # A refresh that finds nothing new asks no Spark: nothing answers at this address.
    said = refresh(spark.home, "2026-01-30", "spark", f"spark://127.0.0.1:{free_port()}")
    assert "Nothing new: published version 2 stands" in said
    assert current_manifest(spark.paths.published) == second

    publish_tables(duckdb.model_copy(update={"as_of": dt.date(2026, 1, 29)}))
    publish_tables(duckdb)
    tables = compare(
        duckdb.paths.published_file,
        spark.paths.published_file,
        mart_grains(),
        ignored=("observed_at", "batch_id", "first_observed_at", "changed_at", "last_fetch_at"),
        tolerance=BETWEEN_ENGINES,
    )
    assert [table for table in tables if not table.equal] == []
