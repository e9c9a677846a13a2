"""From events to channels: note what was flagged, look at ended runs, send what is owed.

The order of things is what makes it exact (docs/decisions/0010-alerts.md): market checks note their events in the
journal before they remember having shown them; an ended run is looked at once; a channel is sent what the journal says
it is owed. Every function here may be called at any time, by any number of processes, after any crash.
"""

import contextlib
import datetime as dt
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import dagster as dg

from orchestration.alerts.data_alerts import cause, judge_run
from orchestration.alerts.messages import NO_ANSWER, Alert
from orchestration.alerts.outbox import Journal, Judgement, journal
from orchestration.channels import Channel
from orchestration.instance.instance import is_ours
from orchestration.settings import NEW_YORK, Settings

LOG = logging.getLogger("orewatch.alerts")

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

# Until a sender has loaded Apprise, in seconds: a busy machine must not count against a service.
START_SECONDS = 120.0


@dataclass(frozen=True)
class Outcome:
    """How it went with one channel: how many alerts it accepted, how many were given up, and why not the rest.

    Those that are given up were refused for good, or perhaps delivered: the service never says so in time.
    """

    channel: str
    sent: int
    reason: str | None = None
    given_up: int = 0
    perhaps_delivered: int = 0

    @property
    def text(self) -> str:
        """In words."""
        gone = self.given_up or self.perhaps_delivered
        parts = [f"{self.sent} sent"] if self.sent or not (self.reason or gone) else []
        if self.given_up:
            parts.append(f"{self.given_up} given up, refused for good (orewatch alerts)")
        if self.perhaps_delivered:
            parts.append(f"{self.perhaps_delivered} given up, perhaps delivered, no answer in time (orewatch alerts)")
        if self.reason:
            parts.append(f"not sent: {self.reason}; it will be tried again")
        return f"{self.channel}: {', '.join(parts)}"


@dataclass(frozen=True)
class Report:
    """What one round did: how many events were dealt out, and how it went with each channel that was tried."""

    events: int
    outcomes: Sequence[Outcome]


def open_journal(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Begin to keep the journal, if nobody has; what happened before is no news."""
    with journal(settings.paths.alerts) as notes:
        _ended(instance, notes)


def tell(
    settings: Settings,
    instance: dg.DagsterInstance,
    log: Callable[[str], None] = LOG.info,
    everything: bool = False,
) -> Report:
    """Look at the runs that have ended, log what happened, and send each channel what it is owed.

    Args:
        settings: name the channels.
        instance: where the runs are.
        log: told each event once, and how each channel took it.
        everything: try channels again that failed a moment ago.
    """
    with journal(settings.paths.alerts) as notes:
        collect(settings, instance, notes)
        now = time.time()
        events = notes.deal_out(settings.channels, now, lambda alert: log(_line(settings, alert)))
        if expired := notes.expire(now):
            log(f"{expired} deliveries gave up after a week; orewatch alerts lists them")
        due = notes.due(now, everything)
    outcomes = send(settings, [channel for channel in settings.channels if channel.name in due])
    for outcome in outcomes:
        log(outcome.text)
    return Report(events, outcomes)


def collect(settings: Settings, instance: dg.DagsterInstance, notes: Journal) -> None:
    """Note what went wrong in the runs that have ended since this was last called."""
    unknown = _ended(instance, notes)
    records = instance.get_run_records(dg.RunsFilter(run_ids=unknown)) if unknown else []
    # In the order in which they were begun: the clock may have been set meanwhile.
    for record in sorted(records, key=lambda r: r.storage_id):
        run = record.dagster_run
        ended = record.end_time or record.update_timestamp.replace(tzinfo=dt.UTC).timestamp()
        if not is_ours(run, settings):
            notes.record_run(run.run_id, lambda before: Judgement(before, []), time.time())
            continue
        failed = run.status is dg.DagsterRunStatus.FAILURE
        evaluations = [
            (entry.step_key, entry.dagster_event.asset_check_evaluation_data)
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
            if entry.dagster_event
        ]
        causes = _causes(instance, run.run_id) if failed else []
        day = dt.datetime.fromtimestamp(ended, NEW_YORK).date()
        judge = partial(judge_run, run.run_id, failed, day, evaluations, causes)
        notes.record_run(run.run_id, judge, time.time())


def _ended(instance: dg.DagsterInstance, notes: Journal) -> list[str]:
    """The ended runs that nobody has looked at; none of those that an instance has when it is first seen."""
    # The latest begun first.
    ended = [*reversed(instance.get_run_ids(dg.RunsFilter(statuses=ENDED)))]
    storage_id = instance.run_storage.get_run_storage_id()  # type: ignore[attr-defined]  # all that keep runs in SQL
    notes.begin_with(storage_id, ended)
    return notes.unknown(ended)


def _causes(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Why a run failed, one line for each failed step; where no step says so, what was said of the whole run."""
    steps = [
        f"{entry.step_key}: {cause(entry.dagster_event)}"
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        if entry.dagster_event
    ]
    return steps or [
        entry.dagster_event.message.strip().splitlines()[0]
        for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        if entry.dagster_event and entry.dagster_event.message
    ]


def send(settings: Settings, channels: Sequence[Channel], test: bool = False) -> list[Outcome]:
    """Send each channel what it is owed, all at once, each in a process of its own, which keeps the time limit itself.

    Args:
        settings: time limit of one answer, address of the web UI.
        channels: which.
        test: send a test message instead.
    """
    started = [(channel, _start(settings, channel, test)) for channel in channels]
    deadline = time.monotonic() + START_SECONDS + 2 * settings.alert_timeout_seconds
    outcomes = [_finish(channel, process, deadline) for channel, process in started]
    return outcomes if test else [_without_what_arrived(settings, outcome) for outcome in outcomes]


def _without_what_arrived(settings: Settings, outcome: Outcome) -> Outcome:
    """An outcome once more, after its sender was ended and could not give up itself what has no answer."""
    if outcome.reason != NO_ANSWER:
        return outcome
    with journal(settings.paths.alerts) as notes:
        perhaps = outcome.perhaps_delivered + notes.give_up_unanswered(outcome.channel)
        reason = outcome.reason if notes.waiting(outcome.channel) else None
    return replace(outcome, reason=reason, perhaps_delivered=perhaps)


def _start(settings: Settings, channel: Channel, test: bool) -> subprocess.Popen[str]:
    order = {
        "folder": str(settings.paths.alerts),
        "channel": channel.name,
        "url": channel.url,
        "limit": settings.alert_timeout_seconds,
        "simulated": settings.simulated,
        "ui_url": settings.ui_url,
        "test": test,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.alerts.send"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):  # it has died; `_finish` says so
        process.stdin.write(json.dumps(order))
        process.stdin.close()
    process.stdin = None
    return process


def _finish(channel: Channel, process: subprocess.Popen[str], deadline: float) -> Outcome:
    # One that has ended while another was waited for has its answer ready.
    patience = None if process.poll() is not None else max(0.0, deadline - time.monotonic())
    try:
        output, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Outcome(channel.name, 0, NO_ANSWER)
    if process.returncode == -signal.SIGALRM:
        return Outcome(channel.name, 0, NO_ANSWER)
    try:
        answer = json.loads(output)
    except ValueError:
        return Outcome(channel.name, 0, f"the sender ended with {process.returncode}")
    return Outcome(channel.name, answer["sent"], answer["reason"], answer["given_up"], answer["perhaps_delivered"])


def _line(settings: Settings, alert: Alert) -> str:
    label = "SIMULATED " if settings.simulated else ""
    return f"{label}{alert.severity} {alert.kind} {alert.session}: {alert.title} [{alert.event_id}]"
