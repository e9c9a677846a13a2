"""The evening schedule: one run per session of the New York exchanges, at 17:30 their time."""

import datetime as dt

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from orchestration.automation.jobs import build_refresh_job
from orchestration.automation.schedules import build_schedule, evening
from orchestration.market.calendar import closed_sessions
from orchestration.settings import NEW_YORK, Settings


def tick(day: str) -> dt.datetime:
    return dt.datetime.combine(dt.date.fromisoformat(day), dt.time(17, 30), tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    "day",
    [
        "2025-11-27",  # Thanksgiving
        "2026-04-03",  # Good Friday
        "2026-01-19",  # Martin Luther King day: Globex trades, the exchanges do not
        "2025-12-25",
        "2026-01-31",  # a Saturday
        "2026-03-08",  # Sunday of the switch to daylight saving
        "2025-11-02",  # Sunday of the switch back
    ],
)
def test_no_run_without_a_session(day: str) -> None:
    outcome = evening(tick(day))
    assert isinstance(outcome, dg.SkipReason)
    assert day in (outcome.skip_message or "")


@pytest.mark.parametrize(
    "day",
    [
        "2026-01-30",
        "2025-11-28",  # early close after Thanksgiving
        "2025-12-24",  # early close
        "2026-03-06",
        "2026-03-09",  # first session of daylight saving time
        "2025-11-03",  # first session after it
    ],
)
def test_one_run_per_session(day: str) -> None:
    outcome = evening(tick(day))
    assert isinstance(outcome, dg.RunRequest)
    assert outcome.run_key == f"refresh-{day}-1730"
    assert outcome.tags["session_date"] == day


@pytest.mark.parametrize("day", ["2026-01-30", "2025-11-28", "2026-03-06", "2026-03-09", "2025-10-31", "2025-11-03"])
@pytest.mark.parametrize("calendar", ["XNYS", "CMES", "XLON"])
def test_at_the_tick_every_bar_of_the_day_is_final(day: str, calendar: str) -> None:
    now = tick(day).astimezone(dt.UTC)
    assert closed_sessions(calendar, now)["session_date"].iloc[-1].date() == dt.date.fromisoformat(day)


def test_the_second_tick_is_for_an_evening_that_failed() -> None:
    late = tick("2026-01-30").replace(hour=21, minute=0)
    again = evening(late, done=False)
    assert isinstance(again, dg.RunRequest)
    assert again.run_key == "refresh-2026-01-30-2100"
    assert isinstance(evening(late, done=True), dg.SkipReason)


@pytest.mark.parametrize(
    ("status", "runs_again"),
    [(dg.DagsterRunStatus.SUCCESS, False), (dg.DagsterRunStatus.STARTED, False), (dg.DagsterRunStatus.FAILURE, True)],
)
def test_whether_an_evening_is_done_is_read_from_its_runs(status: dg.DagsterRunStatus, runs_again: bool) -> None:
    settings = Settings()
    schedule = build_schedule(build_refresh_job(settings), settings)
    with dg.instance_for_test() as instance:
        instance.add_run(dg.DagsterRun(job_name="refresh", status=status, tags={"session_date": "2026-01-30"}))
        late = tick("2026-01-30").replace(hour=21, minute=0)
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=late)
        outcome = schedule(context)
    assert isinstance(outcome, dg.RunRequest if runs_again else dg.SkipReason)


def ticks(start: dt.datetime, count: int) -> list[str]:
    settings = Settings()
    schedule = build_schedule(build_refresh_job(settings), settings)
    found = schedule_execution_time_iterator(start.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
    return [next(found).astimezone(NEW_YORK).strftime("%m-%d %H:%M %z") for _ in range(count)]


def test_ticks_keep_new_york_time_across_both_switches() -> None:
    assert ticks(dt.datetime(2026, 3, 7, tzinfo=NEW_YORK), 4) == [
        "03-07 17:30 -0500",
        "03-07 21:00 -0500",
        "03-08 17:30 -0400",
        "03-08 21:00 -0400",
    ]
    assert ticks(dt.datetime(2025, 11, 1, tzinfo=NEW_YORK), 3) == [
        "11-01 17:30 -0400",
        "11-01 21:00 -0400",
        "11-02 17:30 -0500",
    ]


def test_the_sample_waits_to_be_switched_on_and_real_prices_do_not() -> None:
    sample, yahoo = Settings(), Settings(source="yahoo")
    assert build_schedule(build_refresh_job(sample), sample).default_status is dg.DefaultScheduleStatus.STOPPED
    assert build_schedule(build_refresh_job(yahoo), yahoo).default_status is dg.DefaultScheduleStatus.RUNNING
