"""The one job, and when it runs by itself: every evening after a session of the New York exchanges.

17:30 New York is after the close of the exchanges (16:00, or 13:00 on an early close) and of metal futures (17:00), so
that every bar of the day is final; and before metals open again at 18:00, when a vendor's latest row of a future may
already be that of the next session.

A tick judges the last session that was due, on whatever day it falls: of the ticks that a daemon has missed Dagster
makes up for the last one, which may be that of a Sunday. See docs/decisions/0030-no-evening-is-lost.md.
"""

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.home import Home
from orchestration.instance.runs import fail_dead_runs, home_tags, is_ours
from orchestration.market.calendar import sessions
from orchestration.settings import NEW_YORK

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

EXCHANGE = "XNYS"

# When a session is due; and once more, for an evening on which the first run failed.
DUE, AGAIN = dt.time(17, 30), dt.time(21, 0)
TICKS = [f"{time.minute} {time.hour} * * *" for time in (DUE, AGAIN)]

# Tag of a run: the session that it refreshes.
SESSION = "session_date"

UNFINISHED_OR_GOOD = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.SUCCESS,
]


def build_refresh_job(home: Home) -> "UnresolvedAssetJobDefinition":
    """Fetch, build, audit, publish, check."""
    return dg.define_asset_job(
        "refresh",
        selection=dg.AssetSelection.all(),
        description="Bring everything up to date: fetch what is missing, build and audit the tables, publish, check.",
        tags={"source": home.source, "simulated": str(home.simulated).lower(), **home_tags(home)},
    )


def build_schedule(job: "UnresolvedAssetJobDefinition", home: Home) -> dg.ScheduleDefinition:
    """The evening refresh; it runs by itself for real sources, and waits to be switched on for the sample."""

    @dg.schedule(
        name="refresh_after_close",
        job=job,
        cron_schedule=TICKS,
        execution_timezone=str(NEW_YORK),
        default_status=dg.DefaultScheduleStatus.STOPPED if home.simulated else dg.DefaultScheduleStatus.RUNNING,
        description="At 17:30 New York after an exchange session, and at 21:00 if that failed; on other days only what"
        " the evening before has left undone.",
    )
    def refresh_after_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        tick = context.scheduled_execution_time
        session = due_session(tick).isoformat()
        # Or a run that died with the machine would stand for a refresh that is on its way.
        fail_dead_runs(context.instance, home, is_repeated=lambda run: run.tags.get(SESSION) == session)
        found = context.instance.get_runs(dg.RunsFilter(tags={SESSION: session}, statuses=UNFINISHED_OR_GOOD))
        return evening(tick, next((run for run in found if is_ours(run, home)), None))

    return refresh_after_close


def due_session(moment: dt.datetime) -> dt.date:
    """The last session of New York whose bars were final at a moment: its evening has come."""
    local = moment.astimezone(NEW_YORK)
    last = local.date() - dt.timedelta(days=local.time() < DUE)
    # No exchange has been closed for a month since 1914.
    known = sessions(EXCHANGE, last - dt.timedelta(days=31), last)
    return known[known["bar_expected"]]["session_date"].iloc[-1].date()


def evening(tick: dt.datetime, run: dg.DagsterRun | None = None) -> dg.RunRequest | dg.SkipReason:
    """What to do at a tick of the schedule: one good run per session, also if it comes days late.

    Args:
        tick: the scheduled moment.
        run: one of the session that was due last, which has succeeded or is on its way.
    """
    local, session = tick.astimezone(NEW_YORK), due_session(tick)
    if run is not None:
        state = "has been refreshed" if run.status is dg.DagsterRunStatus.SUCCESS else "is being refreshed"
        return dg.SkipReason(f"{local.date()}: the last session, of {session}, {state} by run {run.run_id}")
    late = "" if session == local.date() else f"{local.date()}-"
    return dg.RunRequest(run_key=f"refresh-{session}-{late}{local:%H%M}", tags={SESSION: session.isoformat()})
