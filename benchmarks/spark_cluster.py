"""A standalone Spark cluster on loopback: a master and workers, each a process of its own."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs.

    Attributes:
        address: spark://HOST:PORT of its master.
        workers: the processes of its workers.
    """

    address: str
    workers: "list[subprocess.Popen[bytes]]"


@contextmanager
def spark_cluster(folder: Path, workers: int = 2, cores: int = 1, memory_gb: int = 2) -> Iterator[Cluster]:
    """Start it, and end it with the block.

    Args:
        folder: where the processes keep their logs and what executors write.
        workers: how many.
        cores: threads of each.
        memory_gb: memory of each.

    Raises:
        RuntimeError: a process has ended or does not listen; its log is named.
    """
    import pyspark

    command = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
    # Without it the web pages of master and workers listen everywhere.
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_NO_DAEMONIZE": "1"}
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:

        def start(name: str, *arguments: str) -> "subprocess.Popen[bytes]":
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [command, *arguments], env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        port = _free_port()
        master = start(
            "master",
            *("org.apache.spark.deploy.master.Master", "--host", "127.0.0.1"),
            *("--port", str(port), "--webui-port", "0"),
        )
        _wait_for(folder / "master.log", "I have been elected leader", 1, master)
        address = f"spark://127.0.0.1:{port}"
        started = [
            start(
                f"worker-{number}",
                *("org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--webui-port", "0"),
                *("--cores", str(cores), "--memory", f"{memory_gb}g", "--work-dir", str(folder / f"work-{number}")),
                address,
            )
            for number in range(workers)
        ]
        _wait_for(folder / "master.log", "Registering worker", workers, master)
        yield Cluster(address, started)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(log: Path, text: str, times: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while log.read_text("utf-8", errors="replace").count(text) < times:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Spark's cluster did not start; see {log}")
        time.sleep(0.2)
