"""The evening schedule: one run per session of the New York exchanges, at 17:30 their time, or as soon as it can be."""

import datetime as dt
from collections.abc import Iterator
from functools import cache
from itertools import islice, takewhile
from typing import Any

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from orchestration.instance.runs import process_tags
from orchestration.market.calendar import closed_sessions
from orchestration.schedules import UNFINISHED_OR_GOOD, build_refresh_job, build_schedule, due_session, evening
from orchestration.settings import NEW_YORK, Settings
from tests.runs import dead_process, run


def tick(day: str) -> dt.datetime:
    return dt.datetime.combine(dt.date.fromisoformat(day), dt.time(17, 30), tzinfo=NEW_YORK)


HOME = Settings().paths.root


def run_of(session: str, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS, **tags: str) -> dg.DagsterRun:
    """A refresh of this home."""
    home = {"orewatch/home": str(HOME), **{name.replace("__", "/"): value for name, value in tags.items()}}
    return dg.DagsterRun(job_name="refresh", status=status, tags={"session_date": session, **home})


@pytest.mark.parametrize(
    ("day", "before"),
    [
        ("2025-11-27", "2025-11-26"),  # Thanksgiving
        ("2026-04-03", "2026-04-02"),  # Good Friday
        ("2026-01-19", "2026-01-16"),  # Martin Luther King day: Globex trades, the exchanges do not
        ("2025-12-25", "2025-12-24"),
        ("2026-01-31", "2026-01-30"),  # a Saturday
        ("2026-03-08", "2026-03-06"),  # Sunday of the switch to daylight saving
        ("2025-11-02", "2025-10-31"),  # Sunday of the switch back
        ("2028-02-29", "2028-02-29"),
        ("2027-01-01", "2026-12-31"),
    ],
)
def test_a_day_without_a_session_is_for_what_the_last_one_has_left_undone(day: str, before: str) -> None:
    done = evening(tick(day), run_of(before))
    assert isinstance(done, dg.SkipReason)
    assert f"{day}: the last session, of {before}, has been refreshed by run " in (done.skip_message or "")
    undone = evening(tick(day))
    assert isinstance(undone, dg.RunRequest)
    assert undone.tags["session_date"] == before
    assert undone.run_key == (f"refresh-{day}-1730" if day == before else f"refresh-{before}-{day}-1730")


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


# Dagster makes no run in a queue that has come from nowhere.
@pytest.mark.parametrize("status", [s for s in UNFINISHED_OR_GOOD if s is not dg.DagsterRunStatus.QUEUED])
def test_the_second_tick_is_for_an_evening_that_failed(status: dg.DagsterRunStatus) -> None:
    late = tick("2026-01-30").replace(hour=21, minute=0)
    again = evening(late)
    assert isinstance(again, dg.RunRequest)
    assert again.run_key == "refresh-2026-01-30-2100"
    skipped = evening(late, run_of("2026-01-30", status))
    assert isinstance(skipped, dg.SkipReason)
    said = "has been refreshed" if status is dg.DagsterRunStatus.SUCCESS else "is being refreshed"
    assert said in (skipped.skip_message or "")


@pytest.mark.parametrize(
    ("moment", "session"),
    [
        ("2026-01-30 17:29", "2026-01-29"),  # the exchanges have closed, metals have not long
        ("2026-01-30 17:30", "2026-01-30"),
        ("2026-02-02 09:00", "2026-01-30"),
        ("2025-11-28 13:30", "2025-11-26"),  # early close
        ("2026-03-08 02:30", "2026-03-06"),  # an hour that there was not
        ("2025-11-02 01:30", "2025-10-31"),  # one that came twice
        ("2001-09-14 21:00", "2001-09-10"),
    ],
)
def test_a_session_is_due_when_its_bars_are_final(moment: str, session: str) -> None:
    at = dt.datetime.fromisoformat(moment).replace(tzinfo=NEW_YORK)
    assert due_session(at) == due_session(at.astimezone(dt.UTC)) == dt.date.fromisoformat(session)


@cache
def schedule() -> dg.ScheduleDefinition:
    return build_schedule(build_refresh_job(Settings().paths), Settings().paths)


def asked(instance: dg.DagsterInstance, at: dt.datetime) -> Any:
    """What the schedule of a home answers to a tick."""
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=at) as context:
        return schedule()(context)


@pytest.mark.parametrize(
    ("status", "runs_again"),
    [
        (dg.DagsterRunStatus.SUCCESS, False),
        (dg.DagsterRunStatus.STARTED, False),
        (dg.DagsterRunStatus.FAILURE, True),
        (dg.DagsterRunStatus.CANCELED, True),
    ],
)
def test_whether_an_evening_is_done_is_read_from_its_runs(
    status: dg.DagsterRunStatus, runs_again: bool, instance: dg.DagsterInstance
) -> None:
    instance.add_run(run_of("2026-01-30", status))
    outcome = asked(instance, tick("2026-01-30").replace(hour=21, minute=0))
    assert isinstance(outcome, dg.RunRequest if runs_again else dg.SkipReason)


@pytest.mark.parametrize(
    "tags",
    [
        {},  # of another project that knows sessions
        {"source": "sample"},
        {"orewatch/home": "/another/home/sample"},
    ],
)
def test_a_run_of_somebody_else_is_no_evening_of_ours(tags: dict[str, str], instance: dg.DagsterInstance) -> None:
    instance.add_run(run({"session_date": "2026-01-30", **tags}, status=dg.DagsterRunStatus.SUCCESS))
    assert isinstance(asked(instance, tick("2026-01-30")), dg.RunRequest)


@pytest.fixture(scope="module")
def an_instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def instance(an_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """On which nothing has run yet."""
    for old in an_instance.get_runs():
        an_instance.delete_run(old.run_id)
    return an_instance


class Life:
    """A home whose daemon is off and on again, on one instance; a run ends as soon as it is asked for."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.looked: dt.datetime | None = None
        self.ran: list[tuple[str, str]] = []

    def on(self, start: str, end: str, *, works: bool = True) -> "Life":
        """The daemon runs from one moment to another, in New York; its runs succeed or fail."""
        begin, stop = (dt.datetime.fromisoformat(moment).replace(tzinfo=NEW_YORK) for moment in (start, end))
        missed = list(takewhile(lambda at: at <= begin, ticks_after(self.looked or begin)))
        # As Dagster does for a schedule without partitions.
        for at in [*missed[-1:], *takewhile(lambda at: at <= stop, ticks_after(begin))]:
            outcome = asked(self.instance, at)
            if isinstance(outcome, dg.RunRequest):
                status = dg.DagsterRunStatus.SUCCESS if works else dg.DagsterRunStatus.FAILURE
                self.instance.add_run(run_of(outcome.tags["session_date"], status))
                self.ran.append((f"{at.astimezone(NEW_YORK):%m-%d %H:%M}", outcome.tags["session_date"]))
            else:
                assert outcome.skip_message
        self.looked = stop
        return self


@pytest.fixture
def life(instance: dg.DagsterInstance) -> Life:
    return Life(instance)


def test_off_from_friday_evening_to_sunday(life: Life) -> None:
    life.on("2026-01-29 12:00", "2026-01-30 17:00").on("2026-02-01 10:00", "2026-02-02 12:00")
    # At once, for the tick of Saturday that was missed.
    assert life.ran == [("01-29 17:30", "2026-01-29"), ("01-31 21:00", "2026-01-30")]


def test_a_new_instance_on_a_weekend(life: Life) -> None:
    life.on("2026-01-31 23:00", "2026-02-01 23:00")
    assert life.ran == [("02-01 17:30", "2026-01-30")]


def test_off_for_a_week_makes_up_for_the_last_session(life: Life) -> None:
    life.on("2026-01-23 12:00", "2026-01-23 18:00").on("2026-02-01 10:00", "2026-02-01 20:00")
    assert life.ran == [("01-23 17:30", "2026-01-23"), ("01-31 21:00", "2026-01-30")]


def test_off_over_a_holiday(life: Life) -> None:
    # Good Friday: Thursday's evening is made up for on Easter Monday's morning, whose own comes as ever.
    life.on("2026-04-01 12:00", "2026-04-02 17:00").on("2026-04-06 08:00", "2026-04-06 22:00")
    assert life.ran == [
        ("04-01 17:30", "2026-04-01"),
        ("04-05 21:00", "2026-04-02"),
        ("04-06 17:30", "2026-04-06"),
    ]


@pytest.mark.parametrize(
    ("last", "back", "session"),
    [
        ("2026-03-06 12:00", "2026-03-08 04:00", "2026-03-06"),
        ("2025-10-31 12:00", "2025-11-02 01:15", "2025-10-31"),
        ("2025-10-31 12:00", "2025-11-03 09:00", "2025-10-31"),
    ],
)
def test_off_over_a_change_of_the_clock(last: str, back: str, session: str, life: Life) -> None:
    day = back[:10]
    life.on(f"{last[:10]} 09:00", last).on(back, f"{day} 17:00")
    assert [done for _, done in life.ran] == [session]
    monday = "2026-03-09" if day.startswith("2026") else "2025-11-03"
    life.on(f"{day} 17:00", f"{monday} 22:00")
    assert [done for _, done in life.ran] == [session, monday]


def test_nothing_is_done_twice_over_a_month(life: Life) -> None:
    life.on("2025-10-30 12:00", "2025-12-01 12:00")
    sessions = [session for _, session in life.ran]
    assert len(sessions) == len(set(sessions)) == 21
    assert {moment[-5:] for moment, _ in life.ran} == {"17:30"}


def test_what_fails_is_tried_again_until_it_works(life: Life) -> None:
    life.on("2026-01-30 12:00", "2026-01-31 18:00", works=False).on("2026-01-31 18:00", "2026-02-02 12:00")
    assert life.ran == [
        ("01-30 17:30", "2026-01-30"),
        ("01-30 21:00", "2026-01-30"),
        ("01-31 17:30", "2026-01-30"),
        ("01-31 21:00", "2026-01-30"),
    ]


@pytest.mark.parametrize("who", ["schedule", "UI", "command line"])
def test_a_run_that_died_is_no_evening_done(who: str, life: Life) -> None:
    """The power was off from Friday 17:40 on, and came back on Friday 20:50, or on Sunday."""
    for back, moment in (("2026-01-30 20:50", "01-30 21:00"), ("2026-02-01 10:00", "01-31 21:00")):
        dead = run_of("2026-01-30", dg.DagsterRunStatus.STARTED, user=who)
        tags = {**process_tags(dead.run_id), "orewatch/pid": str(dead_process())}
        life.instance.add_run(dead.with_tags({**dead.tags, **tags}))
        life.looked = dt.datetime(2026, 1, 30, 17, 40, tzinfo=NEW_YORK)
        life.ran.clear()
        life.on(back, f"{back[:10]} 21:01")
        assert life.ran == [(moment, "2026-01-30")]
        after = life.instance.get_run_by_id(dead.run_id)
        assert after is not None
        assert after.status is dg.DagsterRunStatus.FAILURE
        # Dagster itself is not to repeat what the schedule has just asked for.
        assert after.tags["dagster/max_retries"] == "0"
        life.instance.delete_run(dead.run_id)
        for old in life.instance.get_runs():
            life.instance.delete_run(old.run_id)


def ticks_after(start: dt.datetime) -> Iterator[dt.datetime]:
    # From the second after: what was looked at is not looked at again.
    begin, cron = start.timestamp() + 1, schedule().cron_schedule
    return schedule_execution_time_iterator(begin, cron, schedule().execution_timezone)


def ticks(start: dt.datetime, count: int) -> list[str]:
    return [at.astimezone(NEW_YORK).strftime("%m-%d %H:%M %z") for at in islice(ticks_after(start), count)]


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
    sample, yahoo = (Settings(source=source).paths for source in ("sample", "yahoo"))
    assert build_schedule(build_refresh_job(sample), sample).default_status is dg.DefaultScheduleStatus.STOPPED
    assert build_schedule(build_refresh_job(yahoo), yahoo).default_status is dg.DefaultScheduleStatus.RUNNING
