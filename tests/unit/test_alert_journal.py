"""The journal: each event once, each delivery accounted for, whatever happens in between."""

import contextlib
import datetime as dt
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.alerts.messages import Alert
from orchestration.alerts.outbox import (
    EXPIRES_AFTER,
    FILE,
    LONGEST_WAIT,
    REJECTIONS_BEFORE_GIVING_UP,
    RUN_PATIENCE,
    SCHEMA,
    UNANSWERED_BEFORE_GIVING_UP,
    Journal,
    Judgement,
    journal,
)
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
def notes(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path)
    yield opened
    opened.close()


def ended(notes: Journal, run_id: str = "run", at: float = NOW) -> None:
    notes.record_run(run_id, nothing, at)


def ids(notes: Journal, channel: str = "desk") -> list[str]:
    return sorted(w.alert.event_id for w in notes.waiting(channel))


def test_an_event_enters_once_and_is_told_once(notes: Journal) -> None:
    assert notes.record([alert("a"), alert("b")], NOW, "run") == 2
    assert notes.record([alert("a"), alert("c")], NOW, "run") == 1
    ended(notes)
    told: list[Alert] = []
    assert notes.deal_out([DESK, MAIL], NOW, told.append) == 3
    assert notes.deal_out([DESK, MAIL], NOW, told.append) == 0
    assert sorted(a.event_id for a in told) == ["a", "b", "c"]
    assert ids(notes) == ["a", "b", "c"]
    assert ids(notes, "mail") == []
    (first, *_) = notes.waiting("desk")
    assert first.alert == alert(first.alert.event_id)
    assert first.run_id == "run"


def test_events_wait_for_their_run_but_not_for_ever(notes: Journal) -> None:
    notes.record([alert("a")], NOW, "run")
    assert notes.deal_out([DESK], NOW, lambda _: None) == 0
    assert notes.deal_out([DESK], NOW + RUN_PATIENCE + 1, lambda _: None) == 1


def test_a_channel_that_is_set_later_hears_no_old_news(notes: Journal) -> None:
    notes.record([alert("a")], NOW, "run")
    ended(notes)
    notes.deal_out([], NOW, lambda _: None)
    notes.deal_out([DESK], NOW, lambda _: None)
    assert ids(notes) == []


def test_a_run_is_looked_at_once(notes: Journal) -> None:
    for _ in range(2):
        notes.record_run("run", lambda _: Judgement({"check": "bad"}, [alert("d", "data")]), NOW)
    assert notes.unknown(["run", "next"]) == ["next"]
    seen: list[dict] = []
    notes.record_run("next", lambda before: seen.append(dict(before)) or nothing(before), NOW)
    assert seen == [{"check": "bad"}]
    notes.deal_out([DESK, MAIL], NOW, lambda _: None)
    assert ids(notes) == ids(notes, "mail") == ["d"]


def test_failures_back_off_and_stay_visible_until_they_are_given_up(notes: Journal) -> None:
    notes.record([alert("a")], NOW, "run")
    ended(notes)
    notes.deal_out([DESK], NOW, lambda _: None)
    waits = []
    at = NOW
    for _ in range(9):
        assert notes.due(at) == {"desk"}
        before = notes.waiting("desk")
        notes.begin("desk", ["a"], at)
        notes.failed("desk", before, "HTTP 500", doubtful=False)
        assert notes.due(at) == set()
        assert notes.due(at, everything=True) == {"desk"}
        waits.append(next(s for s in range(0, 4000, 30) if notes.due(at + s)))
        at += waits[-1]
    assert waits == [60, 120, 240, 480, 960, 1920, *[LONGEST_WAIT] * 3]
    assert notes.waiting("desk")[0].doubtful is False
    assert [notes.expire(NOW + day * 86400 - 1) for day in range(1, 8)] == [0] * 7
    assert notes.expire(NOW + EXPIRES_AFTER - 1) == 0
    assert notes.expire(NOW + EXPIRES_AFTER + 1) == 1
    (given_up,) = notes.last(["expired"], 9)
    assert (given_up.reason, given_up.attempts) == ("gave up after a week: HTTP 500", 9)
    assert notes.counts() == {("desk", "expired"): 1}
    assert notes.due(at + EXPIRES_AFTER, everything=True) == set()


def test_an_attempt_of_which_nothing_is_heard_is_doubtful(notes: Journal) -> None:
    notes.record([alert("a"), alert("b")], NOW, "run")
    ended(notes)
    notes.deal_out([DESK], NOW, lambda _: None)
    notes.begin("desk", ["a"], NOW)
    assert {w.alert.event_id: w.doubtful for w in notes.waiting("desk")} == {"a": True, "b": False}
    # A later refusal does not make the first attempt certain.
    before = notes.waiting("desk")
    notes.begin("desk", ["a", "b"], NOW)
    notes.failed("desk", before, "HTTP 503", doubtful=False)
    assert {w.alert.event_id: w.doubtful for w in notes.waiting("desk")} == {"a": True, "b": False}
    notes.sent("desk", ["a"], NOW)
    assert ids(notes) == ["b"]


def test_an_event_is_given_up_only_if_the_channel_accepts_others(notes: Journal) -> None:
    notes.record([alert("a"), alert("b")], NOW, "run")
    ended(notes)
    notes.deal_out([DESK], NOW, lambda _: None)

    def refuse(event_id: str) -> int:
        before = [w for w in notes.waiting("desk") if w.alert.event_id == event_id]
        return notes.rejected("desk", before, "HTTP 400", doubtful=False)

    assert [refuse("a") for _ in range(REJECTIONS_BEFORE_GIVING_UP + 1)] == [0] * (REJECTIONS_BEFORE_GIVING_UP + 1)
    notes.sent("desk", ["b"], NOW + 1)
    assert refuse("a") == 1
    assert ids(notes) == []
    (given_up,) = notes.last(["expired"], 9)
    assert given_up.reason == f"given up, refused {REJECTIONS_BEFORE_GIVING_UP + 2} times: HTTP 400"
    assert notes.expire(NOW + EXPIRES_AFTER + 1) == 0


def test_a_journal_of_an_earlier_version_is_carried_on(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.executescript(SCHEMA)
        assert "rejections" not in {name for _, name, *_ in connection.execute("pragma table_info(deliveries)")}
    for _ in range(2):
        opened = Journal(tmp_path)
        opened.record([alert("a")], NOW, "run")
        ended(opened)
        opened.deal_out([DESK], NOW, lambda _: None)
        assert [w.rejections for w in opened.waiting("desk")] == [0]
        opened.close()


def test_many_hands_at_once_make_one_journal(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work(hand: int) -> None:
        try:
            opened = Journal(tmp_path)
            for number in range(20):
                opened.record([alert(f"e{number}")], NOW, f"r{number}")
                opened.record_run(f"r{number}", nothing, NOW)
                opened.deal_out([DESK], NOW, lambda a: told.append(a.event_id))
            opened.close()
        except BaseException as error:
            errors.append(error)

    told: list[str] = []
    hands = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join(timeout=300)
    assert errors == []
    assert sorted(told) == sorted(f"e{n}" for n in range(20))


def test_a_new_journal_waits_for_who_is_writing_to_it(tmp_path: Path) -> None:
    """Another process that has only just made the file, and has not switched it to write-ahead logging yet."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            Journal(tmp_path).close()
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


def test_a_new_journal_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.alerts.outbox.PATIENCE", 0.2)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            Journal(tmp_path)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Journal(tmp_path)


def test_a_new_journal_can_be_opened_by_many_at_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    folders = [tmp_path / str(n) for n in range(40)]
    together = threading.Barrier(4)

    def work() -> None:
        try:
            for folder in folders:
                together.wait(300)
                Journal(folder).close()
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


def test_what_ended_before_the_journal_is_no_news(notes: Journal) -> None:
    notes.begin_with("instance", ["a", "b"])
    assert notes.unknown(["a", "b", "c"]) == ["c"]
    notes.begin_with("instance", ["a", "b", "c"])
    assert notes.unknown(["a", "b", "c"]) == ["c"]
    # Another instance of Dagster, with a past of its own.
    notes.begin_with("other", ["x"])
    assert notes.unknown(["x", "y", "c"]) == ["y", "c"]


def test_the_run_that_began_the_journal_is_news(notes: Journal) -> None:
    notes.record([alert("a")], NOW, "second")
    notes.begin_with("instance", ["first", "second", "third"])
    assert notes.unknown(["first", "second", "third"]) == ["second", "third"]


def test_a_journal_of_an_earlier_version_that_was_ahead_of_its_time_tells_what_it_missed(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.executescript(SCHEMA)
        connection.execute("insert into facts values ('collected_until', 9e9)")
        connection.execute("insert into runs values ('second')")
        connection.commit()
    with journal(tmp_path) as notes:
        notes.begin_with("instance", ["first", "second", "third"])
        assert notes.unknown(["first", "second", "third"]) == ["third"]


def attempt(notes: Journal, reason: str, *event_ids: str, doubtful: bool = True, unanswered: bool = False) -> int:
    """An attempt of some events that fails; returns how many events were given up for want of an answer."""
    before = [w for w in notes.waiting("desk") if w.alert.event_id in event_ids]
    notes.begin("desk", event_ids, NOW)
    if reason:  # else the sender was ended
        notes.failed("desk", before, reason, doubtful, unanswered)
    return notes.give_up_unanswered("desk")


@pytest.mark.parametrize("reason", ["no answer in time", ""], ids=["noticed", "sender ended"])
def test_what_has_perhaps_arrived_is_not_told_for_ever(notes: Journal, reason: str) -> None:
    notes.record([alert("a"), alert("b")], NOW, "run")
    ended(notes)
    notes.deal_out([DESK], NOW, lambda _: None)
    # Whatever else goes wrong meanwhile does not count: that the service says no, or is down.
    for _ in range(3):
        assert attempt(notes, "HTTP 503", "a", "b") == 0
        notes.begin("desk", ["a"], NOW)
        assert notes.rejected("desk", [w for w in notes.waiting("desk") if w.alert.event_id == "a"], "x", False) == 0
    counted = [w.unanswered for w in notes.waiting("desk") if w.alert.event_id == "b"]
    assert counted == [0]
    given_up = [attempt(notes, reason, "b", unanswered=True) for _ in range(UNANSWERED_BEFORE_GIVING_UP)]
    assert given_up == [0] * (UNANSWERED_BEFORE_GIVING_UP - 1) + [1]
    assert ids(notes) == ["a"]
    (gone,) = notes.last(["expired"], 9)
    said = f"given up, perhaps delivered: {UNANSWERED_BEFORE_GIVING_UP} attempts without an answer in time"
    assert (gone.event_id, gone.reason) == ("b", said)


def test_a_service_that_is_down_is_tried_for_a_week(notes: Journal) -> None:
    notes.record([alert("a")], NOW, "run")
    ended(notes)
    notes.deal_out([DESK], NOW, lambda _: None)
    assert sum(attempt(notes, "HTTP 503", "a") for _ in range(170)) == 0
    assert ids(notes) == ["a"]


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
def test_a_clock_that_was_wrong_and_is_right_again_loses_nothing(notes: Journal, now: float, shift: float) -> None:
    wrong = now + shift
    notes.record([alert("a")], wrong, "run")
    ended(notes, at=now)
    assert notes.deal_out([DESK], now, lambda _: None) == 1
    # An attempt of the wrong clock does not decide when the next one is due.
    notes.begin("desk", ["a"], wrong)
    assert notes.due(now + 61) == {"desk"}
    # Nor is the alert given up, neither by the wrong clock nor by the right one.
    for moment in (wrong, now, wrong + 60, now + 60):
        assert notes.expire(moment) == 0
    assert ids(notes) == ["a"]
    # It is only once it has really waited for a week; the jumps may have counted for a day each.
    left = [notes.expire(now + day * DAY_SECONDS + 61) for day in range(1, 9)]
    assert sum(left) == 1
    assert left.index(1) >= 4


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_clock_that_is_corrected_while_a_run_goes_on_does_not_part_it_from_its_events(
    notes: Journal, now: float, shift: float
) -> None:
    """Two runs: the events of one do not go out with the other, and those of no run wait for no future."""
    notes.record([alert("a")], now + shift, "first")
    notes.record([alert("b")], now, "second")
    ended(notes, "first", now)
    assert notes.deal_out([DESK], now, lambda _: None) == 1
    assert [(w.alert.event_id, w.run_id) for w in notes.waiting("desk")] == [("a", "first")]
    notes.record([alert("c")], now + shift)
    assert notes.deal_out([DESK], now, lambda _: None) == 1
    assert ids(notes) == ["a", "c"]


def test_what_a_channel_accepted_is_after_or_before_an_event_whatever_the_clock_says(notes: Journal) -> None:
    """A message that was accepted before the event was found is no sign that the service refuses the event."""
    notes.record([alert("a")], NOW, "run")
    ended(notes)
    notes.deal_out([DESK], NOW, lambda _: None)
    notes.sent("desk", ["a"], NOW + 3 * DAY_SECONDS)
    notes.record([alert("b")], NOW, "next")
    ended(notes, "next")
    notes.deal_out([DESK], NOW, lambda _: None)
    for _ in range(REJECTIONS_BEFORE_GIVING_UP + 1):
        assert notes.rejected("desk", notes.waiting("desk"), "HTTP 400", doubtful=False) == 0
    assert ids(notes) == ["b"]
