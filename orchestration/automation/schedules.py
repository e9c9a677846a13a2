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


def build_schedule(job: "UnresolvedAssetJobDefinition", settings: Settings) -> dg.ScheduleDefinition:
    """The evening refresh; it runs by itself for real sources, and waits to be switched on for the sample."""

    @dg.schedule(
        name="refresh_after_close",
        job=job,
        cron_schedule="30 17 * * *",
        execution_timezone=str(NEW_YORK),
        default_status=dg.DefaultScheduleStatus.STOPPED if settings.simulated else dg.DefaultScheduleStatus.RUNNING,
        description="Every evening at 17:30 New York after an exchange session; skips holidays and weekends.",
    )
    def refresh_after_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return evening(context.scheduled_execution_time)

    return refresh_after_close


def evening(tick: dt.datetime) -> dg.RunRequest | dg.SkipReason:
    """What to do at a tick of the schedule: one run per session, none on a day without one."""
    day = tick.astimezone(NEW_YORK).date()
    if not is_session(EXCHANGE, day):
        return dg.SkipReason(f"{day}: {EXCHANGE} holds no session")
    return dg.RunRequest(run_key=f"refresh-{day}", tags={"session_date": day.isoformat()})
