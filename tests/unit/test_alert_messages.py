"""What alerts say: one per event, most unusual first, every id in exactly one message."""

import datetime as dt
from typing import Any

import dagster as dg
import pytest

from orchestration.alerts.data_alerts import judge_run
from orchestration.alerts.flagged import alerts_of
from orchestration.alerts.messages import Alert, Waiting, compose, ordered
from orchestration.channels import KINDS
from orchestration.market.universe import PriceLevel
from orchestration.signals.levels import describe
from orchestration.signals.moves import alert as move_alert
from orchestration.signals.new_events import CheckState, NewEvents
from orchestration.signals.registry import signals
from tests.receivers import ids_of

DAY = dt.date(2026, 1, 30)
UI = "http://127.0.0.1:3000"


def alert(event_id: str, rank: float = 0.0, severity: str = "warning", title: str = "T") -> Alert:
    return Alert(event_id, "move", severity, ("A",), DAY, title, ("a line",), rank)


def owed(*alerts: Alert, **more: Any) -> list[Waiting]:
    return [Waiting(a, **more) for a in alerts]


def test_the_most_severe_then_the_most_unusual_comes_first() -> None:
    queue = owed(alert("a", 9, "info"), alert("b", 1), alert("c", 5), alert("d", 0, "error"))
    assert [w.alert.event_id for w in ordered(queue)] == ["d", "c", "b", "a"]


def test_one_message_names_run_ids_and_that_prices_are_simulated() -> None:
    message = compose(owed(alert("SIL|x", 2, title="SIL -14.78%"), alert("b"), run_id="r1"), True, UI, 10_000)
    assert message.title == "SIMULATED Orewatch 2026-01-30: SIL -14.78%, and 1 more"
    assert ids_of(message.body) == list(message.event_ids) == ["SIL|x", "b"]
    assert message.body.count(f"Run: {UI}/runs/r1") == 1
    assert "SIMULATED" in message.body
    real = compose(owed(alert("b")), False, UI, 10_000)
    assert "SIMULATED" not in real.title + real.body
    assert f"Web UI: {UI}" in real.body


def test_many_are_told_in_short_and_a_small_channel_gets_several_messages() -> None:
    queue = owed(*(alert(f"e{n:02}", -n) for n in range(40)))
    message = compose(queue, False, UI, 100_000)
    assert len(message.event_ids) == 40
    assert message.body.count("a line") == 10
    told: list[str] = []
    rest = list(queue)
    while rest:
        part = compose(rest, False, UI, 400)
        assert len(part.body) <= 400
        assert ids_of(part.body) == list(part.event_ids)
        told += part.event_ids
        rest = [w for w in rest if w.alert.event_id not in part.event_ids]
    assert told == [f"e{n:02}" for n in range(40)]
    # An alert that is longer than any message may be is still sent, alone.
    assert compose(queue, False, UI, 1).event_ids == ("e00",)


def test_a_message_that_may_be_a_repeat_says_so() -> None:
    body = compose([*owed(alert("a"), doubtful=True), *owed(alert("b"))], False, UI, 10_000).body
    assert "1 of these may have reached you before" in body


MOVE = {
    "symbol": "SIL",
    "session_date": DAY,
    "return_1d": -0.1478,
    "z_21": -6.7,
    "z_63": -4.1,
    "rank_since_inception": 2,
    "returns_since_inception": 3000,
    "largest_since": dt.date(2020, 3, 13),
    "largest_since_return": -0.171,
    "is_record": False,
    "history_start": dt.date(2010, 4, 20),
    "bridges_gap": False,
    "rules_hit": "senior_daily_move, unusual_against_63_sessions",
}


def hit(rule: str, measure: str, score: float, sessions: int = 1, **values: Any) -> dict[str, Any]:
    row = {**MOVE, "rule_id": rule, "measure": measure, "score": score, "sessions": sessions, "threshold": 0.06}
    return {**row, "direction": "down", **values}


def told_of(signal: str, *rows: dict[str, Any]) -> list[Alert]:
    """The alerts of flagged rows of one kind."""
    return alerts_of(NewEvents({signal: [{"severity": "warning", **row} for row in rows]}, CheckState()))


DAILY = hit("senior_daily_move", "return_1d", -0.1478)
UNUSUAL = hit("unusual_against_63_sessions", "z_score", -4.1, 63)
WEEKLY = hit("senior_5_sessions", "cumulative_return", -0.172, 5)
OPENED = hit("senior_opening_gap", "opening_gap", -0.063)


def test_a_move_that_breaks_several_rules_is_one_alert() -> None:
    (told,) = told_of("move", {**DAILY, "name": "Silver miners"}, UNUSUAL)
    assert told.event_id == "SIL|2026-01-30|move"
    assert (told.kind, told.severity, told.symbols) == ("move", "warning", ("SIL",))
    assert told.title == "SIL (Silver miners) -14.78%"
    assert told.lines == (
        "the largest fall since 2020-03-13 (-17.10%), number 2 of all",
        "standard deviations: -6.7 against 21 sessions; -4.1 against 63",
        "rules senior_daily_move, unusual_against_63_sessions",
    )


def test_a_move_says_what_broke_the_rule() -> None:
    both = move_alert([DAILY, WEEKLY, hit("two", "cumulative_return", -0.16, 2), OPENED])
    assert both.title == "SIL -14.78%"
    assert "-17.20% in 5 sessions; -6.30% at the open" in both.lines
    # Of a day on which the return itself broke nothing neither its size nor its place is the news.
    slow = move_alert([{**WEEKLY, "return_1d": -0.011, "is_record": True}])
    assert slow.title == "SIL -17.20% in 5 sessions (-1.10% on the day)"
    assert slow.rank < 100
    assert not any("largest" in line for line in slow.lines)


def test_records_come_first_unless_the_history_is_young() -> None:
    record = {**DAILY, "is_record": True, "largest_since": None}
    assert move_alert([record]).rank > 100
    assert move_alert([record]).lines[0] == ("the largest daily fall since the history begins, 2010-04-20")
    assert move_alert([{**record, "returns_since_inception": 30}]).rank == pytest.approx(6.7)
    gap = move_alert([{**DAILY, "sessions_since_previous": 3}])
    assert "bars are missing before it: the move spans more than one session" in gap.lines


def event(day: dt.date = DAY, name: str = "close_cross", way: str = "down", level_id: str = "silver_100") -> dict:
    return {
        "event_id": f"{level_id}{day}{name}",
        "level_id": level_id,
        "symbol": "SI=F",
        "session_date": day,
        "event": name,
        "direction": way,
        "role_after": "support" if way == "up" else "resistance",
        "level": 100.0,
        "lower": 54.0 if level_id == "zone" else 100.0,
        "upper": 56.0 if level_id == "zone" else 100.0,
        "prev_close": 114.0374,
        "open": 113.0,
        "high": 116.5,
        "low": 74.0,
        "close": 78.29,
        "kind": "psychological",
        "note": "three-digit silver",
        "earlier_events": None,
        "levels_crossed": None,
    }


def test_a_level_says_what_happened_there_before() -> None:
    before = {"earlier_events": 1, "earlier_event": "close_cross", "earlier_direction": "up"}
    row = {**event(), **before, "earlier_date": dt.date(2026, 1, 23), "name": "Silver"}
    (told,) = told_of("level", row)
    assert (told.event_id, told.kind) == (row["event_id"], "level")
    assert told.title == "SI=F (Silver) closed below 100"
    assert told.lines == (
        "close 78.29 after 114.037; low 74, high 116.5",
        "level silver_100 (psychological: three-digit silver)",
        "last event there 2026-01-23: close cross up; 1 before this one",
    )
    (first,) = told_of("level", event(dt.date(2026, 1, 23), way="up"))
    assert first.lines[-1] == "the first event at this level in the stored history"


@pytest.mark.parametrize(
    ("name", "way", "says", "severity"),
    [
        ("gap_through", "up", "opened and closed above the zone 54-56", "warning"),
        ("pierce_rejected", "up", "reached the zone 54-56 and closed back below", "info"),
        ("zone_entered", "down", "closed inside the zone 54-56", "warning"),
        ("zone_exited", "up", "left the zone 54-56 upwards", "warning"),
        ("zone_crossed_through", "down", "jumped the zone 54-56 downwards", "warning"),
        ("role_flip", "up", "has turned the zone 54-56 into support with two closes above it", "warning"),
        ("retest_held", "up", "came back to the zone 54-56, which held as support", "info"),
    ],
)
def test_every_event_of_a_level_has_words(name: str, way: str, says: str, severity: str) -> None:
    (told,) = told_of("level", {**event(name=name, way=way, level_id="zone"), "severity": severity})
    assert told.title == f"SI=F {says}"
    assert told.severity == severity
    # What the price touched comes after all moves, what it went through before them.
    assert (told.rank > 30) == (severity == "warning")


def test_a_zone_is_told_where_it_was_at_the_session() -> None:
    """A split after the level's first day: the seed names 108 to 112, the event happened at 54 to 56."""
    seed = PriceLevel(
        level_id="zone", symbol="SI=F", lower=108, upper=112, kind="support", active_from=dt.date(2000, 1, 1), note=""
    )
    (told,) = told_of("level", event(name="zone_entered", level_id="zone"))
    assert describe(seed) == "SI=F met the zone 108-112 (support)."
    assert told.title == "SI=F closed inside the zone 54-56"


def test_channels_can_ask_for_every_kind_of_signal() -> None:
    assert {kind.alert_kind for kind in signals()} <= set(KINDS)


def test_a_widening_gap_names_who_is_ahead() -> None:
    row = {
        "event_id": "juniors|2026-01-30|widening",
        "pair_id": "juniors",
        "symbol": "SILJ",
        "long_symbol": "SILJ",
        "short_symbol": "SIL",
        "kind": "junior_senior",
        "session_date": DAY,
        "spread_21d": -0.0814,
        "z_252": -3.12,
        "z_threshold": 2.0,
        "percentile_252": 0.004,
    }
    (told,) = told_of("pair", row)
    assert (told.kind, told.severity, told.event_id) == ("pair", "warning", "juniors|2026-01-30|widening")
    assert told.title == "SIL ahead of SILJ by 0.081 (log) over 21 sessions, z -3.1"
    assert told.symbols == ("SILJ", "SIL")


def test_a_spike_stands_beside_the_trend() -> None:
    row = {
        "event_id": "SLV|2026-01-30|spike",
        "symbol": "SLV",
        "name": "iShares Silver Trust",
        "session_date": DAY,
        "close_to_close_21": 1.387,
        "close_to_close_252": 0.499,
        "volatility_ratio_21_252": 2.778,
        "volatility_percentile_252": 1.0,
        "trend_state": "up",
        "drawdown": -0.2856,
    }
    (told,) = told_of("volatility", row)
    assert told.title == "SLV (iShares Silver Trust) volatility 139%, 2.8 times its year"
    assert "trend up, drawdown -28.56%" in told.lines


def test_levels_that_nobody_chose_are_told_for_information() -> None:
    row = {**event(name="round_numbers_crossed", level_id="SLV:round_numbers"), "levels_crossed": "100, 90, 80"}
    (told,) = told_of("round_number", {**row, "severity": "info"})
    assert (told.severity, told.title, told.rank) == ("info", "SI=F crossed 100, 90, 80 downwards", 0)
    assert "level SLV:round_numbers" in told.lines  # whose kind says nothing that its name does not


def evaluated(name: str, passed: bool, *offenders: dict, error: bool = False) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(["raw", "bars"]),
        check_name=name,
        passed=passed,
        metadata={"offenders": dg.MetadataValue.table([dg.TableRecord(o) for o in offenders])} if offenders else {},
        severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
        description="1 of 2 symbols failed",
        blocking=True,
    )


class Runs:
    """Runs one after the other, and what of each was news."""

    def __init__(self) -> None:
        self.failing: dict[str, str] = {}
        self.count = 0

    def news(self, *evaluations: tuple[str, dg.AssetCheckEvaluation], failed: bool = False, **more: Any) -> list[Alert]:
        self.count += 1
        day, causes = more.get("day", DAY), more.get("causes", ["dbt_models: broken"])
        judged = judge_run(f"run{self.count}", failed, day, evaluations, causes, self.failing)
        self.failing = dict(judged.failing)
        return list(judged.alerts)


def failed_fetch(*symbols: str, **columns: Any) -> tuple[str, dg.AssetCheckEvaluation]:
    return "ingest", evaluated("fetch_outcome", False, *({"symbol": s, "error": "timeout", **columns} for s in symbols))


def test_a_failure_is_told_when_it_begins_and_when_it_changes() -> None:
    runs = Runs()
    (told,) = runs.news(failed_fetch("SIL", tries=1))
    assert told.title == "data check fetch_outcome of raw/bars failed: 1 of 2 symbols failed"
    assert (told.kind, told.severity, told.symbols) == ("data", "warning", ("SIL",))
    assert told.lines == ("SIL, timeout, 1",)
    assert runs.news(failed_fetch("SIL", tries=2)) == []  # the same, a day older
    (worse,) = runs.news(failed_fetch("SIL", "SLV"))
    assert worse.event_id != told.event_id
    assert runs.news(("ingest", evaluated("fetch_outcome", True))) == []
    assert len(runs.news(failed_fetch("SIL", tries=1))) == 1  # again, after it had passed


def test_a_market_check_is_no_failure_of_the_data() -> None:
    assert Runs().news(("market_checks", evaluated("silver_100", False))) == []


def test_a_failed_run_is_told_once_a_day_and_cause() -> None:
    runs = Runs()
    (told,) = runs.news(failed=True)
    assert (told.severity, told.symbols, told.title) == ("error", (), "the refresh failed")
    assert told.lines[0] == "dbt_models: broken"
    assert runs.news(failed=True) == []
    assert runs.news(("ingest", evaluated("fetch_outcome", True))) == []
    assert runs.news(failed=True) == []  # a fetch alone has proved nothing
    assert runs.news(("market_checks", evaluated("silver_100", True))) == []
    assert len(runs.news(failed=True)) == 1
    assert len(runs.news(failed=True, causes=["ingest: another"])) == 1
    assert len(runs.news(failed=True, causes=["ingest: another"], day=DAY + dt.timedelta(1))) == 1


def test_a_check_that_goes_on_stopping_the_publication_is_told_once_a_day() -> None:
    runs = Runs()
    stopping = ("ingest", evaluated("fetch_outcome", False, {"symbol": "SIL", "error": "timeout"}, error=True))
    for day in (DAY, DAY + dt.timedelta(1), DAY + dt.timedelta(2)):
        (told,) = runs.news(stopping, failed=True, day=day)
        assert (told.severity, told.session) == ("error", day)
        assert runs.news(stopping, failed=True, day=day) == []
    # A warning is told when it begins and when it changes, and does not come back with the day.
    (milder,) = runs.news(failed_fetch("SIL"), day=DAY + dt.timedelta(2))
    assert milder.severity == "warning"
    assert runs.news(failed_fetch("SIL"), day=DAY + dt.timedelta(3)) == []


def test_a_run_that_a_check_stopped_is_one_alert() -> None:
    (told,) = Runs().news(("ingest", evaluated("fetch_outcome", False, error=True)), failed=True)
    assert told.severity == "error"
    assert told.lines[-1] == "Nothing was published: readers keep the last good version."
