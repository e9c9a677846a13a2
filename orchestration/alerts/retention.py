"""What has been kept for long enough goes: runs of Dagster, the journal of alerts, briefs. The settings say how long.

A refresh does it after its checks, a little at a time, and never fails because of it. Nothing goes that somebody still
needs: the run that made the present state of an asset, the last result of a check, an event that could be flagged
again, a delivery that is owed. A killed prune is gone on with by the next: what says that there is something to remove
is removed last. Published versions go with the next publication (`publish.versions`).
See docs/decisions/0032-retention.md.
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

from orchestration.alerts.deliver import ENDED, collect
from orchestration.alerts.outbox import journal
from orchestration.duckdb_io import rows
from orchestration.instance.instance import is_ours
from orchestration.publish.manifest import readable_manifest
from orchestration.settings import Settings

# An evening adds two to four. What is old already (an upgrade, a shorter setting) goes over some evenings, and so does
# the history if the clock is wrong.
RUNS_AT_ONCE = 50

# The sensor looks 2,880 times a day.
LOOKING = ("alerts", "refresh_after_close")
LOOK_DAYS = 7
LOOKS_AT_ONCE = 20_000

# Free space inside the index of all runs that is worth writing it anew; less is used again by the next evenings.
WORTHWHILE_BYTES = 32 * 2**20

LATEST_SESSIONS = "select symbol, max(session_date) as latest from daily_bars group by symbol"


def prune(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Remove what is older than the settings keep; returns what could not be removed and why, a line each."""
    now = time.time()
    said = []
    for what, remove in (("runs", _runs), ("logs", _looks), ("alerts", _alerts), ("briefs", _briefs)):
        try:
            remove(settings, instance, now)
        except Exception as error:  # whatever it is, a refresh has done its work without it
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            said.append(f"old {what} could not be removed ({reason}); the next refresh tries again")
    return said


def _runs(settings: Settings, instance: dg.DagsterInstance, now: float) -> None:
    """Old runs with their events, check results and output."""
    old = _old_runs(settings, instance, now - settings.keep_runs_days * 86400.0)
    if not old:
        return
    with journal(settings.paths.alerts) as notes:
        # A run that went wrong is told of, even if nobody has looked at it for so long.
        collect(settings, instance, notes)
        _delete_check_results(instance, old)
        for run_id in old:
            _delete_run(instance, run_id)
        notes.forget_runs(old)
    log = instance.event_log_storage
    if isinstance(log, SqliteEventLogStorage):
        _give_back(Path(log.path_for_shard(INDEX_SHARD_NAME)))


def _old_runs(settings: Settings, instance: dg.DagsterInstance, before: float) -> list[str]:
    """Ids of runs of this home that ended long ago, oldest first, but for those that made what assets are now."""
    ended = dg.RunsFilter(statuses=ENDED, updated_before=dt.datetime.fromtimestamp(before, dt.UTC))
    old = [run.run_id for run in instance.get_runs(ended, ascending=True) if is_ours(run, settings)]
    if not old:
        return []
    entries = [record.asset_entry for record in instance.get_asset_records()]
    needed = {made.run_id for entry in entries for made in (entry.last_materialization, entry.last_observation) if made}
    return [run_id for run_id in old if run_id not in needed][:RUNS_AT_ONCE]


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


def _give_back(database: Path) -> None:
    """Give the free space of a SQLite file back to the disk if it is most of the file; not while somebody writes."""
    with closing(sqlite3.connect(database, timeout=1)) as connection, suppress(sqlite3.OperationalError):
        size, pages, free = (
            connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        if free * size >= WORTHWHILE_BYTES and free > pages / 2:
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")


def _looks(settings: Settings, instance: dg.DagsterInstance, now: float) -> None:
    """Logs of the sensor's and the schedule's looks, one file each, of a Dagster that is not told to keep none.

    Only in a folder of our own: elsewhere others may have a sensor of that name.
    """
    if Path(instance.root_directory) != settings.paths.dagster:
        return
    before = now - LOOK_DAYS * 86400.0
    logs = (log for name in LOOKING for log in Path(instance.storage_directory()).glob(f"*/{name}/*.*"))
    for log in islice((log for log in logs if log.stat().st_mtime < before), LOOKS_AT_ONCE):
        log.unlink(missing_ok=True)


def _alerts(settings: Settings, _: dg.DagsterInstance, now: float) -> None:
    """Old events of the journal that nobody is owed and no check can flag again.

    A check flags what is up to 30 days older than the latest session of an instrument; so an event's age is counted
    back from there, not from today: one of an instrument that trades no more stays flagged, and known as told.
    """
    days = settings.keep_alerts_days
    if not settings.paths.alerts.is_dir():  # whoever opens the journal first says since when there is news
        return
    with journal(settings.paths.alerts) as notes:
        if not notes.has_settled(now - days * 86400.0):
            return
        latest = _latest_sessions(settings)

        def is_over(symbols: Sequence[str], session: dt.date) -> bool:
            return bool(symbols) and all(s in latest and session < latest[s] - dt.timedelta(days=days) for s in symbols)

        notes.forget(now - days * 86400.0, is_over)


def _latest_sessions(settings: Settings) -> dict[str, dt.date]:
    if readable_manifest(settings.paths.published) is None:
        return {}
    return {row["symbol"]: row["latest"] for row in rows(settings.paths.published_file, LATEST_SESSIONS)}


def _briefs(settings: Settings, _: dg.DagsterInstance, now: float) -> None:
    """Pages that were written long ago, whatever session they are about; `orewatch brief --date` writes them again."""
    before = now - settings.keep_briefs_days * 86400.0
    for path in settings.paths.briefs.glob("????-??-??.*"):
        if path.suffix in (".html", ".md") and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
