"""The mart of events holds what the other marts do, by a second computation; checks of an earlier release go on."""

import datetime as dt
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from orchestration.alerts.flagged import alerts_of
from orchestration.duckdb_io import rows
from orchestration.market.universe import load_universe
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.signals.checks import market_checks
from orchestration.signals.new_events import NewEvents, evaluated_version, new_events, save
from orchestration.signals.registry import signals
from tests.histories import History
from tests.homes import clone
from tests.models_sql import build_models

pytestmark = pytest.mark.integration

SESSION = dt.date(2026, 1, 30)
COLUMNS = (
    *("event_id", "signal", "check_name", "symbol", "pair_id", "level_id", "session_date"),
    *("direction", "strength", "severity", "is_repeat"),
)
TOUCHES = ("pierce_rejected", "retest_held", "confirmed")
# Written by the release before market_signals on the simulated market of that session, when five groups of checks had
# states of their own. All of it is SIMULATED.
EARLIER_STATE = Path(__file__).with_name("market_checks_of_five_groups.json.gz")


# What was watched then; the shipped file begins with it. Events of others are news to that state.
THEN = frozenset(load_universe(DBT_PROJECT_DIR / "seeds").symbols[:30])
PAIRS_SINCE = ("platinum",)


def of_then(found: NewEvents) -> list[dict[str, Any]]:
    """Events of what was watched then."""
    return [
        row
        for kind in found.rows.values()
        for row in kind
        if row["symbol"] in THEN and not any(word in row["event_id"] for word in PAIRS_SINCE)
    ]


def stored(tables: Path) -> dict[str, tuple[Any, ...]]:
    """The events of the mart by id, strength rounded."""
    found = rows(tables, f"select {', '.join(COLUMNS)} from market_signals")  # noqa: S608
    events = {row["event_id"]: tuple(_rounded(row[name]) for name in COLUMNS) for row in found}
    assert len(events) == len(found)
    return events


def computed(tables: Path) -> dict[str, tuple[Any, ...]]:
    """The same, from the marts that events come from, one row after the other."""
    events = [*_level_events(tables), *_moves(tables)]
    for row in rows(tables, "select * from pair_spreads inner join gap_parts using (pair_id, session_date)"):
        known = row["rest_z_252"] is not None
        if row["rest_widening_began"] if known else row["widening_began"]:
            gap, z = (row["rest_21d"], row["rest_z_252"]) if known else (row["spread_21d"], row["z_252"])
            key, way = f"{row['pair_id']}|{row['session_date']}|widening", "up" if gap >= 0 else "down"
            about = (row["pair_id"], row["long_symbol"], row["pair_id"], None, row["session_date"], way)
            events.append((key, "pair", *about, abs(z), "warning", False))
    for row in rows(tables, "select * from volatility where spike_began"):
        about = ("volatility_spikes", row["symbol"], None, None, row["session_date"], "up")
        key = f"{row['symbol']}|{row['session_date']}|spike"
        events.append((key, "volatility", *about, row["volatility_ratio_21_252"], "warning", False))
    return {event[0]: tuple(map(_rounded, event)) for event in events}


def _level_events(tables: Path) -> list[tuple[Any, ...]]:
    found = rows(tables, "select * from level_events")
    all_time = {
        (row["symbol"], row["session_date"], row["direction"], row["is_repeat"])
        for row in found
        if row["level_id"].split(":")[-1].startswith("all_time_")
    }
    events = []
    for row in found:
        about = (row["symbol"], row["session_date"], row["direction"])
        of_a_year = row["level_id"].split(":")[-1].startswith("52w_")
        if of_a_year and ((*about, False) in all_time or (row["is_repeat"] and (*about, True) in all_time)):
            continue
        kind, check = {
            "extreme": ("extreme", "new_extremes"),
            "round_number": ("round_number", "round_numbers"),
        }.get(row["kind"], ("level", row["level_id"]))
        severity = "info" if kind != "level" or row["event"] in TOUCHES else "warning"
        strength = abs(row["close"] - row["level"]) / row["level"]
        place = (check, row["symbol"], None, row["level_id"], row["session_date"], row["direction"])
        events.append((row["event_id"], kind, *place, strength, severity, row["is_repeat"]))
    return events


def _moves(tables: Path) -> list[tuple[Any, ...]]:
    events = []
    for row in rows(tables, "select * from move_rule_hits"):
        strength = abs(row["score"])
        if row["measure"] == "percentile" and strength < 0.5:
            strength = 1 - strength
        about = (row["rule_id"], row["symbol"], None, None, row["session_date"], row["direction"])
        key = f"{row['symbol']}|{row['session_date']}|{row['rule_id']}"
        events.append((key, "move", *about, strength, "warning", False))
    return events


def _rounded(value: Any) -> Any:
    return round(value, 9) if isinstance(value, float) else value


def test_every_event_of_the_sample_is_a_signal_of_a_kind(sample_home: Path) -> None:
    tables = Settings(home=sample_home).paths.published_file
    events = stored(tables)
    assert events == computed(tables)
    assert {event[1] for event in events.values()} == {kind.name for kind in signals()}


@pytest.mark.parametrize("seed", [11, 12])
def test_every_event_of_a_generated_history_is_a_signal(seed: int, tmp_path: Path) -> None:
    history = History(seed, tmp_path)
    for _ in history.steps(4):
        history.ingest(tmp_path / "home")
        tables = tmp_path / "tables.duckdb"
        tables.unlink(missing_ok=True)
        build_models(tmp_path / "home", tables, "market_signals")
        events = stored(tables)
        assert events == computed(tables), history.log
        assert events or history.offers_nothing


@pytest.fixture
def earlier() -> dict[str, Any]:
    """What the checks of the earlier release knew."""
    return json.loads(gzip.decompress(EARLIER_STATE.read_bytes()))


def state_of(settings: Settings, earlier: dict[str, Any]) -> list[str]:
    """Put it into a home; returns the names of the checks."""
    (settings.paths.root / "market_checks.json").write_text(json.dumps(earlier), "utf-8")
    return [check.check for check in market_checks(load_universe(settings.seeds))]


def test_what_an_earlier_release_flagged_stays_flagged_and_is_not_told_again(
    earlier: dict[str, Any], sample_home: Path, tmp_path: Path
) -> None:
    settings = Settings(home=clone(sample_home, tmp_path / "home"))
    checks = state_of(settings, earlier)
    assert evaluated_version(settings.paths) == 0  # so that the next refresh looks
    flagged = {key for group in earlier.values() for keys in group["flagged"].values() for key in keys}
    assert len(flagged) > 100
    for _ in range(2):  # as read from the file of the earlier release, and from ours
        found = new_events(settings.paths, checks)
        assert {row["event_id"] for row in of_then(found)} == flagged
        save(settings.paths, found.state)
        assert evaluated_version(settings.paths) == found.state.version == 1
    told = {alert.event_id for alert in alerts_of(found) if set(alert.symbols) <= THEN}
    moves = {"|".join(key.split("|")[:2]) + "|move" for keys in earlier["moves"]["flagged"].values() for key in keys}
    assert told == moves | {key for key in flagged if key.count("|") != 2 or key.endswith(("|spike", "|widening"))}


def test_after_an_earlier_release_only_what_is_later_is_news(
    earlier: dict[str, Any], later_home: Path, tmp_path: Path
) -> None:
    settings = Settings(home=clone(later_home, tmp_path / "home"))
    # As if half of what it had seen were new to it.
    for group in earlier.values():
        group["seen"] = {check: keys[::2] for check, keys in group["seen"].items()}
    found = new_events(settings.paths, state_of(settings, earlier))
    sessions = {row["session_date"] for row in of_then(found)}
    assert min(sessions) > SESSION
    assert len(sessions) > 20


def test_a_home_that_went_back_to_the_earlier_release_and_came_again_knows_both(
    earlier: dict[str, Any], sample_home: Path, tmp_path: Path
) -> None:
    settings = Settings(home=clone(sample_home, tmp_path / "home"))
    checks = state_of(settings, earlier)
    save(settings.paths, new_events(settings.paths, checks).state)
    ours = json.loads((settings.paths.root / "market_checks.json").read_text("utf-8"))
    # The earlier release has seen a later version since, and flagged nothing in it.
    since = {name: {**group, "version": 2, "flagged": {}} for name, group in earlier.items()}
    state_of(settings, ours | since)
    assert not of_then(new_events(settings.paths, checks))
