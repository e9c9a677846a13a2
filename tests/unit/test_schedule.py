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
    assert outcome.run_key == f"refresh-{day}"


@pytest.mark.parametrize("day", ["2026-01-30", "2025-11-28", "2026-03-06", "2026-03-09", "2025-10-31", "2025-11-03"])
@pytest.mark.parametrize("calendar", ["XNYS", "CMES", "XLON"])
def test_at_the_tick_every_bar_of_the_day_is_final(day: str, calendar: str) -> None:
    now = tick(day).astimezone(dt.UTC)
    assert closed_sessions(calendar, now)["session_date"].iloc[-1].date() == dt.date.fromisoformat(day)


def ticks(start: dt.datetime, count: int) -> list[str]:
    settings = Settings()
    schedule = build_schedule(build_refresh_job(settings), settings)
    found = schedule_execution_time_iterator(start.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
    return [next(found).astimezone(NEW_YORK).strftime("%m-%d %H:%M %z") for _ in range(count)]


def test_ticks_come_at_half_past_five_in_new_york_across_both_switches() -> None:
    assert ticks(dt.datetime(2026, 3, 6, tzinfo=NEW_YORK), 4) == [
        "03-06 17:30 -0500",
        "03-07 17:30 -0500",
        "03-08 17:30 -0400",
        "03-09 17:30 -0400",
    ]
    assert ticks(dt.datetime(2025, 11, 1, tzinfo=NEW_YORK), 2) == ["11-01 17:30 -0400", "11-02 17:30 -0500"]


def test_the_sample_waits_to_be_switched_on_and_real_prices_do_not() -> None:
    sample, yahoo = Settings(), Settings(source="yahoo")
    assert build_schedule(build_refresh_job(sample), sample).default_status is dg.DefaultScheduleStatus.STOPPED
    assert build_schedule(build_refresh_job(yahoo), yahoo).default_status is dg.DefaultScheduleStatus.RUNNING
