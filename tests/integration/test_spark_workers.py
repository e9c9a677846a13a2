"""A cluster that has no workers ends a build with a reason, where Spark would wait for ever."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.spark_cluster import spark_cluster
from orchestration.settings import PROJECT_ROOT
from orchestration.transform.spark import BROKEN_OFF, end_without_workers

pytest.importorskip("pyspark", reason="the packages of the extra `spark` are not installed")

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# What a build does: the watch begins before the session, which then has work.
PROGRAM = """
import sys
from orchestration.transform.spark import end_without_workers
from pyspark.sql import SparkSession

end_without_workers(sys.argv[1], "1.0", patience=float(sys.argv[2]))
builder = SparkSession.builder.master(sys.argv[1]).config("spark.executor.memory", "1g")
builder = builder.config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1")
builder = builder.config("spark.driver.bindAddress", "127.0.0.1")
print("counted", builder.getOrCreate().range(1000).repartition(2).count())
"""


def work(address: str, patience: float, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, address, str(patience)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT_ROOT)},
        text=True,
        timeout=400,
        check=False,
    )


def test_without_workers_the_build_ends_and_says_why(tmp_path: Path) -> None:
    with spark_cluster(tmp_path / "cluster", workers=0) as cluster:
        done = work(cluster.address, 4, tmp_path)
    assert done.returncode == BROKEN_OFF
    said = json.loads(done.stdout)["info"]
    assert said["level"] == "error"
    assert said["msg"].startswith(
        f"no worker of {cluster.address} has worked on this build for 4 s: none runs, or none has"
    )
    assert "1.0 GB to give (OREWATCH_MEMORY_GB)" in said["msg"]


def test_with_a_worker_nothing_is_said(tmp_path: Path) -> None:
    with spark_cluster(tmp_path / "cluster", workers=1, memory_gb=1) as cluster:
        done = work(cluster.address, 300, tmp_path)
    assert (done.returncode, done.stdout) == (0, "counted 1000\n")


def test_one_process_has_no_workers_to_lose() -> None:
    assert end_without_workers("local[2]", "6.0") is None
