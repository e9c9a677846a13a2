"""What the brief of a past session says of levels after a split, a new level and a level that was never met."""

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestration.duckdb_io import reading
from orchestration.market.calendar import closed_sessions
from orchestration.show.brief.facts import Facts, read_facts
from orchestration.signals.levels import alert as level_alert
from orchestration.signals.levels import brief_sentence
from orchestration.signals.registry import event_rows
from tests.jobs import ClockedSettings, publish_tables, published, small_seeds

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)
SESSIONS = [d.date() for d in closed_sessions("XNYS", NOW)["session_date"]][-80:]

# In dollars as traded. The line at 99.97 is crossed, confirmed, left and crossed back; the zone of 90.05 to 92.05 is
# entered and left; then the shares are split 3 for 1.
BEFORE = [95.0] * 20 + [101.0, 103.0, 106.0, 100.5, 104.0, 106.0, 98.0, 94.0, 91.0, 88.0] + [95.0] * 30
SPLIT_AT, RATIO = len(BEFORE), 3.0
CLOSES = BEFORE + [95.0 / RATIO] * (len(SESSIONS) - SPLIT_AT)
# On the eve of the split; a level without an event; one that is named after the split.
EVE, AFTER = SESSIONS[SPLIT_AT - 1], SESSIONS[SPLIT_AT + 5]
LEVELS = f"""\
line,AAA,99.97,99.97,resistance,{SESSIONS[0]},
zone,AAA,90.05,92.05,support,{SESSIONS[0]},
unmet,AAA,50.05,50.05,support,{SESSIONS[0]},
new,AAA,40,40,resistance,{AFTER},
"""


def deliver(folder: Path, sessions: int) -> None:
    """The bars of the first so many sessions, in the shares of the last of them."""
    factors = [RATIO if i < SPLIT_AT < sessions else 1.0 for i in range(sessions)]
    pd.DataFrame(
        {
            "Date": [day.isoformat() for day in SESSIONS[:sessions]],
            "Close": [close / factor for close, factor in zip(CLOSES, factors, strict=False)],
            "Stock Splits": [RATIO if i == SPLIT_AT else 0.0 for i in range(sessions)],
        }
    ).to_csv(folder / "AAA.csv", index=False)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClockedSettings]:
    """The store as it was on the eve of the split, and as it is at the end."""
    found = {}
    for name, sessions in (("eve", SPLIT_AT), ("end", len(SESSIONS))):
        folder = tmp_path_factory.mktemp(name)
        (folder / "drop").mkdir()
        deliver(folder / "drop", sessions)
        found[name] = ClockedSettings(
            source="files",
            home=folder / "home",
            files=folder / "drop",
            seeds=small_seeds(folder / "seeds", "AAA", levels=LEVELS),
            moment=NOW,
        )
        publish_tables(found[name])
    return found


def levels(facts: Facts) -> dict[str, dict[str, Any]]:
    return {level["level_id"]: level for level in facts.levels}


def test_a_past_session_is_told_in_its_own_prices(stores: dict[str, ClockedSettings]) -> None:
    at_the_time, afterwards = read_facts(stores["eve"].paths, EVE), read_facts(stores["end"].paths, EVE)
    assert afterwards.levels == at_the_time.levels
    told = levels(afterwards)
    # A third of 99.97 lies between two ticks: undone from the status of today it would be 99.96.
    assert (told["line"]["lower"], told["zone"]["lower"], told["zone"]["upper"]) == (99.97, 90.05, 92.05)
    assert levels(read_facts(stores["end"].paths))["line"]["lower"] == 33.32


def test_a_level_without_an_event_has_its_role_all_the_same(stores: dict[str, ClockedSettings]) -> None:
    assert published(stores["end"], "select 1 from level_events where level_id = 'unmet'") == []
    unmet = levels(read_facts(stores["end"].paths, EVE))["unmet"]
    assert (unmet["role"], unmet["last_event"]) == ("support", None)
    # Nobody could have said so after one close.
    assert levels(read_facts(stores["end"].paths, SESSIONS[0]))["unmet"]["role"] is None
    assert levels(read_facts(stores["end"].paths, SESSIONS[1]))["unmet"]["role"] == "support"
    # The line was resistance before it was ever met, and became support.
    assert levels(read_facts(stores["end"].paths, SESSIONS[5]))["line"]["role"] == "resistance"
    assert levels(read_facts(stores["end"].paths, SESSIONS[22]))["line"]["role"] == "support"


def test_a_level_is_not_told_before_its_first_day(stores: dict[str, ClockedSettings]) -> None:
    settings = stores["end"]
    assert "new" not in levels(read_facts(settings.paths, SESSIONS[SPLIT_AT + 4]))
    assert levels(read_facts(settings.paths, AFTER))["new"]["lower"] == 40.0
    (row,) = published(settings, "select active_from from level_status where level_id = 'new'")
    assert row["active_from"] == AFTER


def test_every_reader_takes_the_same_event_for_the_last_one(stores: dict[str, ClockedSettings]) -> None:
    settings = stores["end"]
    events = published(settings, "select * from level_events where level_id = 'line' order by session_date")
    days = [event["session_date"] for event in events]
    several = sorted({day for day in days if days.count(day) > 1})
    said = set()
    for day in several:
        first = next(e for e in events if e["session_date"] == day and e["event_order"] == 1)
        said.add(first["event"])
        assert levels(read_facts(settings.paths, day))["line"]["last_event"] == first["event"]
        later = next((event for event in events if event["session_date"] > day), None)
        if later is not None:
            with reading(settings.paths.published_file) as connection:
                rows = event_rows(connection, [("level", later["event_id"])])["level"]
            last = f"last event there {day}: {first['event'].replace('_', ' ')}"
            assert last in " ".join(level_alert(rows).lines)
    assert said >= {"role_flip", "retest_failed"}
    (status,) = published(settings, "select last_event from level_status where level_id = 'line'")
    assert status["last_event"] == levels(read_facts(settings.paths))["line"]["last_event"]


def test_events_before_the_split_are_worded_in_their_prices(stores: dict[str, ClockedSettings]) -> None:
    entered = next(
        event
        for day in SESSIONS[:SPLIT_AT]
        for event in read_facts(stores["end"].paths, day).events.get("level", ())
        if event["event"] == "zone_entered"
    )
    assert brief_sentence(entered) == "AAA closed inside the zone 90.05-92.05, at 91.00 USD after 94.00."
