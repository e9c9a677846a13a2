"""What a market check flags: events that it has not seen, and no history."""

import datetime as dt
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.alerts import deliver
from orchestration.alerts.flagged import note
from orchestration.alerts.outbox import RUN_PATIENCE, opened_outbox
from orchestration.market import universe
from orchestration.publish.marts import Mart
from orchestration.publish.versions import publish
from orchestration.settings import Settings
from orchestration.signals.new_events import Event, Flags, Memory, Span, evaluate, flags, remember

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


def test_tables_that_ended_earlier_for_a_while_flag_nothing_twice(tuesday: Memory) -> None:
    """A clock was set back for a refresh or two, or an older lake was restored."""
    monday = after(MON, latest=MON, memory=tuesday)
    assert flagged(monday) == ["2026-01-27"]  # remembered; its row is in no table to be shown
    again = after(MON, latest=MON, memory=monday)
    # Tuesday's session is the latest again: what was flagged on it is, and nothing else.
    assert flagged(after(MON, TUE, latest=TUE, memory=again)) == ["2026-01-27"]
    # And what happened meanwhile is news.
    assert flagged(after(MON, TUE, WED, latest=WED, memory=again)) == ["2026-01-28"]


def test_an_instrument_that_is_gone_from_shorter_tables_comes_back_as_one_that_is_known(tuesday: Memory) -> None:
    both = evaluate(
        [event(MON), event(TUE), event(TUE, symbol="B")], {"A": Span(MON, TUE), "B": Span(TUE, TUE)}, tuesday
    )
    shorter = after(MON, latest=MON, memory=both)
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
    assert flagged(after(*days, latest=days[-1], first=first, memory=known)) == [str(day) for day in days]


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


def redefined(*days: dt.date, latest: dt.date, memory: Memory) -> Memory:
    """The same instrument seen by other definitions."""
    return evaluate([event(d) for d in days], {"A": Span(MON - dt.timedelta(900), latest)}, memory, "other")


def test_what_changed_definitions_see_in_sessions_that_were_known_is_no_news() -> None:
    first = MON - dt.timedelta(days=900)
    known = after(MON, latest=TUE, first=first)
    # By equal definitions yesterday's event came late; by others it is history, like all they see there.
    assert flagged(after(MON, TUE, latest=TUE, first=first, memory=known)) == ["2026-01-27"]
    other = redefined(MON - dt.timedelta(7), MON, TUE, latest=TUE, memory=known)
    assert flagged(other) == []
    # From then on all of it is known, and what comes late is news again.
    assert flagged(redefined(MON - dt.timedelta(7), MON, TUE, latest=WED, memory=other)) == []
    late = redefined(MON - dt.timedelta(7), MON - dt.timedelta(3), MON, TUE, WED, latest=WED, memory=other)
    assert flagged(late) == ["2026-01-23", "2026-01-28"]


def test_changed_definitions_flag_what_is_later_than_all_that_was_known() -> None:
    known = after(MON, latest=MON)
    assert flagged(redefined(MON, TUE, WED, latest=WED, memory=known)) == ["2026-01-27", "2026-01-28"]


def test_changed_definitions_leave_what_is_flagged(tuesday: Memory) -> None:
    assert flagged(redefined(MON, TUE, latest=TUE, memory=tuesday)) == ["2026-01-27"]
    assert flagged(redefined(MON, TUE, latest=WED, memory=tuesday)) == []


def test_a_memory_of_an_earlier_version_knows_no_definitions(tmp_path: Path) -> None:
    """The first refresh after an upgrade must not tell a month of what the new version sees."""
    settings = published(tmp_path, "one")
    shown = {"volatility": flags(settings, "volatility", ["volatility_spikes"])}
    assert flagged(shown["volatility"].memory, "volatility_spikes") == ["2026-01-28"]
    remember(settings, shown)
    forget_all_but_wednesday(settings, "definitions")
    (row,) = flags(settings, "volatility").rows
    assert row["session_date"] == WED


def test_definitions_travel_with_the_published_version(tmp_path: Path) -> None:
    settings = published(tmp_path, "one")
    remember(settings, {"volatility": flags(settings, "volatility", ["volatility_spikes"])})
    forget_all_but_wednesday(settings)
    assert len(flags(settings, "volatility").rows) == 3  # they came late
    published(tmp_path, "two")
    (row,) = flags(settings, "volatility").rows  # another definition sees them in what was there
    assert row["session_date"] == WED


def forget_all_but_wednesday(settings: Settings, *names: str) -> None:
    """As if the check had never heard of the other two, nor of what is named."""
    path = settings.paths.root / "market_checks.json"
    state = json.loads(path.read_text("utf-8"))
    state["volatility"]["seen"]["volatility_spikes"] = ["A|2026-01-28|spike"]
    for name in names:
        del state["volatility"][name]
    path.write_text(json.dumps(state), "utf-8")


def test_all_groups_are_noted_with_one_look_at_seeds_and_outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: opened.append(name) or function(*args)

    monkeypatch.setattr(universe, "load_universe", counted("seeds", universe.load_universe))
    monkeypatch.setattr(deliver, "opened_outbox", counted("outbox", deliver.opened_outbox))
    settings = published(tmp_path, "one")
    spikes = flags(settings, "volatility", ["volatility_spikes"])
    pair = {
        "session_date": WED, "pair_id": "p", "symbol": "A", "long_symbol": "A", "short_symbol": "B",
        "kind": "junior_senior", "spread_21d": 0.5, "z_252": 3.0, "percentile_252": None, "z_threshold": 2.0,
    }  # fmt: skip
    note(settings, {"volatility": spikes, "pairs": Flags({"p": [pair]}, Memory(), spikes.version), "moves": NOTHING})
    assert opened == ["seeds", "outbox"]
    with opened_outbox(settings.paths.alerts) as outbox:
        outbox.enqueue(settings.channels, time.time() + 2 * RUN_PATIENCE, lambda alert: opened.append(alert.event_id))
    assert sorted(opened[2:]) == ["A|2026-01-28|spike", "p|2026-01-28|widening"]
    note(settings, {"volatility": NOTHING})
    assert opened[2:].count("outbox") == 0


NOTHING = Flags({}, Memory(), 0)


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
            " 2.0 as volatility_ratio_21_252, 1.0 as volatility_percentile_252, true as spike_began from daily_bars"
        )
        connection.execute("create table instruments as select 'A' as symbol, 'Ag' as name")
        connection.execute("create table trend as select *, 'up' as trend_state, 0.0 as drawdown from daily_bars")
    daily = Mart(("symbol", "session_date"))
    publish(
        warehouse,
        {**dict.fromkeys(("daily_bars", "volatility", "trend"), daily), "instruments": Mart(("symbol",))},
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
        past, past + dt.timedelta(days=1), MON, TUE, latest=TUE, first=past - dt.timedelta(days=900), memory=known
    )
    assert flagged(told) == ["2026-01-27"]


def test_a_correction_of_last_week_is_news() -> None:
    week_ago = MON - dt.timedelta(days=7)
    known = after(MON, latest=MON, first=week_ago - dt.timedelta(days=900))
    told = after(week_ago, MON, latest=TUE, first=week_ago - dt.timedelta(days=900), memory=known)
    assert flagged(told) == [str(week_ago)]
