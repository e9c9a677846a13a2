"""What a market check flags: events that it has not seen, and no history."""

import datetime as dt

import pytest

from orchestration.checks.flags import Event, Memory, Span, evaluate

MON, TUE, WED, THU = (dt.date(2026, 1, d) for d in (26, 27, 28, 29))


def event(day: dt.date, check: str = "level", symbol: str = "A") -> Event:
    return Event(check, f"{symbol}|{day}|{check}", symbol, day)


def flagged(memory: Memory, check: str = "level") -> list[str]:
    return sorted(key.split("|")[1] for key in memory.flagged.get(check, ()))


def after(*days: dt.date, latest: dt.date, first: dt.date = MON, memory: Memory | None = None) -> Memory:
    return evaluate([event(d) for d in days], {"A": Span(first, latest)}, memory or Memory({"level": set()}))


@pytest.fixture
def tuesday() -> Memory:
    """Monday and Tuesday had an event; Tuesday's was flagged at first sight."""
    return after(MON, TUE, latest=TUE)


def test_at_first_sight_only_the_latest_session_is_news(tuesday: Memory) -> None:
    assert flagged(tuesday) == ["2026-01-27"]


def test_looking_again_shows_the_same(tuesday: Memory) -> None:
    again = after(MON, TUE, latest=TUE, memory=tuesday)
    assert flagged(again) == ["2026-01-27"]
    assert again == tuesday


def test_a_further_session_ends_the_flag(tuesday: Memory) -> None:
    assert flagged(after(MON, TUE, latest=WED, memory=tuesday)) == []


def test_skipped_sessions_are_not_missed(tuesday: Memory) -> None:
    assert flagged(after(MON, TUE, WED, THU, latest=THU, memory=tuesday)) == ["2026-01-28", "2026-01-29"]


def test_a_bar_that_came_late_is_flagged(tuesday: Memory) -> None:
    thursday = after(MON, TUE, THU, latest=THU, memory=tuesday)
    assert flagged(thursday) == ["2026-01-29"]
    late = after(MON, TUE, WED, THU, latest=THU, memory=thursday)
    assert flagged(late) == ["2026-01-28", "2026-01-29"]


def test_an_event_that_a_correction_took_away_is_no_longer_flagged(tuesday: Memory) -> None:
    assert flagged(after(MON, latest=TUE, memory=tuesday)) == []


def test_history_in_front_of_what_was_known_is_not_news(tuesday: Memory) -> None:
    earlier = dt.date(2020, 3, 13)
    assert flagged(after(earlier, MON, TUE, latest=TUE, first=earlier, memory=tuesday)) == ["2026-01-27"]


def test_a_new_level_flags_its_latest_session_only(tuesday: Memory) -> None:
    events = [event(d, check="new") for d in (MON, TUE)] + [event(MON), event(TUE)]
    assert flagged(evaluate(events, {"A": Span(MON, TUE)}, tuesday), "new") == ["2026-01-27"]


def test_a_new_instrument_flags_its_latest_session_only(tuesday: Memory) -> None:
    events = [event(MON), event(TUE)] + [event(d, symbol="B") for d in (MON, TUE)]
    memory = evaluate(events, {"A": Span(MON, TUE), "B": Span(MON, TUE)}, tuesday)
    assert sorted(memory.flagged["level"]) == ["A|2026-01-27|level", "B|2026-01-27|level"]


def test_the_first_event_of_a_quiet_level_is_news_however_late_it_is_seen() -> None:
    quiet = evaluate([], {"A": Span(MON, TUE)}, Memory({"level": set()}, {}, {"A": Span(MON, MON)}))
    assert flagged(after(WED, latest=THU, memory=quiet)) == ["2026-01-28"]


def test_what_a_changed_rule_finds_in_the_past_is_no_news() -> None:
    past = MON - dt.timedelta(days=90)
    known = after(past, MON, latest=MON, first=past - dt.timedelta(days=900))
    told = after(
        past, past + dt.timedelta(days=1), MON, TUE, latest=TUE, first=past - dt.timedelta(days=900), memory=known
    )
    assert flagged(told) == ["2026-01-27"]


def test_a_correction_of_last_week_is_news() -> None:
    week_ago = MON - dt.timedelta(days=7)
    known = after(MON, latest=MON, first=week_ago - dt.timedelta(days=900))
    told = after(week_ago, MON, latest=TUE, first=week_ago - dt.timedelta(days=900), memory=known)
    assert flagged(told) == [str(week_ago)]
