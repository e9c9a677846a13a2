"""The models on a standalone cluster of two workers, of which one dies while they are built."""

import signal
import threading
from pathlib import Path

import pytest

from benchmarks.spark_cluster import Cluster, spark_cluster
from tests.parity import generated_market, parity

pytest.importorskip("pyspark", reason="the packages of the extra `spark` are not installed")

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Enough to have shuffles and windows on both workers; `make parity` compares all marts on a cluster.
MARTS = ("returns", "sector_relative", "trend")
TABLES_BEFORE_LOSS = 8


def lose_a_worker(cluster: Cluster, tables: Path, lost: threading.Event, over: threading.Event) -> None:
    """Kill the first worker once enough tables are there; its executor ends with it."""
    while not over.wait(0.2):
        if len(list(tables.glob("*"))) >= TABLES_BEFORE_LOSS:
            cluster.workers[0].send_signal(signal.SIGKILL)
            lost.set()
            return


def test_a_build_survives_the_loss_of_a_worker(tmp_path: Path) -> None:
    market = generated_market(tmp_path / "home").model_copy(update={"memory_gb": 1.0})
    lost, over = threading.Event(), threading.Event()
    with spark_cluster(tmp_path / "cluster", workers=2, cores=1, memory_gb=1) as cluster:
        watch = threading.Thread(
            target=lose_a_worker, args=(cluster, market.paths.spark / "tables" / "orewatch.db", lost, over)
        )
        watch.start()
        try:
            found = parity(market, cluster.address, marts=MARTS)
        finally:
            over.set()
            watch.join()
        assert lost.is_set()
        assert cluster.workers[0].wait(60) == -signal.SIGKILL
        assert cluster.workers[1].poll() is None
    assert [table.table for table in found.tables] == sorted(MARTS)
    assert [table for table in found.tables if not table.equal] == []
    # Both had a part of it, before and after.
    executors = {path.parent.parent.parent.name for path in (tmp_path / "cluster").glob("work-*/app-*/*/stderr")}
    assert executors == {"work-0", "work-1"}
