"""Which sessions a market check looks at."""

import datetime as dt

from orchestration.checks.flags import Window, next_window

MON, TUE, WED, THU = (dt.date(2026, 1, d) for d in (26, 27, 28, 29))


def test_a_new_instrument_is_looked_at_from_its_latest_session() -> None:
    window = next_window(None, TUE, MON)
    assert window == Window(MON, TUE)
    assert window.holds(TUE)
    assert not window.holds(MON)


def test_a_skipped_day_is_not_missed() -> None:
    window = next_window(Window(None, MON), THU, WED)
    assert [d for d in (MON, TUE, WED, THU) if window.holds(d)] == [TUE, WED, THU]


def test_looking_again_without_a_new_session_shows_the_same() -> None:
    window = next_window(Window(MON, TUE), TUE, MON)
    assert window == Window(MON, TUE)


def test_an_instrument_with_one_session_is_looked_at() -> None:
    assert next_window(None, MON, None).holds(MON)


def test_sessions_after_the_window_wait_for_the_next() -> None:
    assert not Window(MON, TUE).holds(WED)
