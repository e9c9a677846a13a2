"""The brief's sentences say what the rows say, and nothing about what is unknown."""

import datetime as dt
from typing import Any

import pytest

from orchestration.publish.manifest import PublishedManifest
from orchestration.show.brief.facts import Facts
from orchestration.show.brief.words import headline, move_sentence, sections
from orchestration.signals.levels import brief_sentence
from orchestration.signals.registry import signals
from orchestration.signals.wording import level_name, tick_price

SESSION = dt.date(2026, 1, 30)


def instrument(symbol: str = "SIL", **values: Any) -> dict[str, Any]:
    row = {
        "symbol": symbol,
        "name": f"{symbol} fund",
        "asset_class": "etf",
        "metal": "silver",
        "tier": "senior",
        "currency": "USD",
        "tick_size": 0.01,
        "metal_symbol": "SLV",
        "close": 94.3,
        "return_1d": -0.1478,
        "sessions_since_previous": 1,
        "hits": [{"measure": "return_1d", "score": -0.1478}],
        "is_record": False,
        "largest_since": dt.date(2020, 3, 13),
        "largest_since_return": -0.171,
        "returns_since_inception": 3970,
        "rank_since_inception": 2,
        "history_start": dt.date(2010, 4, 20),
        "z_63": -5.46,
        "drawdown": -0.1766,
        "is_dividend_adjusted": False,
    }
    unknown = (
        "return_21d return_ytd return_1y close_to_close_21 volatility_ratio_21_252 volatility_percentile_252"
        " is_volatility_spike trend_state verdict high_52w low_52w beta_252"
    )
    return {**dict.fromkeys(unknown.split()), **row, **values}


def event(name: str, direction: str = "up", **values: Any) -> dict[str, Any]:
    row = {
        "symbol": "SI=F",
        "level_id": "silver_54",
        "kind": "resistance",
        "event": name,
        "direction": direction,
        "level": 54.0,
        "lower": 54.0,
        "upper": 54.0,
        "prev_close": 52.916,
        "close": 56.446,
        "tick_size": 0.001,
        "role_after": "support",
        "is_repeat": False,
        "levels_crossed": "90, 80",
    }
    return {**row, **values}


def facts(**values: Any) -> Facts:
    events = values.pop("events", [])
    kinds = ("extreme", "round_number")
    by_kind = {kind: [row for row in events if row["kind"] == kind] for kind in kinds}
    by_kind["level"] = [row for row in events if row["kind"] not in kinds]
    manifest = PublishedManifest(1, "", "files", False, "2026-01-30T23:00:00+00:00", {})
    parts = "instruments absent ahead levels pairs sectors rejected history pair_history"
    return Facts(
        **{
            "session": SESSION,
            "manifest": manifest,
            **{name: [] for name in parts.split()},
            "events": by_kind,
            **values,
        }
    )


def test_a_move_says_how_unusual_it_was() -> None:
    assert move_sentence(instrument()) == (
        "SIL fund, SIL, fell 14.78% to 94.30 USD, its largest fall since 2020-03-13 (-17.10%),"
        " 5.5 standard deviations of the 63 returns before it."
    )


def test_a_record_says_since_when_it_is_known() -> None:
    text = move_sentence(instrument(is_record=True, largest_since=None, largest_since_return=None, z_63=None))
    assert text.endswith("its largest fall since its stored history starts on 2010-04-20 (3,970 returns).")


def test_a_move_of_several_sessions_says_which() -> None:
    weekly = {"measure": "cumulative_return", "score": -0.172, "sessions": 5}
    row = instrument(return_1d=-0.011, hits=[weekly])
    assert move_sentence(row) == "SIL fund, SIL, fell 1.10% to 94.30 USD (-17.20% in 5 sessions)."
    both = instrument(hits=[weekly, {"measure": "return_1d", "score": -0.1478}])
    assert move_sentence(both).startswith(
        "SIL fund, SIL, fell 14.78% to 94.30 USD (-17.20% in 5 sessions), its largest fall since"
    )


def test_an_ordinary_return_is_not_called_large() -> None:
    row = instrument(return_1d=0.004, hits=[], is_record=None, largest_since=None, z_63=None)
    assert move_sentence(row) == "SIL fund, SIL, rose 0.40% to 94.30 USD."


def test_a_return_across_a_gap_says_so() -> None:
    assert "bars are missing before it, the return spans 3 sessions" in move_sentence(
        instrument(sessions_since_previous=3)
    )


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (event("close_cross"), "SI=F closed above 54, at 56.446 after 52.916."),
        (event("gap_through", "down"), "SI=F opened and closed below 54, at 56.446 after 52.916."),
        (event("pierce_rejected"), "SI=F traded above 54 and closed back below, at 56.446 after 52.916."),
        (event("confirmed"), "SI=F closed above 54 a second time, at 56.446 after 52.916."),
        (event("role_flip"), "SI=F has turned 54 into support with two closes above it, at 56.446 after 52.916."),
        (event("retest_held"), "SI=F came back to 54, which held as support, at 56.446 after 52.916."),
        (
            event("retest_held", "down"),
            "SI=F came back to 54, which held as resistance, at 56.446 after 52.916.",
        ),
        (
            event("retest_failed", "down"),
            "SI=F closed back below 54 in a failed retest, at 56.446 after 52.916.",
        ),
        (
            event("pierce_rejected", is_repeat=True, close=54.0, prev_close=None),
            (
                "SI=F traded above 54 and closed back below, at 54.000;"
                " no close has got away from it since its last event."
            ),
        ),
        (
            event("zone_exited", "down", lower=54.0, upper=56.0),
            "SI=F left the zone 54-56 downwards, at 56.446 after 52.916.",
        ),
    ],
)
def test_events_in_words(row: dict[str, Any], text: str) -> None:
    assert brief_sentence(row) == text


def test_every_event_of_the_mart_has_words() -> None:
    import json

    from orchestration.settings import DBT_PROJECT_DIR

    manifest = json.loads((DBT_PROJECT_DIR / "target" / "manifest.json").read_text("utf-8"))
    (names,) = [
        node["test_metadata"]["kwargs"]["values"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        and node["attached_node"] == "model.orewatch.level_events"
        and node["column_name"] == "event"
        and node["test_metadata"]["name"] == "accepted_values"
    ]
    assert names
    kinds = {kind.name: kind for kind in signals()}
    for name in names:
        kind = {"new_extreme": "extreme", "round_numbers_crossed": "round_number"}.get(name, "level")
        row = event(name, level_id="SI=F:52w_high")
        assert name.replace("_", " ") + " upwards at" not in kinds[kind].line(row, "{:g}".format), name


def test_prices_have_the_decimals_of_their_tick_and_one_more_between_ticks() -> None:
    row = {"tick_size": 0.01}
    assert [tick_price(row, value) for value in (94.3, 40.595, 94.30000305, 4713.9)] == [
        "94.30",
        "40.595",
        "94.30",
        "4,713.90",
    ]
    assert tick_price({"tick_size": 0.1}, 4713.9) == "4,713.9"
    assert tick_price(row, None) == ""


def test_levels_are_named_without_zeros_and_without_a_role_that_flips() -> None:
    row = {"tick_size": 0.001, "lower": 54.0, "upper": 56.0, "kind": "support"}
    assert level_name(row) == "54-56"
    assert level_name({**row, "upper": 54.0, "kind": "psychological"}) == "54 (psychological)"
    # An extreme is a close, and is written as one.
    high = {"tick_size": 0.01, "lower": 495.9, "upper": 495.9, "kind": "52-week high"}
    assert level_name(high) == "495.90 (52-week high)"


def test_unknown_figures_leave_empty_cells() -> None:
    young = instrument("AUAU", hits=[], z_63=None)
    (moves, *_rest) = sections(facts(instruments=[young]))
    assert moves.table is not None
    ((symbol, _, close, change, z, rank, month, ytd, year, drawdown),) = moves.table.rows
    assert (symbol, close, change, drawdown) == ("AUAU", "94.30 USD", "-14.78%", "-17.66%")
    assert (z, rank, month, ytd, year) == ("", "", "", "", "")


def test_a_session_without_returns_says_so() -> None:
    assert headline(facts(instruments=[instrument(return_1d=None)])) == "No instrument has a return for this session."


def test_instruments_without_a_bar_are_named() -> None:
    absent = [{"symbol": "FRES", "name": "Fresnillo", "last_session": dt.date(2026, 1, 29)}]
    last = sections(facts(instruments=[instrument()], absent=absent))[-1]
    assert last.sentences == ["FRES has no bar for this session; its latest is of 2026-01-29."]


def test_an_instrument_that_is_ahead_of_the_market_is_named() -> None:
    ahead = [{"symbol": "AUAU", "name": "Auric", "last_session": dt.date(2026, 9, 28)}]
    last = sections(facts(instruments=[instrument()], ahead=ahead))[-1]
    assert last.sentences == ["AUAU has a later bar, of 2026-09-28, than the market; it is not in this brief."]


def words(title: str, **values: Any) -> list[str]:
    """The sentences of one section."""
    return next((part.sentences for part in sections(facts(**values)) if part.title == title), [])


def test_an_event_is_told_in_the_prices_of_its_session_whatever_became_of_the_level() -> None:
    # A split later on has halved the level; the event happened at 54 to 56.
    level = {"level_id": "silver_54", "symbol": "SI=F", "kind": "support", "lower": 27.0, "upper": 28.0, "close": 27.5}
    level |= {"role": None, "last_event": None, "tick_size": 0.001}
    met = event("zone_exited", lower=54.0, upper=56.0)
    assert words("Levels", events=[met], levels=[level]) == [
        "SI=F left the zone 54-56 upwards, at 56.446 after 52.916."
    ]
    assert "SI=F stands inside the zone 27-28." in words("What to watch next", levels=[level])


def test_of_several_events_of_a_level_none_is_told_twice() -> None:
    names = ("role_flip", "confirmed", "retest_failed", "close_cross", "pierce_rejected")
    told = words("Levels", events=[event(name) for name in names])
    assert [text.partition(", at")[0] for text in told] == [
        "SI=F has turned 54 into support with two closes above it",
        "SI=F closed back above 54 in a failed retest",
        "SI=F traded above 54 and closed back below",
    ]
    both = [event("close_cross"), event("retest_failed", level_id="another")]
    assert len(words("Levels", events=both)) == 2


def test_extremes_and_round_numbers_are_told_together() -> None:
    met = [
        event("new_extreme", kind="extreme", symbol=symbol, level_id=f"{symbol}:{extreme}", is_repeat=is_repeat)
        for symbol, extreme, is_repeat in (
            ("SLV", "all_time_high", False),
            ("GLD", "52w_high", False),
            ("SIL", "52w_high", True),
        )
    ]
    met += [event("round_numbers_crossed", way, kind="round_number", symbol="SIL") for way in ("up", "down")]
    assert words("Levels", events=met) == [
        "No watched level was met.",
        "Round numbers crossed upwards: SIL 90, 80.",
        "Round numbers crossed downwards: SIL 90, 80.",
        "Closed beyond the all-time high, for the first time in a run: SLV.",
        "Closed beyond the 52-week high, for the first time in a run: GLD.",
    ]


@pytest.mark.parametrize(
    ("junior", "senior", "text"),
    [
        (1.57, 1.4449, "Beta to SLV over 252 sessions: SILJ 1.57, SIL 1.44."),
        (None, 1.44, "Beta to SLV over 252 sessions: SIL 1.44; not known for SILJ, fewer than 252 paired sessions."),
        (None, None, "Beta to SLV over 252 sessions: not known for SILJ and SIL, fewer than 252 paired sessions."),
    ],
)
def test_betas_that_are_not_known(junior: float | None, senior: float | None, text: str) -> None:
    pair = {
        "kind": "junior_senior",
        "kind_label": "Juniors against seniors",
        "long_symbol": "SILJ",
        "short_symbol": "SIL",
        "spread_21d": 0.0251,
    }
    pair |= {"z_252": None, "state": "turned"}
    told = words(
        "Juniors against seniors",
        instruments=[instrument("SILJ", beta_252=junior, return_1d=-0.1502), instrument(beta_252=senior)],
        pairs=[pair],
    )
    said = "-15.02% and -14.78% on the day; log difference over 21 sessions +0.025; the gap has changed sides."
    assert told == [f"SILJ against SIL: {said}", text]


def test_spikes_that_all_have_an_up_trend_are_named_once() -> None:
    def told(*trends: str) -> str:
        values = {"is_volatility_spike": True, "close_to_close_21": 0.5}
        rows = [instrument(f"S{n}", trend_state=trend, **values) for n, trend in enumerate(trends)]
        return words("Volatility against trend", instruments=rows)[0].partition(": ")[2]

    assert told("up", "up") == "S0, S1; all with the trend still up."
    assert told("up", "mixed") == "S0, S1; with the trend still up: S0."
    assert told("down", "mixed") == "S0, S1; none of them in an up trend."
