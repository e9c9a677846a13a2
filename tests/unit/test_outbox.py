"""The outbox: each event once, each delivery accounted for, whatever happens in between."""

import contextlib
import datetime as dt
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.alerts.channel_queue import LONGEST_WAIT, REJECTIONS_BEFORE_GIVING_UP, UNANSWERED_BEFORE_GIVING_UP
from orchestration.alerts.failures import Failure
from orchestration.alerts.messages import Alert, Pending
from orchestration.alerts.outbox import EXPIRES_AFTER, RUN_PATIENCE, Judgement, Outbox, opened_outbox
from orchestration.alerts.outbox_file import FILE, SCHEMA
from orchestration.channels import read_channels
from orchestration.settings import NEW_YORK

DAY = dt.date(2026, 1, 30)
DESK, MAIL = read_channels("desk=json://a mail=mailto://b kinds=data")
NOW = 1_800_000_000.0


def alert(event_id: str, kind: str = "move") -> Alert:
    return Alert(event_id, kind, "warning", ("SI=F",), DAY, f"Silver ∆ {event_id}", ("31,4 % ⇩",), 1.0)


def nothing(_: object) -> Judgement:
    return Judgement({}, [])


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path)
    yield opened
    opened.close()


def reject(outbox: Outbox, before: list[Pending], reason: str) -> int:
    """An attempt that the service refuses for good; returns how many events are given up by that."""
    queue = outbox.queue("desk")
    queue.failed(before, Failure(reason, maybe_delivered=False, for_good=True))
    return queue.give_up_rejected()


def ended(outbox: Outbox, run_id: str = "run", at: float = NOW) -> None:
    outbox.record_run(run_id, nothing, at)


def queued(outbox: Outbox, *event_ids: str) -> None:
    """Events of a run that has ended, in the queue of the desk."""
    outbox.record([alert(event_id) for event_id in event_ids], NOW, "run")
    ended(outbox)
    outbox.enqueue([DESK], NOW, lambda _: None)


def ids(outbox: Outbox, channel: str = "desk") -> list[str]:
    return sorted(w.alert.event_id for w in outbox.queue(channel).pending())


def test_an_event_enters_once_and_is_queued_once(outbox: Outbox) -> None:
    assert outbox.record([alert("a"), alert("b")], NOW, "run") == 2
    assert outbox.record([alert("a"), alert("c")], NOW, "run") == 1
    ended(outbox)
    logged: list[Alert] = []
    assert outbox.enqueue([DESK, MAIL], NOW, logged.append) == 3
    assert outbox.enqueue([DESK, MAIL], NOW, logged.append) == 0
    assert sorted(a.event_id for a in logged) == ["a", "b", "c"]
    assert ids(outbox) == ["a", "b", "c"]
    assert ids(outbox, "mail") == []
    (first, *_) = outbox.queue("desk").pending()
    assert first.alert == alert(first.alert.event_id)
    assert first.run_id == "run"


def test_events_wait_for_their_run_but_not_for_ever(outbox: Outbox) -> None:
    outbox.record([alert("a")], NOW, "run")
    assert outbox.enqueue([DESK], NOW, lambda _: None) == 0
    assert outbox.enqueue([DESK], NOW + RUN_PATIENCE + 1, lambda _: None) == 1


def test_a_channel_that_is_set_later_hears_no_old_news(outbox: Outbox) -> None:
    outbox.record([alert("a")], NOW, "run")
    ended(outbox)
    outbox.enqueue([], NOW, lambda _: None)
    outbox.enqueue([DESK], NOW, lambda _: None)
    assert ids(outbox) == []


def test_a_run_is_looked_at_once(outbox: Outbox) -> None:
    for _ in range(2):
        outbox.record_run("run", lambda _: Judgement({"check": "bad"}, [alert("d", "data")]), NOW)
    assert outbox.unknown(["run", "next"]) == ["next"]
    seen: list[dict] = []
    outbox.record_run("next", lambda before: seen.append(dict(before)) or nothing(before), NOW)
    assert seen == [{"check": "bad"}]
    outbox.enqueue([DESK, MAIL], NOW, lambda _: None)
    assert ids(outbox) == ids(outbox, "mail") == ["d"]


def test_failures_back_off_and_stay_visible_until_they_are_given_up(outbox: Outbox) -> None:
    queued(outbox, "a")
    waits = []
    at = NOW
    for _ in range(9):
        assert outbox.due(at) == {"desk"}
        before = outbox.queue("desk").pending()
        outbox.queue("desk").begin(["a"], at)
        outbox.queue("desk").failed(before, Failure("HTTP 500", False, False))
        assert outbox.due(at) == set()
        assert outbox.due(at, everything=True) == {"desk"}
        waits.append(next(s for s in range(0, 4000, 30) if outbox.due(at + s)))
        at += waits[-1]
    assert waits == [60, 120, 240, 480, 960, 1920, *[LONGEST_WAIT] * 3]
    assert outbox.queue("desk").pending()[0].maybe_delivered is False
    assert [outbox.expire(NOW + day * 86400 - 1) for day in range(1, 8)] == [0] * 7
    assert outbox.expire(NOW + EXPIRES_AFTER - 1) == 0
    assert outbox.expire(NOW + EXPIRES_AFTER + 1) == 1
    (given_up,) = outbox.last(["expired"], 9)
    assert (given_up.reason, given_up.attempts) == ("gave up after a week: HTTP 500", 9)
    assert outbox.counts() == {("desk", "expired"): 1}
    assert outbox.due(at + EXPIRES_AFTER, everything=True) == set()


def test_an_attempt_of_which_nothing_is_heard_was_maybe_delivered(outbox: Outbox) -> None:
    queued(outbox, "a", "b")
    outbox.queue("desk").begin(["a"], NOW)
    assert {w.alert.event_id: w.maybe_delivered for w in outbox.queue("desk").pending()} == {"a": True, "b": False}
    # A later refusal does not make the first attempt certain.
    before = outbox.queue("desk").pending()
    outbox.queue("desk").begin(["a", "b"], NOW)
    outbox.queue("desk").failed(before, Failure("HTTP 503", False, False))
    assert {w.alert.event_id: w.maybe_delivered for w in outbox.queue("desk").pending()} == {"a": True, "b": False}
    outbox.queue("desk").sent(["a"], NOW)
    assert ids(outbox) == ["b"]


def test_an_event_is_given_up_only_if_the_channel_accepts_others(outbox: Outbox) -> None:
    queued(outbox, "a", "b")

    def refuse(event_id: str) -> int:
        before = [w for w in outbox.queue("desk").pending() if w.alert.event_id == event_id]
        return reject(outbox, before, "HTTP 400")

    assert [refuse("a") for _ in range(REJECTIONS_BEFORE_GIVING_UP + 1)] == [0] * (REJECTIONS_BEFORE_GIVING_UP + 1)
    outbox.queue("desk").sent(["b"], NOW + 1)
    assert refuse("a") == 1
    assert ids(outbox) == []
    (given_up,) = outbox.last(["expired"], 9)
    assert given_up.reason == f"given up, refused {REJECTIONS_BEFORE_GIVING_UP + 2} times: HTTP 400"
    assert outbox.expire(NOW + EXPIRES_AFTER + 1) == 0


def test_an_outbox_of_an_earlier_version_is_carried_on(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.executescript(SCHEMA)
        assert "rejections" not in {name for _, name, *_ in connection.execute("pragma table_info(deliveries)")}
    for _ in range(2):
        opened = Outbox(tmp_path)
        queued(opened, "a")
        assert [w.rejections for w in opened.queue("desk").pending()] == [0]
        opened.close()


def test_many_hands_at_once_make_one_outbox(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work(hand: int) -> None:
        try:
            opened = Outbox(tmp_path)
            for number in range(20):
                opened.record([alert(f"e{number}")], NOW, f"r{number}")
                opened.record_run(f"r{number}", nothing, NOW)
                opened.enqueue([DESK], NOW, lambda a: logged.append(a.event_id))
            opened.close()
        except BaseException as error:
            errors.append(error)

    logged: list[str] = []
    hands = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join(timeout=300)
    assert errors == []
    assert sorted(logged) == sorted(f"e{n}" for n in range(20))


def test_a_new_outbox_waits_for_who_is_writing_to_it(tmp_path: Path) -> None:
    """Another process that has only just made the file, and has not switched it to write-ahead logging yet."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            Outbox(tmp_path).close()
        except BaseException as error:
            errors.append(error)

    hand = threading.Thread(target=work)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("begin immediate")
        hand.start()
        hand.join(timeout=1)
        assert errors == []
        assert hand.is_alive()
        other.execute("commit")
        hand.join(timeout=300)
    assert not hand.is_alive()
    assert errors == []


def test_a_new_outbox_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.alerts.outbox_file.PATIENCE", 0.2)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            Outbox(tmp_path)


def test_what_is_no_outbox_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Outbox(tmp_path)


def test_a_new_outbox_can_be_opened_by_many_at_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    folders = [tmp_path / str(n) for n in range(40)]
    together = threading.Barrier(4)

    def work() -> None:
        try:
            for folder in folders:
                together.wait(300)
                Outbox(folder).close()
        except BaseException as error:
            errors.append(error)
            together.abort()

    hands = [threading.Thread(target=work) for _ in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join(timeout=300)
    assert not any(hand.is_alive() for hand in hands)
    # The others find that the one that failed is gone; that is no news.
    assert [error for error in errors if not isinstance(error, threading.BrokenBarrierError)] == []


def test_what_ended_before_the_outbox_is_no_news(outbox: Outbox) -> None:
    outbox.begin_with("instance", ["a", "b"])
    assert outbox.unknown(["a", "b", "c"]) == ["c"]
    outbox.begin_with("instance", ["a", "b", "c"])
    assert outbox.unknown(["a", "b", "c"]) == ["c"]
    # Another instance of Dagster, with a past of its own.
    outbox.begin_with("other", ["x"])
    assert outbox.unknown(["x", "y", "c"]) == ["y", "c"]


def test_the_run_that_began_the_outbox_is_news(outbox: Outbox) -> None:
    outbox.record([alert("a")], NOW, "second")
    outbox.begin_with("instance", ["first", "second", "third"])
    assert outbox.unknown(["first", "second", "third"]) == ["second", "third"]


def test_an_outbox_of_an_earlier_version_that_was_ahead_of_its_time_tells_what_it_missed(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.executescript(SCHEMA)
        connection.execute("insert into facts values ('collected_until', 9e9)")
        connection.execute("insert into runs values ('second')")
        connection.commit()
    with opened_outbox(tmp_path) as outbox:
        outbox.begin_with("instance", ["first", "second", "third"])
        assert outbox.unknown(["first", "second", "third"]) == ["third"]


def attempt(outbox: Outbox, reason: str, *event_ids: str) -> int:
    """An attempt of some events that fails; returns how many events were given up for want of an answer."""
    before = [w for w in outbox.queue("desk").pending() if w.alert.event_id in event_ids]
    outbox.queue("desk").begin(event_ids, NOW)
    if reason:  # else the sender was ended
        outbox.queue("desk").failed(before, Failure(reason, maybe_delivered=True, for_good=False))
    return outbox.queue("desk").give_up_unanswered()


@pytest.mark.parametrize("reason", ["no answer in time", ""], ids=["noticed", "sender ended"])
def test_what_has_perhaps_arrived_is_not_told_for_ever(outbox: Outbox, reason: str) -> None:
    queued(outbox, "a", "b")
    # Whatever else goes wrong meanwhile does not count: that the service says no, or is down.
    for _ in range(3):
        assert attempt(outbox, "HTTP 503", "a", "b") == 0
        outbox.queue("desk").begin(["a"], NOW)
        assert reject(outbox, [w for w in outbox.queue("desk").pending() if w.alert.event_id == "a"], "x") == 0
    counted = [w.unanswered for w in outbox.queue("desk").pending() if w.alert.event_id == "b"]
    assert counted == [0]
    given_up = [attempt(outbox, reason, "b") for _ in range(UNANSWERED_BEFORE_GIVING_UP)]
    assert given_up == [0] * (UNANSWERED_BEFORE_GIVING_UP - 1) + [1]
    assert ids(outbox) == ["a"]
    (gone,) = outbox.last(["expired"], 9)
    said = f"given up, perhaps delivered: {UNANSWERED_BEFORE_GIVING_UP} attempts without an answer in time"
    assert (gone.event_id, gone.reason) == ("b", said)


def test_a_service_that_is_down_is_tried_for_a_week(outbox: Outbox) -> None:
    queued(outbox, "a")
    assert sum(attempt(outbox, "HTTP 503", "a") for _ in range(170)) == 0
    assert ids(outbox) == ["a"]


DAY_SECONDS = 86400.0
# A leap day and a year's end in New York, the nights of both clock changes, and any day.
MOMENTS = [
    dt.datetime(2028, 2, 29, 23, 59, 59, tzinfo=NEW_YORK),
    dt.datetime(2026, 12, 31, 23, 59, 59, tzinfo=NEW_YORK),
    dt.datetime(2026, 3, 8, 1, 59, 59, tzinfo=NEW_YORK),
    dt.datetime(2026, 11, 1, 1, 59, 59, tzinfo=NEW_YORK),
    dt.datetime(2026, 7, 1, 17, 30, tzinfo=NEW_YORK),
]
SHIFTS = [days * DAY_SECONDS for days in (3, 30, 3650, -3, -30, -20000)]


@pytest.fixture(params=MOMENTS, ids=lambda moment: f"{moment:%Y-%m-%d}")
def now(request: pytest.FixtureRequest) -> float:
    return request.param.timestamp()


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_clock_that_was_wrong_and_is_right_again_loses_nothing(outbox: Outbox, now: float, shift: float) -> None:
    wrong = now + shift
    outbox.record([alert("a")], wrong, "run")
    ended(outbox, at=now)
    assert outbox.enqueue([DESK], now, lambda _: None) == 1
    # An attempt of the wrong clock does not decide when the next one is due.
    outbox.queue("desk").begin(["a"], wrong)
    assert outbox.due(now + 61) == {"desk"}
    # Nor is the alert given up, neither by the wrong clock nor by the right one.
    for moment in (wrong, now, wrong + 60, now + 60):
        assert outbox.expire(moment) == 0
    assert ids(outbox) == ["a"]
    # It is only once it has really waited for a week; the jumps may have counted for a day each.
    left = [outbox.expire(now + day * DAY_SECONDS + 61) for day in range(1, 9)]
    assert sum(left) == 1
    assert left.index(1) >= 4


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_clock_that_is_corrected_while_a_run_goes_on_does_not_part_it_from_its_events(
    outbox: Outbox, now: float, shift: float
) -> None:
    """Two runs: the events of one do not go out with the other, and those of no run wait for no future."""
    outbox.record([alert("a")], now + shift, "first")
    outbox.record([alert("b")], now, "second")
    ended(outbox, "first", now)
    assert outbox.enqueue([DESK], now, lambda _: None) == 1
    assert [(w.alert.event_id, w.run_id) for w in outbox.queue("desk").pending()] == [("a", "first")]
    outbox.record([alert("c")], now + shift)
    assert outbox.enqueue([DESK], now, lambda _: None) == 1
    assert ids(outbox) == ["a", "c"]


def test_what_a_channel_accepted_is_after_or_before_an_event_whatever_the_clock_says(outbox: Outbox) -> None:
    """A message that was accepted before the event was found is no sign that the service refuses the event."""
    queued(outbox, "a")
    outbox.queue("desk").sent(["a"], NOW + 3 * DAY_SECONDS)
    outbox.record([alert("b")], NOW, "next")
    ended(outbox, "next")
    outbox.enqueue([DESK], NOW, lambda _: None)
    for _ in range(REJECTIONS_BEFORE_GIVING_UP + 1):
        assert reject(outbox, outbox.queue("desk").pending(), "HTTP 400") == 0
    assert ids(outbox) == ["b"]
