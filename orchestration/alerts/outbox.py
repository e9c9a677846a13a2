"""The journal of alerts: every event that was found, and what each channel is owed or has been told.

One SQLite file per source, written ahead and synced at every commit, so that what is noted survives a process killed
at any moment. An event enters once, under its id; it is dealt out to the channels in the transaction that marks it as
dealt out; a delivery is `pending` until its channel has accepted it (`sent`) or it is given up (`expired`, with the
reason): it has waited too long, the service refuses it and nothing else, or it has most likely arrived, though the
service never says so in time. No URL is ever stored.

Clocks are set wrong and right again. So what has happened is known by ids, never by moments: runs by theirs, events by
the run that found them. Moments only measure waits; a wait that ends further ahead than any wait is long was noted by
another clock, and is over.
"""

import datetime as dt
import itertools
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestration.alerts.messages import Alert, Waiting
from orchestration.channels import Channel
from orchestration.market.errors import OrewatchError

FILE = "journal.sqlite"

# Waits after the first, second, ... failure of a delivery, in seconds: they double up to an hour.
FIRST_WAIT = 60.0
LONGEST_WAIT = 3600.0

# A week of weekends and holidays; older news is history.
EXPIRES_AFTER = 7 * 86400.0

# What one look at the journal can add at most to the age of a delivery, in seconds: a clock that jumps ages nothing.
LONGEST_STEP = 86400.0

# Refusals for good of one event, by a service that has accepted other messages meanwhile.
REJECTIONS_BEFORE_GIVING_UP = 5

# Attempts that the service may have taken and did not answer in time: with their waits two hours of them. A service
# that is down refuses or says so, and is tried for a week.
UNANSWERED_BEFORE_GIVING_UP = 8

# Events wait for their run to end, so that an evening is one message; but not for a run of which nothing is heard.
RUN_PATIENCE = 3600.0

# Name of the fact which published version it was last told the flags of.
VERSION_NOTED = "flagged of version"

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

# Columns that a journal of an earlier version lacks: `overtaken` says that the channel has accepted others since,
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

# Recorded before, and owed to nobody: of what has never been dealt out nobody knows yet.
SETTLED = """
    select event_id, kind, symbols, session from events as e where recorded_at < ? and dealt_out and not exists (
        select 1 from deliveries as d where d.event_id = e.event_id and d.state = 'pending')
"""


@dataclass(frozen=True)
class Delivery:
    """One line of the journal for a reader."""

    channel: str
    state: str
    session: str
    title: str
    event_id: str
    attempts: int
    reason: str | None
    at: dt.datetime


class DamagedJournalError(OrewatchError, sqlite3.DatabaseError):
    """The file is no journal, or only a part of one; it stays as it is."""


class Journal:
    """The journal in a folder; made when it is first opened.

    Every method is one transaction. Several processes may use it at once.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(folder / FILE, timeout=PATIENCE, isolation_level=None)
        try:
            self._open()
        except sqlite3.OperationalError:  # locked, full, read-only
            raise
        except sqlite3.DatabaseError as error:
            raise DamagedJournalError(
                f"{folder / FILE}: is damaged ({error}); put a copy of it back, or move it away, and what is flagged at"
                " that moment is told again"
            ) from error

    def _open(self) -> None:
        _write_ahead(self._connection)
        self._connection.execute("pragma synchronous = full")
        with self._transaction():
            for statement in filter(str.strip, SCHEMA.split(";")):
                self._connection.execute(statement)
            for table, columns in ADDED.items():
                there = {name for _, name, *_ in self._connection.execute(f"pragma table_info({table})")}
                for name in columns.keys() - there:
                    self._connection.execute(f"alter table {table} add column {name} {columns[name]}")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("begin immediate")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")

    def record(self, alerts: Iterable[Alert], now: float, run_id: str | None = None, version: int | None = None) -> int:
        """Note events; those that are there already stay. Returns how many are new.

        Args:
            alerts: the events.
            now: seconds since 1970.
            run_id: the run that found them, which has not ended; None if it was none.
            version: the published version of which these are all that is flagged; None if they are not.
        """
        with self._transaction() as connection:
            if version is not None:
                connection.execute("insert or replace into facts values (?, ?)", (VERSION_NOTED, version))
            return _insert(connection, alerts, run_id, now)

    def has_noted(self, version: int) -> bool:
        """Whether it holds what is flagged of a published version; not so a new file, or an old copy put back."""
        found = self._connection.execute(
            "select 1 from facts where name = ? and value = ?", (VERSION_NOTED, version)
        ).fetchone()
        return found is not None

    def begin_with(self, instance_id: str, ended: Sequence[str]) -> None:
        """Note, once for each instance of Dagster, which of its runs are no news: those that ended before.

        Not so the runs of which there are events: the journal was begun by one of them.

        Args:
            instance_id: of the storage of runs.
            ended: its ended runs, in the order in which they were begun.
        """
        begun = f"began with {instance_id}"
        # Nearly always so, and no reason to wait for whoever is writing.
        if self._connection.execute("select 1 from facts where name = ?", (begun,)).fetchone():
            return
        with self._transaction() as connection:
            if not connection.execute("insert or ignore into facts values (?, 1)", (begun,)).rowcount:
                return
            of_ours = "select run_id from runs union select run_id from events where run_id is not null"
            ours = {run_id for (run_id,) in connection.execute(of_ours)}
            # A journal of an earlier version knows some: what was begun after the first of these is news.
            before = itertools.takewhile(lambda run_id: run_id not in ours, ended)
            connection.executemany("insert or ignore into runs values (?)", [(run_id,) for run_id in before])

    def unknown(self, run_ids: Iterable[str]) -> list[str]:
        """Those of these runs that have not been looked at."""
        found = self._connection.execute(
            "select value from json_each(?) where value not in (select run_id from runs)", (json.dumps(list(run_ids)),)
        )
        return [run_id for (run_id,) in found]

    def record_run(self, run_id: str, judge: Callable[[Mapping[str, str]], "Judgement"], now: float) -> None:
        """Note an ended run, once, and its failures.

        Args:
            run_id: the run.
            judge: told what was failing before, by name, says what is failing now and what of it is news.
            now: seconds since 1970.
        """
        with self._transaction() as connection:
            if not connection.execute("insert or ignore into runs values (?)", (run_id,)).rowcount:
                return
            judged = judge(dict(connection.execute("select name, state from failing").fetchall()))
            _insert(connection, judged.alerts, run_id, now)
            connection.execute("delete from failing")
            connection.executemany("insert into failing values (?, ?)", judged.failing.items())

    def deal_out(self, channels: Sequence[Channel], now: float, tell: Callable[[Alert], None]) -> int:
        """Owe each event that has not been dealt out to the channels that want it; returns how many events.

        Args:
            channels: all that are set.
            now: seconds since 1970.
            tell: called once for each event; the log.
        """
        with self._transaction() as connection:
            fresh = connection.execute(
                f"select {EVENT_COLUMNS} from events as e where not dealt_out and"  # noqa: S608
                " (run_id is null or run_id in (select run_id from runs) or abs(? - recorded_at) > ?) order by rowid",
                (now, RUN_PATIENCE),
            ).fetchall()
            for row in fresh:
                alert = _alert(row)
                tell(alert)
                connection.executemany(
                    "insert or ignore into deliveries (event_id, channel, next_attempt_at, created_at)"
                    " values (?, ?, ?, ?)",
                    [
                        (alert.event_id, channel.name, now, now)
                        for channel in channels
                        if channel.wants(alert.kind, alert.symbols, alert.severity)
                    ],
                )
                connection.execute("update events set dealt_out = 1 where event_id = ?", (alert.event_id,))
            return len(fresh)

    def expire(self, now: float) -> int:
        """Give up deliveries that have waited too long; they stay visible. Returns how many.

        They age from one look to the next, each time by what the clock has gone on, but not by more than a day.
        """
        with self._transaction() as connection:
            # Seldom, so that a look every 30 seconds does not write each time.
            connection.execute(
                "update deliveries set age = age + min(max(0, ? - coalesce(aged_at, created_at)), ?), aged_at = ?"
                " where state = 'pending' and (aged_at is null or abs(? - aged_at) > ?)",
                (now, LONGEST_STEP, now, now, LONGEST_WAIT),
            )
            return connection.execute(
                "update deliveries set state = 'expired', reason = 'gave up after a week: ' ||"
                " coalesce(reason, 'the channel is not set')"
                " where state = 'pending' and age + max(0, ? - aged_at) > ?",
                (now, EXPIRES_AFTER),
            ).rowcount

    def due(self, now: float, everything: bool = False) -> set[str]:
        """Channels that should be tried now; with `everything`, all that are owed something."""
        found = self._connection.execute(
            "select distinct channel from deliveries where state = 'pending'"
            " and (? or next_attempt_at <= ? or next_attempt_at > ?)",
            (everything, now, now + LONGEST_WAIT),
        )
        return {name for (name,) in found}

    def waiting(self, channel: str) -> list[Waiting]:
        """Everything that a channel is owed."""
        found = self._connection.execute(
            f"select {EVENT_COLUMNS}, e.run_id, d.doubtful, d.rejections, d.unanswered from deliveries as d"  # noqa: S608
            " inner join events as e on d.event_id = e.event_id where d.channel = ? and d.state = 'pending'",
            (channel,),
        )
        return [
            Waiting(_alert(event), run_id, bool(doubtful), rejections, unanswered)
            for *event, run_id, doubtful, rejections, unanswered in found.fetchall()
        ]

    def begin(self, channel: str, event_ids: Sequence[str], now: float) -> None:
        """Note that an attempt is under way: if nothing more is heard of it, it failed, and its outcome is doubtful."""
        with self._transaction() as connection:
            for event_id in event_ids:
                (attempts,) = connection.execute(
                    "select attempts from deliveries where event_id = ? and channel = ?", (event_id, channel)
                ).fetchone()
                connection.execute(
                    "update deliveries set attempts = ?, next_attempt_at = ?, doubtful = 1,"
                    " unanswered = unanswered + 1, reason = 'the attempt broke off' where event_id = ? and channel = ?",
                    (attempts + 1, now + min(FIRST_WAIT * 2.0**attempts, LONGEST_WAIT), event_id, channel),
                )

    def sent(self, channel: str, event_ids: Sequence[str], now: float) -> None:
        """Note that the channel accepted these."""
        with self._transaction() as connection:
            connection.executemany(
                "update deliveries set state = 'sent', sent_at = ?, doubtful = 0, reason = null"
                " where event_id = ? and channel = ?",
                [(now, event_id, channel) for event_id in event_ids],
            )
            connection.execute(
                "update deliveries set overtaken = 1 where channel = ? and state = 'pending'", (channel,)
            )

    def failed(
        self, channel: str, before: Sequence[Waiting], reason: str, doubtful: bool, unanswered: bool = False
    ) -> None:
        """Note that an attempt failed.

        Args:
            channel: which.
            before: what was sent, as it stood before the attempt.
            reason: in words, without anything of the URL.
            doubtful: whether the channel may have accepted them all the same.
            unanswered: whether it may have, and did not say in time that it had not.
        """
        with self._transaction() as connection:
            connection.executemany(
                "update deliveries set doubtful = ?, unanswered = ?, reason = ? where event_id = ? and channel = ?",
                [
                    (doubtful or item.doubtful, item.unanswered + unanswered, reason, item.alert.event_id, channel)
                    for item in before
                ],
            )

    def give_up_unanswered(self, channel: str) -> int:
        """Give up what a channel has perhaps been told often enough without a word; returns how many events."""
        with self._transaction() as connection:
            return connection.execute(
                "update deliveries set state = 'expired', reason = 'given up, perhaps delivered: ' || unanswered ||"
                " ' attempts without an answer in time' where channel = ? and state = 'pending' and unanswered >= ?",
                (channel, UNANSWERED_BEFORE_GIVING_UP),
            ).rowcount

    def rejected(self, channel: str, before: Sequence[Waiting], reason: str, doubtful: bool) -> int:
        """Note that the service refused a message for good; returns how many events are given up by that.

        An event is given up once it was refused often enough by a channel that has accepted something else since the
        event was dealt out: then it is the event, not the channel.

        Args:
            channel: which.
            before: what was sent, as it stood before the attempt.
            reason: in words, without anything of the URL.
            doubtful: whether the channel may have accepted a part of it all the same.
        """
        with self._transaction() as connection:
            connection.executemany(
                "update deliveries set rejections = rejections + 1, doubtful = ?, unanswered = ?, reason = ?"
                " where event_id = ? and channel = ?",
                [(doubtful or item.doubtful, item.unanswered, reason, item.alert.event_id, channel) for item in before],
            )
            return connection.execute(
                "update deliveries set state = 'expired', reason = 'given up, refused ' || rejections ||"
                " ' times: ' || reason where channel = ? and state = 'pending' and rejections >= ? and overtaken",
                (channel, REJECTIONS_BEFORE_GIVING_UP),
            ).rowcount

    def has_settled(self, before: float) -> bool:
        """Whether there is an event recorded before (seconds since 1970) that no channel is owed any more."""
        return self._connection.execute(f"select exists ({SETTLED})", (before,)).fetchone()[0] == 1

    def forget(self, before: float, is_over: Callable[[Sequence[str], dt.date], bool]) -> int:
        """Delete events that no channel is owed, with their deliveries; returns how many.

        Args:
            before: recorded before this, seconds since 1970.
            is_over: told symbols and session of an event of the market, says that it cannot be flagged again; one
                about the data has the id of its run and is looked at once.
        """
        with self._transaction() as connection:
            gone = [
                (event_id,)
                for event_id, kind, symbols, session in connection.execute(SETTLED, (before,)).fetchall()
                if kind == "data" or is_over(json.loads(symbols), dt.date.fromisoformat(session))
            ]
            connection.executemany("delete from deliveries where event_id = ?", gone)
            connection.executemany("delete from events where event_id = ?", gone)
        return len(gone)

    def forget_runs(self, run_ids: Sequence[str]) -> None:
        """Forget that runs have been looked at; they are gone."""
        with self._transaction() as connection:
            connection.executemany("delete from runs where run_id = ?", [(run_id,) for run_id in run_ids])

    def counts(self) -> dict[tuple[str, str], int]:
        """How many deliveries there are, by channel and state."""
        found = self._connection.execute("select channel, state, count(*) from deliveries group by channel, state")
        return {(channel, state): count for channel, state, count in found}

    def owed(self, since: float) -> list[tuple[str, str, int, str | None]]:
        """What has not been sent: channel, state (waiting before given up), how many, and why not, as said last.

        Args:
            since: of what was given up, only what was dealt out later than this, seconds since 1970.
        """
        return self._connection.execute(
            # SQLite takes a bare column from the row of the maximum.
            "select channel, state, count, reason from ("
            " select channel, state, count(*) as count, reason, max(next_attempt_at) from deliveries"
            " where state = 'pending' or (state = 'expired' and created_at >= ?) group by channel, state"
            ") order by channel, state = 'expired'",
            (since,),
        ).fetchall()

    def last(self, states: Sequence[str], limit: int) -> list[Delivery]:
        """The latest deliveries in any of these states, latest first; `at` is when each was sent, else when found."""
        found = self._connection.execute(
            "select d.channel, d.state, e.session, e.title, e.event_id, d.attempts, d.reason,"
            " coalesce(d.sent_at, d.created_at) as at from deliveries as d"
            " inner join events as e on d.event_id = e.event_id"
            " where d.state in (select value from json_each(?)) order by at desc, e.rank desc limit ?",
            (json.dumps(list(states)), limit),
        )
        return [
            Delivery(channel, state, session, title, event_id, attempts, reason, dt.datetime.fromtimestamp(at, dt.UTC))
            for channel, state, session, title, event_id, attempts, reason, at in found.fetchall()
        ]


@dataclass(frozen=True)
class Judgement:
    """What a run says about failures: all that are failing now, by name, with their state; and those to tell of."""

    failing: Mapping[str, str]
    alerts: Sequence[Alert]


@contextmanager
def journal(folder: Path) -> Iterator[Journal]:
    """The journal in a folder, closed afterwards."""
    opened = Journal(folder)
    try:
        yield opened
    finally:
        opened.close()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch the file to write-ahead logging, once in its life; a file that is there already stays as it is.

    SQLite waits for a lock only where it holds none yet. The switch reads the file first and then asks for the right to
    write it; if another process is about to write, SQLite says "database is locked" at once, whatever the time-out. So
    two processes that open a new journal at the same moment would fail: the one that is late has to try again.
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


def _insert(connection: sqlite3.Connection, alerts: Iterable[Alert], run_id: str | None, now: float) -> int:
    new = 0
    for alert in alerts:
        new += connection.execute(
            "insert or ignore into events (event_id, kind, severity, symbols, session, title, lines, rank,"
            " recorded_at, run_id) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                alert.event_id,
                alert.kind,
                alert.severity,
                json.dumps(alert.symbols),
                alert.session.isoformat(),
                alert.title,
                json.dumps(alert.lines),
                alert.rank,
                now,
                run_id,
            ),
        ).rowcount
    return new


def _alert(row: Sequence) -> Alert:
    event_id, kind, severity, symbols, session, title, lines, rank = row
    return Alert(
        event_id,
        kind,
        severity,
        tuple(json.loads(symbols)),
        dt.date.fromisoformat(session),
        title,
        tuple(json.loads(lines)),
        rank,
    )
