"""What a market check flags: events that it has not seen, and no history."""

import datetime as dt
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.alerts import flagged as noting
from orchestration.alerts.flagged import note
from orchestration.alerts.outbox import RUN_PATIENCE, opened_outbox
from orchestration.publish.marts import Mart
from orchestration.publish.versions import publish
from orchestration.settings import Settings
from orchestration.signals.new_events import CheckState, Event, NewEvents, Span, evaluate, new_events, save

MON, TUE, WED, THU = (dt.date(2026, 1, d) for d in (26, 27, 28, 29))


def event(day: dt.date, check: str = "level", symbol: str = "A") -> Event:
    return Event(check, f"{symbol}|{day}|{check}", symbol, day)


def flagged(state: CheckState, check: str = "level") -> list[str]:
    return sorted(key.split("|")[1] for key in state.flagged.get(check, ()))


def after(*days: dt.date, latest: dt.date, first: dt.date = MON, state: CheckState | None = None) -> CheckState:
    return evaluate([event(d) for d in days], {"A": Span(first, latest)}, state or CheckState({"level": set()}))


@pytest.fixture
def tuesday() -> CheckState:
    """Monday and Tuesday had an event; Tuesday's was flagged at first sight."""
    return after(MON, TUE, latest=TUE)


def test_at_first_sight_only_the_latest_session_is_news(tuesday: CheckState) -> None:
    assert flagged(tuesday) == ["2026-01-27"]


def test_looking_again_shows_the_same(tuesday: CheckState) -> None:
    again = after(MON, TUE, latest=TUE, state=tuesday)
    assert flagged(again) == ["2026-01-27"]
    assert again == tuesday


def test_a_further_session_ends_the_flag(tuesday: CheckState) -> None:
    assert flagged(after(MON, TUE, latest=WED, state=tuesday)) == []


def test_skipped_sessions_are_not_missed(tuesday: CheckState) -> None:
    assert flagged(after(MON, TUE, WED, THU, latest=THU, state=tuesday)) == ["2026-01-28", "2026-01-29"]


def test_a_bar_that_came_late_is_flagged(tuesday: CheckState) -> None:
    thursday = after(MON, TUE, THU, latest=THU, state=tuesday)
    assert flagged(thursday) == ["2026-01-29"]
    late = after(MON, TUE, WED, THU, latest=THU, state=thursday)
    assert flagged(late) == ["2026-01-28", "2026-01-29"]


def test_an_event_that_a_correction_took_away_is_no_longer_flagged(tuesday: CheckState) -> None:
    assert flagged(after(MON, latest=TUE, state=tuesday)) == []


def test_tables_that_ended_earlier_for_a_while_flag_nothing_twice(tuesday: CheckState) -> None:
    """A clock was set back for a refresh or two, or an older lake was restored."""
    monday = after(MON, latest=MON, state=tuesday)
    assert flagged(monday) == ["2026-01-27"]  # remembered; its row is in no table to be shown
    again = after(MON, latest=MON, state=monday)
    # Tuesday's session is the latest again: what was flagged on it is, and nothing else.
    assert flagged(after(MON, TUE, latest=TUE, state=again)) == ["2026-01-27"]
    # And what happened meanwhile is news.
    assert flagged(after(MON, TUE, WED, latest=WED, state=again)) == ["2026-01-28"]


def test_an_instrument_that_is_gone_from_shorter_tables_comes_back_as_one_that_is_known(tuesday: CheckState) -> None:
    both = evaluate(
        [event(MON), event(TUE), event(TUE, symbol="B")], {"A": Span(MON, TUE), "B": Span(TUE, TUE)}, tuesday
    )
    shorter = after(MON, latest=MON, state=both)
    back = evaluate(
        [event(MON), event(TUE), event(TUE, symbol="B"), event(WED, symbol="B")],
        {"A": Span(MON, WED), "B": Span(TUE, WED)},
        shorter,
    )
    assert back.flagged == {"level": {"B|2026-01-28|level"}}


@pytest.mark.parametrize("last", [dt.date(2028, 2, 29), dt.date(2026, 12, 31)])
def test_leap_days_and_ends_of_years_are_days(last: dt.date) -> None:
    first = last - dt.timedelta(100)
    known = after(latest=last, first=first)
    days = [last + dt.timedelta(n) for n in (-30, 1)]
    assert flagged(after(*days, latest=days[-1], first=first, state=known)) == [str(day) for day in days]


def test_history_in_front_of_what_was_known_is_not_news(tuesday: CheckState) -> None:
    earlier = dt.date(2020, 3, 13)
    assert flagged(after(earlier, MON, TUE, latest=TUE, first=earlier, state=tuesday)) == ["2026-01-27"]


def test_a_new_level_flags_its_latest_session_only(tuesday: CheckState) -> None:
    events = [event(d, check="new") for d in (MON, TUE)] + [event(MON), event(TUE)]
    assert flagged(evaluate(events, {"A": Span(MON, TUE)}, tuesday), "new") == ["2026-01-27"]


def test_a_new_instrument_flags_its_latest_session_only(tuesday: CheckState) -> None:
    events = [event(MON), event(TUE)] + [event(d, symbol="B") for d in (MON, TUE)]
    state = evaluate(events, {"A": Span(MON, TUE), "B": Span(MON, TUE)}, tuesday)
    assert sorted(state.flagged["level"]) == ["A|2026-01-27|level", "B|2026-01-27|level"]


def test_the_first_event_of_a_quiet_level_is_news_however_late_it_is_seen() -> None:
    quiet = evaluate([], {"A": Span(MON, TUE)}, CheckState({"level": set()}, {}, {"A": Span(MON, MON)}))
    assert flagged(after(WED, latest=THU, state=quiet)) == ["2026-01-28"]


def redefined(*days: dt.date, latest: dt.date, state: CheckState) -> CheckState:
    """The same instrument seen by other definitions."""
    return evaluate([event(d) for d in days], {"A": Span(MON - dt.timedelta(900), latest)}, state, "other")


def test_what_changed_definitions_see_in_sessions_that_were_known_is_no_news() -> None:
    first = MON - dt.timedelta(days=900)
    known = after(MON, latest=TUE, first=first)
    # By equal definitions yesterday's event came late; by others it is history, like all they see there.
    assert flagged(after(MON, TUE, latest=TUE, first=first, state=known)) == ["2026-01-27"]
    other = redefined(MON - dt.timedelta(7), MON, TUE, latest=TUE, state=known)
    assert flagged(other) == []
    # From then on all of it is known, and what comes late is news again.
    assert flagged(redefined(MON - dt.timedelta(7), MON, TUE, latest=WED, state=other)) == []
    late = redefined(MON - dt.timedelta(7), MON - dt.timedelta(3), MON, TUE, WED, latest=WED, state=other)
    assert flagged(late) == ["2026-01-23", "2026-01-28"]


def test_changed_definitions_flag_what_is_later_than_all_that_was_known() -> None:
    known = after(MON, latest=MON)
    assert flagged(redefined(MON, TUE, WED, latest=WED, state=known)) == ["2026-01-27", "2026-01-28"]


def test_changed_definitions_leave_what_is_flagged(tuesday: CheckState) -> None:
    assert flagged(redefined(MON, TUE, latest=TUE, state=tuesday)) == ["2026-01-27"]
    assert flagged(redefined(MON, TUE, latest=WED, state=tuesday)) == []


def test_a_state_of_an_earlier_version_knows_no_definitions(tmp_path: Path) -> None:
    """The first refresh after an upgrade must not tell a month of what the new version sees."""
    settings = published(tmp_path, "one")
    found = new_events(settings.paths, ["volatility_spikes"])
    assert flagged(found.state, "volatility_spikes") == ["2026-01-28"]
    save(settings.paths, found.state)
    forget_all_but_wednesday(settings, "definitions")
    (row,) = new_events(settings.paths).rows["volatility"]
    assert row["session_date"] == WED


def test_definitions_travel_with_the_published_version(tmp_path: Path) -> None:
    settings = published(tmp_path, "one")
    save(settings.paths, new_events(settings.paths, ["volatility_spikes"]).state)
    forget_all_but_wednesday(settings)
    assert len(new_events(settings.paths).rows["volatility"]) == 3  # they came late
    published(tmp_path, "two")
    (row,) = new_events(settings.paths).rows["volatility"]  # another definition sees them in what was there
    assert row["session_date"] == WED


def forget_all_but_wednesday(settings: Settings, *names: str) -> None:
    """As if the check had never heard of the other two, nor of what is named."""
    path = settings.paths.root / "market_checks.json"
    kept = json.loads(path.read_text("utf-8"))
    (state,) = kept.values()
    state["seen"]["volatility_spikes"] = ["A|2026-01-28|spike"]
    for name in names:
        del state[name]
    path.write_text(json.dumps(kept), "utf-8")


def test_all_kinds_are_noted_with_one_look_at_the_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: opened.append(name) or function(*args)

    monkeypatch.setattr(noting, "opened_outbox", counted("outbox", noting.opened_outbox))
    settings = published(tmp_path, "one")
    found = new_events(settings.paths, ["volatility_spikes"])
    pair = {
        "event_id": "p|2026-01-28|widening", "check_name": "p", "severity": "warning",
        "session_date": WED, "pair_id": "p", "symbol": "A", "long_symbol": "A", "short_symbol": "B",
        "kind": "junior_senior", "spread_21d": 0.5, "z_252": 3.0, "percentile_252": None, "z_threshold": 2.0,
    }  # fmt: skip
    note(settings.paths, NewEvents({**found.rows, "pair": [pair]}, found.state))
    assert opened == ["outbox"]
    with opened_outbox(settings.paths.alerts) as outbox:
        outbox.enqueue(settings.channels, time.time() + 2 * RUN_PATIENCE, lambda alert: opened.append(alert.event_id))
    assert sorted(opened[1:]) == ["A|2026-01-28|spike", "p|2026-01-28|widening"]
    note(settings.paths, NewEvents({}, CheckState()))  # before the first publication
    assert opened[1:].count("outbox") == 0


def published(home: Path, definitions: str) -> Settings:
    """A version with three spikes of one instrument, made by these definitions."""
    settings = Settings(home=home)
    settings.paths.root.mkdir(parents=True, exist_ok=True)
    warehouse = home / "warehouse.duckdb"
    warehouse.unlink(missing_ok=True)
    with duckdb.connect(str(warehouse)) as connection:
        days = ", ".join(f"('A', date '{day}')" for day in (MON, TUE, WED))
        connection.execute(f"create table daily_bars as from (values {days}) as t (symbol, session_date)")
        connection.execute(
            "create table volatility as select *, 0.5 as close_to_close_21, 0.25 as close_to_close_252,"
            " 2.0 as volatility_ratio_21_252, 1.0 as volatility_percentile_252 from daily_bars"
        )
        connection.execute(
            "create table instruments as select 'A' as symbol, 'Ag' as name, 0.01 as tick_size, 'USD' as currency"
        )
        connection.execute("create table trend as select *, 'up' as trend_state, 0.0 as drawdown from daily_bars")
        connection.execute(
            "create table market_signals as select *, concat(symbol, '|', session_date, '|spike') as event_id,"
            " 'volatility' as signal, 'volatility_spikes' as check_name, 'warning' as severity, 2.0 as strength,"
            " false as is_repeat from daily_bars"
        )
    daily = Mart(("symbol", "session_date"))
    publish(
        warehouse,
        {
            **dict.fromkeys(("daily_bars", "volatility", "trend", "market_signals"), daily),
            "instruments": Mart(("symbol",)),
        },
        settings.paths.published,
        f"bars.{definitions}",
        "sample",
        True,
    )
    return settings


def test_what_a_changed_rule_finds_in_the_past_is_no_news() -> None:
    past = MON - dt.timedelta(days=90)
    known = after(past, MON, latest=MON, first=past - dt.timedelta(days=900))
    told = after(
        past, past + dt.timedelta(days=1), MON, TUE, latest=TUE, first=past - dt.timedelta(days=900), state=known
    )
    assert flagged(told) == ["2026-01-27"]


def test_a_correction_of_last_week_is_news() -> None:
    week_ago = MON - dt.timedelta(days=7)
    known = after(MON, latest=MON, first=week_ago - dt.timedelta(days=900))
    told = after(week_ago, MON, latest=TUE, first=week_ago - dt.timedelta(days=900), state=known)
    assert flagged(told) == [str(week_ago)]
