"""The file of the outbox: one SQLite database per source, written ahead and synced at every commit.

What belongs here: its tables, how it is opened, one transaction. What stands in it: `alerts.outbox` (events) and
`alerts.channel_queue` (deliveries). A home keeps its file; columns are added, never renamed.
"""

import datetime as dt
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestration.alerts.messages import Alert
from orchestration.market.errors import OrewatchError

FILE = "journal.sqlite"

# For another process to let go of the file, in seconds: each holds it for the moment of one transaction.
PATIENCE = 30.0
POLL = 0.01

SCHEMA = """
create table if not exists events (
    event_id text primary key, kind text not null, severity text not null, symbols text not null,
    session text not null, title text not null, lines text not null, rank real not null,
    recorded_at real not null, run_id text, dealt_out integer not null default 0
);
create table if not exists deliveries (
    event_id text not null references events, channel text not null, state text not null default 'pending',
    attempts integer not null default 0, next_attempt_at real not null, doubtful integer not null default 0,
    reason text, created_at real not null, sent_at real,
    primary key (event_id, channel)
);
create index if not exists deliveries_by_channel on deliveries (state, channel);
create table if not exists runs (run_id text primary key);
create table if not exists failing (name text primary key, state text not null);
create table if not exists facts (name text primary key, value real not null);
"""

# Columns that a file of an earlier version lacks: `overtaken` says that the channel has accepted others since,
# `age` for how many seconds a delivery has waited, as of the moment `aged_at`, `unanswered` how many attempts may have
# arrived without an answer.
ADDED = {
    "deliveries": {
        "rejections": "integer not null default 0",
        "overtaken": "integer not null default 0",
        "unanswered": "integer not null default 0",
        "age": "real not null default 0",
        "aged_at": "real",
    }
}

EVENT_COLUMNS = "e.event_id, e.kind, e.severity, e.symbols, e.session, e.title, e.lines, e.rank"


class DamagedOutboxError(OrewatchError, sqlite3.DatabaseError):
    """The file is no outbox, or only a part of one; it stays as it is."""


class OutboxFile:
    """The open database in a folder; made when it is first opened. Several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(folder / FILE, timeout=PATIENCE, isolation_level=None)
        try:
            self._open()
        except sqlite3.OperationalError:  # locked, full, read-only
            raise
        except sqlite3.DatabaseError as error:
            raise DamagedOutboxError(
                f"{folder / FILE}: is damaged ({error}); put a copy of it back, or move it away, and what is flagged at"
                " that moment is told again"
            ) from error

    def _open(self) -> None:
        _write_ahead(self.connection)
        self.connection.execute("pragma synchronous = full")
        with self.transaction():
            for statement in filter(str.strip, SCHEMA.split(";")):
                self.connection.execute(statement)
            for table, columns in ADDED.items():
                there = {name for _, name, *_ in self.connection.execute(f"pragma table_info({table})")}
                for name in columns.keys() - there:
                    self.connection.execute(f"alter table {table} add column {name} {columns[name]}")

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done inside, or nothing of it."""
        self.connection.execute("begin immediate")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("rollback")
            raise
        self.connection.execute("commit")


def read_alert(row: Sequence) -> Alert:
    """The alert in a row of `EVENT_COLUMNS`."""
    event_id, kind, severity, symbols, session, title, lines, rank = row
    day = dt.date.fromisoformat(session)
    return Alert(event_id, kind, severity, tuple(json.loads(symbols)), day, title, tuple(json.loads(lines)), rank)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch the file to write-ahead logging, once in its life; a file that is there already stays as it is.

    SQLite waits for a lock only where it holds none yet. The switch reads the file first and then asks for the right to
    write it; if another process is about to write, SQLite says "database is locked" at once, whatever the time-out. So
    two processes that open a new file at the same moment would fail: the one that is late has to try again.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            # The low byte is the kind of error, the rest says more about it.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(POLL)
