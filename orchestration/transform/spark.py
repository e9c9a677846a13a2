"""Whether Spark is there: its packages and its master before a build, its workers while it runs.

Spark itself waits for workers without end or word.
"""

import json
import os
import socket
import sys
import threading
import time
from importlib.util import find_spec

from orchestration.market.errors import SettingsError

# The models that run Python, and what stands beside them: Spark runs none, so DuckDB builds them on its tables.
EVIDENCE = "orewatch.intermediate.evidence+ orewatch.marts.evidence"

SECONDS_TO_ANSWER = 5
# Longer than a master takes to miss a worker and to give its part to another one.
PATIENCE_SECONDS = 120
# Beside those of dbt, which ends with 1 or 2: its build was broken off.
BROKEN_OFF = 3


def require_engine(engine: str, spark: str, has_java: bool) -> None:
    """Do nothing if what runs the models is there.

    Args:
        engine: duckdb or spark.
        spark: address of Spark.
        has_java: whether there is a Java.

    Raises:
        SettingsError: it is not; the message says what to install or to start.
    """
    if engine != "spark":
        return
    if not (find_spec("pyspark") and find_spec("dbt.adapters.spark")):
        raise SettingsError("OREWATCH_ENGINE=spark needs dbt-spark and pyspark: run `make spark-environment`")
    if not has_java:
        raise SettingsError("OREWATCH_ENGINE=spark needs Java 17: on Debian, apt-get install default-jre-headless")
    if is_cluster(spark) and not master_answers(spark):
        raise SettingsError(
            f"OREWATCH_SPARK={spark}: nothing answers there. Start the master and its workers, "
            "or let Spark run in this process: OREWATCH_SPARK=local[*]"
        )


def is_cluster(address: str) -> bool:
    """Whether an address of Spark, as the settings allow it, is that of a cluster."""
    return address.startswith("spark://")


def master_answers(address: str) -> bool:
    """Whether a master listens: one of spark://HOST:PORT,HOST:PORT."""
    for master in address.removeprefix("spark://").split(","):
        host, _, port = master.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
        except (OSError, OverflowError):
            continue
        return True
    return False


def end_without_workers(master: str, memory_gb: str, patience: float = PATIENCE_SECONDS) -> threading.Thread | None:
    """Watch, beside the build in this process, whether a cluster works for it; end the process if none does.

    What is said on standard output has the form of dbt's own events, so whoever reads those gives it as the reason. The
    tables are as after a kill: the next build is a full refresh.

    Args:
        master: address of Spark; in one process there are no workers to lose, and nothing is watched.
        memory_gb: what each worker was asked for.
        patience: seconds without one.

    Returns:
        The thread that watches, which ends with the process.
    """
    if not is_cluster(master):
        return None
    watch = threading.Thread(target=_watch, args=(master, memory_gb, patience), daemon=True)
    watch.start()
    return watch


def _watch(master: str, memory_gb: str, patience: float) -> None:
    seen = None  # when the session began, or a worker was last seen
    while True:
        time.sleep(min(patience / 4, 5))
        at_work = _workers()
        if at_work is None:
            continue
        if at_work or seen is None:
            seen = time.monotonic()
        elif time.monotonic() - seen > patience:
            message = (
                f"no worker of {master} has worked on this build for {patience:.0f} s: none runs, or none has "
                f"{memory_gb} GB to give (OREWATCH_MEMORY_GB); the master's page shows them"
            )
            event = {"info": {"name": "NoSparkWorker", "level": "error", "msg": message}, "data": {}}
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()
            os._exit(BROKEN_OFF)  # dbt's threads wait for Java, and would go on doing so


def _workers() -> int | None:
    """How many executors this process has on the cluster; None before dbt has begun its session, or after."""
    from py4j.protocol import Py4JError
    from pyspark import SparkContext

    # What is public would begin one. It is there before it has a Java side, and after.
    java = getattr(SparkContext._active_spark_context, "_jsc", None)
    if java is None:
        return None
    try:
        # The driver is one of them.
        return int(java.sc().getExecutorMemoryStatus().size()) - 1
    except Py4JError:  # it is ending
        return None
