"""The outbox of alerts: every event that was found, and for which channels it is pending, sent or given up.

What is recorded survives a process killed at any moment. An event enters once, under its id; it is queued for the
channels in the transaction that marks it as queued (`dealt_out` in the file). No URL is ever stored.

Clocks are set wrong and right again. So what has happened is known by ids, never by moments: runs by theirs, events by
the run that found them. Moments only measure waits; a wait that ends further ahead than any wait is long was noted by
another clock, and is over. Moments are seconds since 1970.
"""

import datetime as dt
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestration.alerts.channel_queue import LONGEST_WAIT, ChannelQueue
from orchestration.alerts.messages import Alert
from orchestration.alerts.outbox_file import EVENT_COLUMNS, OutboxFile, read_alert
from orchestration.channels import Channel

# A week of weekends and holidays; older news is history.
EXPIRES_AFTER = 7 * 86400.0

# What one look at the outbox can add at most to the age of a delivery, in seconds: a clock that jumps ages nothing.
LONGEST_STEP = 86400.0

# Events wait for their run to end, so that an evening is one message; but not for a run of which nothing is heard.
RUN_PATIENCE = 3600.0

# Name of the fact which published version the flags were last recorded of.
VERSION_NOTED = "flagged of version"

# Recorded before, and pending nowhere: of what has never been queued nobody knows yet.
SETTLED = """
    select event_id, kind, symbols, session from events as e where recorded_at < ? and dealt_out and not exists (
        select 1 from deliveries as d where d.event_id = e.event_id and d.state = 'pending')
"""


@dataclass(frozen=True)
class Delivery:
    """One event for one channel, for a reader; `at` is when it was sent, else when it was queued."""

    channel: str
    state: str
    session: str
    title: str
    event_id: str
    attempts: int
    reason: str | None
    at: dt.datetime


@dataclass(frozen=True)
class Judgement:
    """What a run says about failures: all that are failing now, by name, with their state; and the news of them."""

    failing: Mapping[str, str]
    alerts: Sequence[Alert]


class Outbox(OutboxFile):
    """The events in the outbox of a folder; every method is one transaction."""

    def queue(self, channel: str) -> ChannelQueue:
        """The deliveries of a channel."""
        return ChannelQueue(self, channel)

    def record(self, alerts: Iterable[Alert], now: float, run_id: str | None = None, version: int | None = None) -> int:
        """Record events; those that are there already stay. Returns how many are new.

        `run_id` is the run that found them and has not ended; of the published `version` these are all that is flagged.
        """
        with self.transaction() as connection:
            if version is not None:
                connection.execute("insert or replace into facts values (?, ?)", (VERSION_NOTED, version))
            return _insert(connection, alerts, run_id, now)

    def has_noted(self, version: int) -> bool:
        """Whether it holds what is flagged of a published version; not so a new file, or an old copy put back."""
        found = self.connection.execute("select 1 from facts where name = ? and value = ?", (VERSION_NOTED, version))
        return found.fetchone() is not None

    def begin_with(self, instance_id: str, ended: Sequence[str]) -> None:
        """Note, once for each instance of Dagster, which of its runs are no news: those that ended before.

        `ended` is in the order in which the runs were begun. Those of which there are events are news: one of them
        began the outbox.
        """
        begun = f"began with {instance_id}"
        # Nearly always so, and no reason to wait for whoever is writing.
        if self.connection.execute("select 1 from facts where name = ?", (begun,)).fetchone():
            return
        with self.transaction() as connection:
            if not connection.execute("insert or ignore into facts values (?, 1)", (begun,)).rowcount:
                return
            of_ours = "select run_id from runs union select run_id from events where run_id is not null"
            ours = {run_id for (run_id,) in connection.execute(of_ours)}
            # A file of an earlier version knows some: what was begun after the first of these is news.
            before = itertools.takewhile(lambda run_id: run_id not in ours, ended)
            connection.executemany("insert or ignore into runs values (?)", [(run_id,) for run_id in before])

    def unknown(self, run_ids: Iterable[str]) -> list[str]:
        """Those of these runs that have not been looked at."""
        found = self.connection.execute(
            "select value from json_each(?) where value not in (select run_id from runs)", (json.dumps(list(run_ids)),)
        )
        return [run_id for (run_id,) in found]

    def record_run(self, run_id: str, judge: Callable[[Mapping[str, str]], Judgement], now: float) -> None:
        """Record an ended run, once; `judge` gets what was failing before, by name, and says what is failing now."""
        with self.transaction() as connection:
            if not connection.execute("insert or ignore into runs values (?)", (run_id,)).rowcount:
                return
            judged = judge(dict(connection.execute("select name, state from failing").fetchall()))
            _insert(connection, judged.alerts, run_id, now)
            connection.execute("delete from failing")
            connection.executemany("insert into failing values (?, ?)", judged.failing.items())

    def enqueue(self, channels: Sequence[Channel], now: float, log: Callable[[Alert], None]) -> int:
        """Queue each event, once, for the channels that want it, and log it; returns how many events."""
        with self.transaction() as connection:
            fresh = connection.execute(
                f"select {EVENT_COLUMNS} from events as e where not dealt_out and"  # noqa: S608
                " (run_id is null or run_id in (select run_id from runs) or abs(? - recorded_at) > ?) order by rowid",
                (now, RUN_PATIENCE),
            ).fetchall()
            for alert in map(read_alert, fresh):
                log(alert)
                wanted = [c.name for c in channels if c.wants(alert.kind, alert.symbols, alert.severity)]
                connection.executemany(
                    "insert or ignore into deliveries (event_id, channel, next_attempt_at, created_at)"
                    " values (?, ?, ?, ?)",
                    [(alert.event_id, name, now, now) for name in wanted],
                )
                connection.execute("update events set dealt_out = 1 where event_id = ?", (alert.event_id,))
            return len(fresh)

    def expire(self, now: float) -> int:
        """Give up deliveries that have waited too long; they stay visible. Returns how many.

        They age from one look to the next, each time by what the clock has gone on, but not by more than a day.
        """
        with self.transaction() as connection:
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
        """Channels that should be tried now; with `everything`, all for which something is pending."""
        found = self.connection.execute(
            "select distinct channel from deliveries where state = 'pending'"
            " and (? or next_attempt_at <= ? or next_attempt_at > ?)",
            (everything, now, now + LONGEST_WAIT),
        )
        return {name for (name,) in found}

    def has_settled(self, before: float) -> bool:
        """Whether there is an event recorded before that is pending for no channel."""
        return self.connection.execute(f"select exists ({SETTLED})", (before,)).fetchone()[0] == 1

    def forget(self, before: float, is_over: Callable[[Sequence[str], dt.date], bool]) -> int:
        """Delete events recorded before a moment that are pending for no channel; returns how many.

        `is_over`, given symbols and session of an event of the market, says that it cannot be flagged again; one about
        the data has the id of its run and is looked at once.
        """
        with self.transaction() as connection:
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
        with self.transaction() as connection:
            connection.executemany("delete from runs where run_id = ?", [(run_id,) for run_id in run_ids])

    def counts(self) -> dict[tuple[str, str], int]:
        """How many deliveries there are, by channel and state."""
        found = self.connection.execute("select channel, state, count(*) from deliveries group by channel, state")
        return {(channel, state): count for channel, state, count in found}

    def not_sent(self, since: float) -> list[tuple[str, str, int, str | None]]:
        """What is not sent: channel, state (pending before given up), how many, and the latest reason.

        Of what was given up, only what was queued later than `since`.
        """
        return self.connection.execute(
            # SQLite takes a bare column from the row of the maximum.
            "select channel, state, count, reason from ("
            " select channel, state, count(*) as count, reason, max(next_attempt_at) from deliveries"
            " where state = 'pending' or (state = 'expired' and created_at >= ?) group by channel, state"
            ") order by channel, state = 'expired'",
            (since,),
        ).fetchall()

    def last(self, states: Sequence[str], limit: int) -> list[Delivery]:
        """The latest deliveries in any of these states, latest first."""
        found = self.connection.execute(
            "select d.channel, d.state, e.session, e.title, e.event_id, d.attempts, d.reason,"
            " coalesce(d.sent_at, d.created_at) as at from deliveries as d"
            " inner join events as e on d.event_id = e.event_id"
            " where d.state in (select value from json_each(?)) order by at desc, e.rank desc limit ?",
            (json.dumps(list(states)), limit),
        )
        return [Delivery(*(*row[:-1], dt.datetime.fromtimestamp(row[-1], dt.UTC))) for row in found.fetchall()]


@contextmanager
def opened_outbox(folder: Path) -> Iterator[Outbox]:
    """The outbox in a folder, closed afterwards."""
    with closing(Outbox(folder)) as outbox:
        yield outbox


def _insert(connection: sqlite3.Connection, alerts: Iterable[Alert], run_id: str | None, now: float) -> int:
    return connection.executemany(
        "insert or ignore into events (event_id, kind, severity, symbols, session, title, lines, rank,"
        " recorded_at, run_id) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
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
            )
            for alert in alerts
        ],
    ).rowcount
