"""From events to channels: record what was flagged, look at ended runs, send what is pending.

The order of things is what makes it exact (docs/decisions/0010-alerts.md): market checks record their events in the
outbox before they remember having shown them; an ended run is looked at once; a channel is sent what the outbox says
is pending. Every function here may be called at any time, by any number of processes, after any crash.
"""

import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import dagster as dg

from orchestration.alerts.data_alerts import cause, judge_run
from orchestration.alerts.messages import Alert
from orchestration.alerts.outbox import Judgement, Outbox, opened_outbox
from orchestration.alerts.send import Outcome
from orchestration.alerts.senders import send
from orchestration.channels import Channel, Receivers
from orchestration.home import Home
from orchestration.instance.runs import ENDED, is_ours
from orchestration.publish.manifest import readable_manifest
from orchestration.publish.watchlists import watchlists
from orchestration.settings import NEW_YORK

LOG = logging.getLogger("orewatch.alerts")


@dataclass(frozen=True)
class Report:
    """What one round did: how many events were queued, and how it went with each channel that was tried."""

    events: int
    outcomes: Sequence[Outcome]


def begin_outbox(home: Home, instance: dg.DagsterInstance) -> None:
    """Begin to keep the outbox, if nobody has; what happened before is no news."""
    with opened_outbox(home.alerts) as outbox:
        _ended(instance, outbox)


def deliver(
    home: Home,
    receivers: Receivers,
    instance: dg.DagsterInstance,
    log: Callable[[str], None] = LOG.info,
    everything: bool = False,
) -> Report:
    """Look at the runs that have ended, log what happened, and send each channel what is pending for it.

    `log` gets each event once, and how each channel took it; `everything` tries channels that failed a moment ago too.
    """
    label = "SIMULATED " if home.simulated else ""

    def log_alert(alert: Alert) -> None:
        log(f"{label}{alert.severity} {alert.kind} {alert.session}: {alert.title} [{alert.event_id}]")

    with opened_outbox(home.alerts) as outbox:
        collect(home, instance, outbox)
        now = time.time()
        events = outbox.enqueue(_with_members(home, receivers.channels), now, log_alert)
        if expired := outbox.expire(now):
            log(f"{expired} deliveries gave up after a week; orewatch alerts lists them")
        due = outbox.due(now, everything)
    tried = tuple(channel for channel in receivers.channels if channel.name in due)
    outcomes = send(home, replace(receivers, channels=tried))
    for outcome in outcomes:
        log(outcome.text)
    return Report(events, outcomes)


def _with_members(home: Home, channels: Sequence[Channel]) -> Sequence[Channel]:
    """The channels, each wanting the instruments that the published version has on its watchlists."""
    if not any(channel.watchlists for channel in channels) or readable_manifest(home.published) is None:
        return channels
    members = watchlists(home.published_file)
    return [channel.with_members(members) for channel in channels]


def collect(home: Home, instance: dg.DagsterInstance, outbox: Outbox) -> None:
    """Record what went wrong in the runs that have ended since this was last called."""
    unknown = _ended(instance, outbox)
    records = instance.get_run_records(dg.RunsFilter(run_ids=unknown)) if unknown else []
    # In the order in which they were begun: the clock may have been set meanwhile.
    for record in sorted(records, key=lambda r: r.storage_id):
        run = record.dagster_run
        ended = record.end_time or record.update_timestamp.replace(tzinfo=dt.UTC).timestamp()
        if not is_ours(run, home):
            outbox.record_run(run.run_id, lambda before: Judgement(before, []), time.time())
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
        outbox.record_run(run.run_id, judge, time.time())


def _ended(instance: dg.DagsterInstance, outbox: Outbox) -> list[str]:
    """The ended runs that nobody has looked at; none of those that an instance has when it is first seen."""
    # The latest begun first.
    ended = [*reversed(instance.get_run_ids(dg.RunsFilter(statuses=ENDED)))]
    storage_id = instance.run_storage.get_run_storage_id()  # type: ignore[attr-defined]  # all that keep runs in SQL
    outbox.begin_with(storage_id, ended)
    return outbox.unknown(ended)


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
