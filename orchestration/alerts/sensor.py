"""What happens when a run has ended: alerts.

One plain sensor, not a sensor for each status of a run: those hear of a run once, so that an error while they
report it would lose it, never hear of runs from the command line, and could not try a channel again that was down. The
outbox knows which runs have been looked at; see docs/decisions/0010-alerts.md. A run that was killed has not ended by
itself: where the daemon asks no launcher of ours, the sensor looks for those first; see
docs/decisions/0030-no-evening-is-lost.md.
"""

from typing import TYPE_CHECKING

import dagster as dg

from orchestration.home import Home
from orchestration.instance.run_launcher import is_asked
from orchestration.instance.runs import fail_dead_runs
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.signals.new_events import NewEvents

SECONDS_BETWEEN_LOOKS = 30


def build_alert_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor that sends alerts; it runs by itself."""

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="After every run: what was flagged or went wrong is logged and sent to the channels of"
        " OREWATCH_ALERTS, each event once; a channel that was down is tried again. A run whose process is"
        " gone is marked as failed.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from orchestration.alerts.deliver import deliver
        from orchestration.alerts.flagged import note_what_is_missing

        note_what_is_missing(settings.paths)
        if not is_asked(context.instance):
            fail_dead_runs(context.instance, settings.paths)
        report = deliver(settings.paths, settings.receivers, context.instance, context.log.info)
        tried = "; ".join(outcome.text for outcome in report.outcomes)
        return dg.SkipReason(f"{report.events} new events" + (f"; {tried}" if tried else ""))

    return alerts


def note_new_events(home: Home, found: "NewEvents", run_id: str) -> None:
    """Put what market checks flag into the outbox; see `alerts.flagged.note`."""
    from orchestration.alerts.flagged import note

    note(home, found, run_id)


def remove_old(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Remove what has been kept for long enough; see `alerts.retention.prune`."""
    from orchestration.alerts.retention import prune

    return prune(
        settings.paths,
        instance,
        keep_runs_days=settings.keep_runs_days,
        keep_alerts_days=settings.keep_alerts_days,
        keep_briefs_days=settings.keep_briefs_days,
    )
