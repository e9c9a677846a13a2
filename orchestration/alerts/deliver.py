"""From events to channels: note what was flagged, look at ended runs, send what is owed.

The order of things is what makes it exact (docs/decisions/0010-alerts.md): market checks note their events in the
journal before they remember having shown them; an ended run is looked at once; a channel is sent what the journal says
it is owed. Every function here may be called at any time, by any number of processes, after any crash.
"""

import contextlib
import datetime as dt
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.alerts.data import cause, judge_run
from orchestration.alerts.journal import Journal, journal
from orchestration.alerts.market import alerts_of, load_facts
from orchestration.alerts.messages import Alert
from orchestration.channels import Channel
from orchestration.instance import is_ours
from orchestration.settings import NEW_YORK, Settings

LOG = logging.getLogger("orewatch.alerts")

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

# Dagster notes the end of a run a moment after it.
OVERLAP_SECONDS = 600.0


@dataclass(frozen=True)
class Outcome:
    """How it went with one channel: how many alerts it accepted, how many were given up, and why not the rest."""

    channel: str
    sent: int
    reason: str | None = None
    given_up: int = 0

    @property
    def text(self) -> str:
        """In words."""
        parts = [f"{self.sent} sent"] if self.sent or not (self.reason or self.given_up) else []
        if self.given_up:
            parts.append(f"{self.given_up} given up, refused for good (orewatch alerts)")
        if self.reason:
            parts.append(f"not sent: {self.reason}; it will be tried again")
        return f"{self.channel}: {', '.join(parts)}"


@dataclass(frozen=True)
class Report:
    """What one round did: how many events were dealt out, and how it went with each channel that was tried."""

    events: int
    outcomes: Sequence[Outcome]


def open_journal(settings: Settings) -> None:
    """Begin to keep the journal, if nobody has; what happened before is no news."""
    with journal(settings.alerts_dir):
        pass


def note_flagged(settings: Settings, flagged: Mapping[str, Sequence[dict[str, Any]]], published: Path) -> None:
    """Note what market checks flag, in one transaction; events that are in the journal already stay as they are.

    Args:
        settings: where the journal and the seeds lie.
        flagged: the flagged rows of each group of `checks.flags`, by its name.
        published: the DuckDB file of the version that they looked at.
    """
    from orchestration.market.universe import load_universe

    if not any(flagged.values()):
        return
    facts = load_facts(flagged, published, load_universe(settings.seeds))
    alerts = [alert for group, rows in flagged.items() for alert in alerts_of(group, rows, facts)]
    with journal(settings.alerts_dir) as notes:
        notes.record(alerts, time.time())


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
    with journal(settings.alerts_dir) as notes:
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
    asked = time.time()
    since = dt.datetime.fromtimestamp(notes.collected_until() - OVERLAP_SECONDS, dt.UTC)
    records = instance.get_run_records(dg.RunsFilter(statuses=ENDED, updated_after=since))
    begun = notes.collected_until()
    for record in sorted(records, key=lambda r: r.end_time or 0):
        run = record.dagster_run
        ended = record.end_time or record.update_timestamp.replace(tzinfo=dt.UTC).timestamp()
        if not is_ours(run, settings) or notes.has_run(run.run_id) or ended < begun - OVERLAP_SECONDS:
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
        notes.record_run(run.run_id, record.start_time or ended, ended, judge, time.time())
    notes.collected(asked)


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
    """Send each channel what it is owed, all at once, each in a process of its own and within the time limit.

    Args:
        settings: time limit, address of the web UI.
        channels: which.
        test: send a test message instead.
    """
    started = [(channel, _start(settings, channel, test)) for channel in channels]
    deadline = time.monotonic() + settings.alert_timeout_seconds
    return [_finish(channel, process, deadline) for channel, process in started]


def _start(settings: Settings, channel: Channel, test: bool) -> subprocess.Popen[str]:
    order = {
        "folder": str(settings.alerts_dir),
        "channel": channel.name,
        "url": channel.url,
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
        return Outcome(channel.name, 0, "no answer in time")
    try:
        answer = json.loads(output)
    except ValueError:
        return Outcome(channel.name, 0, f"the sender ended with {process.returncode}")
    return Outcome(channel.name, answer["sent"], answer["reason"], answer["given_up"])


def _line(settings: Settings, alert: Alert) -> str:
    label = "SIMULATED " if settings.simulated else ""
    return f"{label}{alert.severity} {alert.kind} {alert.session}: {alert.title} [{alert.event_id}]"
