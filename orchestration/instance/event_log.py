"""Dagster's event log in SQLite, with connections that stay open. Named in `dagster.yaml`; Dagster makes it, not we.

Dagster opens and closes the database for every event, three times for a check. Whoever closes SQLite's last connection
in WAL mode moves the log into the database, syncs both and deletes the log; a refresh has 700 events, and this took
longer than all that they report about. What is stored, and where, stays Dagster's.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dagster import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

RUN_ENDS = (DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED)

# The index of all runs and the logs of the runs that are written or looked at now.
CONNECTIONS = 4


class EventLog(SqliteEventLogStorage):
    """Stores what `SqliteEventLogStorage` stores, in the same files.

    A killed process loses nothing that it has stored. A power cut can take events of the runs that it interrupts, never
    the database: when a run is said to have ended, its events are on the disk.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "EventLog":
        """The log of the instance in the folder `base_dir`: in the files where Dagster's own would be."""
        return cls(str(Path(config_value["base_dir"]) / "history" / "runs"), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> Engine:
        """The open database of one run, or the index; the one that was not needed for longest is closed."""
        engine = self._engines.get(shard)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            event.listen(engine, "connect", _sync_rarely)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._engines[shard] = engine
            if len(self._engines) > CONNECTIONS:
                self._engines.popitem(last=False)[1].dispose()
        self._engines.move_to_end(shard)
        return engine

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event, and wake whoever watches the file of its run: the web UI shows runs as they go."""
        super().store_event(event)
        if event.dagster_event_type in RUN_ENDS:
            for connect in (lambda: self.run_connection(event.run_id), self.index_connection):
                with connect() as connection:
                    connection.exec_driver_sql("pragma wal_checkpoint(passive)")
        with suppress(FileNotFoundError):  # somebody deletes the run at this moment
            os.utime(self.path_for_shard(event.run_id))

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; asked for every check, and a table that is there stays."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def wipe(self) -> None:
        """Delete everything."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close the connections; what they have written moves into the databases."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _sync_rarely(connection: Any, _: Any) -> None:
    """Sync when the log moves into the database, and move it after 16 MB or at the end: not after every event."""
    connection.execute("pragma synchronous = normal")
    connection.execute("pragma wal_autocheckpoint = 4000")
