"""Old runs of Dagster, and how all of one is removed: its events, check results, output and row.

The run that made the present state of an asset stays, and so does the last result of a check.
"""

import datetime as dt
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as CheckResults
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable as Runs
from dagster._core.storage.runs.schema import RunTagsTable as RunTags
from sqlalchemy import func, select

from orchestration.home import Home
from orchestration.instance.runs import ENDED, is_ours

# An evening adds two to four. What is old already (an upgrade, a shorter setting) goes over some evenings, and so does
# the history if the clock is wrong.
RUNS_AT_ONCE = 50

# The sensor looks 2,880 times a day.
LOOKING = ("alerts", "refresh_after_close")
LOOK_DAYS = 7
LOOKS_AT_ONCE = 20_000

# Free space inside the index of all runs that is worth writing it anew; less is used again by the next evenings.
WORTHWHILE_BYTES = 32 * 2**20


def old_runs(home: Home, instance: dg.DagsterInstance, before: float) -> list[str]:
    """Ids of runs of this home that ended long ago, oldest first, but for those that made what assets are now."""
    ended = dg.RunsFilter(statuses=ENDED, updated_before=dt.datetime.fromtimestamp(before, dt.UTC))
    old = [run.run_id for run in instance.get_runs(ended, ascending=True) if is_ours(run, home)]
    if not old:
        return []
    entries = [record.asset_entry for record in instance.get_asset_records()]
    needed = {made.run_id for entry in entries for made in (entry.last_materialization, entry.last_observation) if made}
    return [run_id for run_id in old if run_id not in needed][:RUNS_AT_ONCE]


def delete_runs(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Remove runs with all that belongs to them; the next call goes on with what a killed one left."""
    _delete_check_results(instance, run_ids)
    for run_id in run_ids:
        _delete_run(instance, run_id)


def _delete_check_results(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """What checks found in these runs, but for the last that each has found. Dagster itself never deletes any."""
    log = instance.event_log_storage
    if not isinstance(log, SqlEventLogStorage):
        return
    found = CheckResults.c
    last = (
        select(func.max(found.id))
        .where(found.execution_status != "PLANNED")
        .group_by(found.asset_key, found.check_name, found.partition)
    )
    with log.index_connection() as connection:
        connection.execute(CheckResults.delete().where(found.run_id.in_(run_ids), found.id.not_in(last)))


def _delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """All of one run, its row last: whoever is killed before finds it again.

    `DagsterInstance.delete_run` begins with the row and leaves output, file and, in SQLite, tags behind.
    """
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    # Of a time in which output was kept: see compute_logs in dagster.yaml.
    shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)
    log, runs = instance.event_log_storage, instance.run_storage
    log.delete_events(run_id)
    if isinstance(log, SqliteEventLogStorage):
        for ending in ("", "-wal", "-shm"):
            Path(f"{log.path_for_shard(run_id)}{ending}").unlink(missing_ok=True)
    if isinstance(runs, SqlRunStorage):
        with runs.connect() as connection:  # at once: without its tags nobody finds a run, without a run its tags
            connection.execute(RunTags.delete().where(RunTags.c.run_id == run_id))
            connection.execute(Runs.delete().where(Runs.c.run_id == run_id))
    else:
        runs.delete_run(run_id)


def give_space_back(instance: dg.DagsterInstance) -> None:
    """Give the free space of the index of all runs back to the disk."""
    log = instance.event_log_storage
    if isinstance(log, SqliteEventLogStorage):
        _give_back(Path(log.path_for_shard(INDEX_SHARD_NAME)))


def _give_back(database: Path) -> None:
    """Give the free space of a SQLite file back if it is most of the file; not while somebody writes."""
    with closing(sqlite3.connect(database, timeout=1)) as connection, suppress(sqlite3.OperationalError):
        size, pages, free = (
            connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        if free * size >= WORTHWHILE_BYTES and free > pages / 2:
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")


def remove_looks(home: Home, instance: dg.DagsterInstance) -> None:
    """Remove logs of the sensor's and the schedule's looks, one file each, of a Dagster that keeps them.

    Only in a folder of our own: elsewhere others may have a sensor of that name.
    """
    if Path(instance.root_directory) != home.dagster:
        return
    before = time.time() - LOOK_DAYS * 86400.0
    logs = (log for name in LOOKING for log in Path(instance.storage_directory()).glob(f"*/{name}/*.*"))
    for log in islice((log for log in logs if log.stat().st_mtime < before), LOOKS_AT_ONCE):
        log.unlink(missing_ok=True)
