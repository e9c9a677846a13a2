"""The Dagster instance of a source: one folder for runs and schedules, shared by UI, schedule and command line."""

import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from orchestration.settings import Settings
from orchestration.storage.scratch import process_exists

INSTANCE_CONFIG = Path(__file__).resolve().parent / "dagster.yaml"

# SHA-256 of the configurations that earlier versions wrote: nobody has changed a file that is still like that.
EARLIER = frozenset(
    {
        "aac58f3aec7a820656267f1538e5ce71a3c81a49c5aaf8db86989b73596168b8",
        "ee5174359199cb9347b5ec9dfb99fe173f8b4b9bb1aca29205593dfdb8377c78",
        "6d1d0f152bb1ba06ba86164cf4145eb41c93e5461ace59cb86cc7705260c9036",
    }
)


def prepare_instance(settings: Settings) -> Path:
    """Create the instance folder with our configuration and name it in DAGSTER_HOME; returns it.

    A dagster.yaml that somebody has changed is the user's own and stays. A DAGSTER_HOME that is already set wins.
    """
    # Dagster takes an absolute path only, and `orewatch dev` changes the working directory.
    home = Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home).expanduser().resolve()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists() or hashlib.sha256(config.read_bytes()).hexdigest() in EARLIER:
        config.write_bytes(INSTANCE_CONFIG.read_bytes())
    os.environ["DAGSTER_HOME"] = str(home)
    return home


@contextmanager
def opened_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance of a source, prepared and with all its tables.

    Opened one command at a time: two that make the tables of a new instance at the same moment meet half-way, and
    Dagster lets one of them fail.
    """
    home = prepare_instance(settings)
    with (home / ".opening").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.get()
    with instance:
        yield instance


def process_tags() -> dict[str, str]:
    """Tags of a run that lives in this process, so that its death can be noticed."""
    return {"orewatch/host": socket.gethostname(), "orewatch/pid": str(os.getpid())}


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark command-line runs whose process is gone as failed; returns their ids.

    Dagster's own monitoring watches only runs that it launched itself.
    """
    unfinished = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    dead = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=unfinished, tags={"orewatch/host": socket.gethostname()}))
        if not process_exists(int(run.tags["orewatch/pid"]))
    ]
    for run in dead:
        instance.report_run_failed(run, "the process of this run is gone; the next refresh picks up where it stopped")
    return [run.run_id for run in dead]
