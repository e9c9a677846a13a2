"""When the refresh runs by itself: every evening after a session of the New York exchanges.

17:30 New York is after the close of the exchanges (16:00, or 13:00 on an early close) and of metal futures (17:00), so
that every bar of the day is final; and before metals open again at 18:00, when a vendor's latest row of a future may
already be that of the next session.
"""

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.market.calendar import is_session
from orchestration.settings import NEW_YORK, Settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

EXCHANGE = "XNYS"

# The second tick is for an evening on which the first run failed.
TICKS = ["30 17 * * *", "0 21 * * *"]

UNFINISHED_OR_GOOD = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.SUCCESS,
]


def build_schedule(job: "UnresolvedAssetJobDefinition", settings: Settings) -> dg.ScheduleDefinition:
    """The evening refresh; it runs by itself for real sources, and waits to be switched on for the sample."""

    @dg.schedule(
        name="refresh_after_close",
        job=job,
        cron_schedule=TICKS,
        execution_timezone=str(NEW_YORK),
        default_status=dg.DefaultScheduleStatus.STOPPED if settings.simulated else dg.DefaultScheduleStatus.RUNNING,
        description="At 17:30 New York after an exchange session, and at 21:00 if that failed; not on holidays.",
    )
    def refresh_after_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.astimezone(NEW_YORK).date()
        done = context.instance.get_runs(
            dg.RunsFilter(tags={"session_date": day.isoformat()}, statuses=UNFINISHED_OR_GOOD), limit=1
        )
        return evening(context.scheduled_execution_time, done=bool(done))

    return refresh_after_close


def evening(tick: dt.datetime, done: bool = False) -> dg.RunRequest | dg.SkipReason:
    """What to do at a tick of the schedule: one good run per session, none on a day without one.

    Args:
        tick: the scheduled moment.
        done: whether a run for that day has succeeded or is on its way.
    """
    local = tick.astimezone(NEW_YORK)
    day = local.date()
    if not is_session(EXCHANGE, day):
        return dg.SkipReason(f"{day}: {EXCHANGE} holds no session")
    if done:
        return dg.SkipReason(f"{day}: the session has been refreshed")
    return dg.RunRequest(run_key=f"refresh-{day}-{local:%H%M}", tags={"session_date": day.isoformat()})
