"""Each rule that accepts, demotes, rejects or holds back a raw bar."""

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest

from orchestration.market.bars import PRICE_COLUMNS, RAW_COLUMNS, VALUE_COLUMNS, empty_raw, raw_frame
from orchestration.market.new_versions import differs, rebased
from orchestration.market.quarantine import quarantine_id
from orchestration.market.validation import Validated, validate

NAN = float("nan")
INF = float("inf")
# The week of 30 January 2026 and the Friday before; the last session that has closed is Thursday's.
CLOSED = pd.DatetimeIndex(["2026-01-23", "2026-01-26", "2026-01-27", "2026-01-28", "2026-01-29"])
KNOWN = CLOSED.append(pd.DatetimeIndex(["2026-01-30", "2026-02-02", "2026-02-03", "2026-02-04", "2026-02-05"]))
GOOD = {
    "session_date": "2026-01-28", "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "adj_close": 10.9,
    "volume": 1000.0, "dividend": 0.0, "split_ratio": 1.0, "origin": "SIL.csv", "row_number": 7,
}  # fmt: skip


def delivery(*rows: dict[str, object]) -> pd.DataFrame:
    """A delivery of rows that are good but for what is given."""
    full = [GOOD | {"parse_error": None, "cell_error": None} | row for row in rows]
    return raw_frame({name: [row[name] for row in full] for name in RAW_COLUMNS})


def judge(*rows: dict[str, object]) -> Validated:
    return validate(delivery(*rows), CLOSED, KNOWN)


def rules(result: Validated) -> list[tuple[str, str]]:
    return list(zip(result.rejected["rule"], result.rejected["severity"], strict=True))


def only_rejected(row: dict[str, object], rule: str, detail: str) -> None:
    result = judge(row)
    assert result.accepted.empty
    assert rules(result) == [(rule, "rejected")]
    assert result.rejected["detail"].tolist() == [detail]
    assert result.held_back == 0


# ---- the raw frame


def test_raw_frame_fills_what_a_source_does_not_have() -> None:
    frame = raw_frame({"session_date": ["2026-01-28"], "close": [11]})
    assert tuple(frame.columns) == RAW_COLUMNS
    assert {str(frame[name].dtype) for name in VALUE_COLUMNS} == {"float64"}
    assert frame["session_date"].dtype == "datetime64[s]"
    assert frame["close"].tolist() == [11.0]
    assert frame["open"].isna().all()
    assert frame["origin"].tolist() == [None]
    assert frame["parse_error"].tolist() == [None]
    assert frame["row_number"].isna().all()


def test_raw_frame_keeps_none_beside_text() -> None:
    frame = raw_frame({"session_date": ["2026-01-28"] * 2, "close": [1, 2], "parse_error": [None, "why"]})
    assert frame["parse_error"].tolist() == [None, "why"]


def test_empty_delivery() -> None:
    assert tuple(empty_raw().columns) == RAW_COLUMNS
    result = validate(empty_raw(), CLOSED, KNOWN)
    assert len(result.accepted) == len(result.rejected) == result.held_back == 0
    assert result.accepted["session_date"].dtype == "datetime64[s]"


def test_nothing_has_closed_yet() -> None:
    result = validate(delivery({}), CLOSED[:0], KNOWN)
    assert (len(result.accepted), len(result.rejected), result.held_back) == (0, 0, 1)


# ---- accepted


def test_good_bar() -> None:
    result = judge({})
    assert result.accepted.to_dict("records") == [
        {name: GOOD[name] for name in VALUE_COLUMNS} | {"session_date": pd.Timestamp("2026-01-28"), "bar_quality": "ok"}
    ]
    assert result.rejected.empty


def test_rows_come_out_in_order_of_session() -> None:
    result = judge(*({"session_date": day} for day in ("2026-01-29", "2026-01-26", "2026-01-28")))
    assert [str(day.date()) for day in result.accepted["session_date"]] == [
        "2026-01-26",
        "2026-01-28",
        "2026-01-29",
    ]
    assert result.accepted.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("row", "quality"),
    [
        ({"open": 11.0, "high": 11.0, "low": 11.0}, "flat"),
        ({"open": NAN, "high": NAN, "low": NAN}, "close_only"),
        ({"open": 11.0, "high": 11.0, "low": 10.0}, "ok"),
        ({"open": 12.0, "high": 12.0, "low": 11.0}, "ok"),  # the close is the low
        ({"open": 9.0, "high": 11.0, "low": 9.0}, "ok"),  # the close is the high
    ],
)
def test_bar_quality(row: dict[str, object], quality: str) -> None:
    result = judge(row)
    assert result.accepted["bar_quality"].tolist() == [quality]
    assert result.accepted["close"].tolist() == [11.0]
    assert result.rejected.empty


@pytest.mark.parametrize(
    ("column", "delivered", "stored"),
    [
        ("split_ratio", 0.0, 1.0),  # Yahoo's word for no split
        ("split_ratio", NAN, 1.0),
        ("split_ratio", 2.0, 2.0),
        ("split_ratio", 0.2, 0.2),
        ("dividend", NAN, 0.0),
        ("dividend", 0.25, 0.25),
        ("adj_close", 0.0, NAN),
        ("adj_close", -1.0, NAN),
        ("adj_close", INF, NAN),
        ("volume", NAN, NAN),
        ("volume", 0.0, 0.0),
    ],
)
def test_values_that_are_put_into_words_of_our_own(column: str, delivered: float, stored: float) -> None:
    result = judge({column: delivered})
    np.testing.assert_array_equal(result.accepted[column], [stored])
    assert result.rejected.empty


# ---- demoted


@pytest.mark.parametrize(
    "row",
    [
        {"high": 10.5},  # below the close
        {"high": 9.5, "close": 9.2},  # below the open
        {"low": 11.5, "high": 12.0, "open": 12.0},  # above the close
        {"low": 10.5},  # above the open
        {"high": 8.0, "low": 9.0},  # below the low
        {"low": 0.0},
        {"open": -10.0},
        {"high": INF},
        {"low": -INF},
    ],
)
def test_impossible_range(row: dict[str, object]) -> None:
    result = judge(row)
    close = row.get("close", 11.0)
    assert result.accepted["bar_quality"].tolist() == ["range_rejected"]
    assert result.accepted["close"].tolist() == [close]
    assert result.accepted[["open", "high", "low"]].isna().all(axis=None)
    assert result.accepted[["adj_close", "volume"]].to_numpy().tolist() == [[10.9, 1000.0]]
    assert rules(result) == [("impossible_range", "demoted")]
    assert result.rejected["detail"].tolist() == [
        "high, low and open contradict the close; the close is kept, the range is not"
    ]


@pytest.mark.parametrize("missing", [["open"], ["high"], ["low"], ["open", "high"], ["high", "low"]])
def test_incomplete_range(missing: list[str]) -> None:
    result = judge(dict.fromkeys(missing, NAN))
    assert result.accepted["bar_quality"].tolist() == ["range_rejected"]
    assert result.accepted[["open", "high", "low"]].isna().all(axis=None)
    assert rules(result) == [("incomplete_range", "demoted")]


@pytest.mark.parametrize("volume", [-1.0, INF, -INF])
def test_invalid_volume(volume: float) -> None:
    result = judge({"volume": volume})
    assert result.accepted["volume"].isna().all()
    assert result.accepted["bar_quality"].tolist() == ["ok"]
    assert result.accepted["high"].tolist() == [12.0]
    assert rules(result) == [("invalid_volume", "demoted")]


def test_range_and_volume_of_one_row_are_two_faults() -> None:
    result = judge({"high": 1.0, "volume": -1.0})
    assert len(result.accepted) == 1
    assert rules(result) == [("impossible_range", "demoted"), ("invalid_volume", "demoted")]


def test_quarantined_row_as_delivered() -> None:
    row = judge({"high": INF, "low": NAN, "open": -INF}).rejected.iloc[0]
    assert row["session_date"] == pd.Timestamp("2026-01-28")
    assert (row["origin"], row["row_number"]) == ("SIL.csv", 7)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(row["raw"], parse_constant=refuse) == {
        "open": "-inf", "high": "inf", "low": None, "close": 11.0, "adj_close": 10.9, "volume": 1000.0,
        "dividend": 0.0, "split_ratio": 1.0,
    }  # fmt: skip


# ---- rejected


@pytest.mark.parametrize(
    ("row", "rule", "detail"),
    [
        ({"close": NAN}, "missing_close", "the row has no close"),
        ({"close": INF}, "non_finite_close", "the close is not finite"),
        ({"close": -INF}, "non_finite_close", "the close is not finite"),
        ({"close": 0.0}, "non_positive_close", "the close is zero or negative"),
        ({"close": -37.63}, "non_positive_close", "the close is zero or negative"),
        ({"dividend": -0.1}, "invalid_dividend", "the dividend is negative or not finite"),
        ({"dividend": INF}, "invalid_dividend", "the dividend is negative or not finite"),
        ({"split_ratio": -2.0}, "invalid_split", "the split ratio is negative or not finite"),
        ({"split_ratio": INF}, "invalid_split", "the split ratio is negative or not finite"),
        ({"session_date": "2026-01-25"}, "not_a_session", "the exchange held no session on that day"),
        (
            {"session_date": "2026-01-22"},
            "before_calendar", "the session lies before the first one that the calendar of its exchange knows",
        ),
        (
            {"session_date": "1900-01-01"},
            "before_calendar", "the session lies before the first one that the calendar of its exchange knows",
        ),
        ({"session_date": "2026-01-31"}, "future_session", "the session lies in the future"),
        ({"session_date": "2062-01-28"}, "future_session", "the session lies in the future"),
        ({"session_date": None}, "missing_date", "the row has no date"),
        ({"parse_error": "row 7: why"}, "malformed_value", "row 7: why"),
        # The first rule that a row breaks names it.
        ({"parse_error": "row 7: why", "session_date": None}, "malformed_value", "row 7: why"),
        (
            {"session_date": "2026-01-25", "close": 0.0},
            "not_a_session", "the exchange held no session on that day",
        ),
    ],
)  # fmt: skip
def test_rejected(row: dict[str, object], rule: str, detail: str) -> None:
    only_rejected(row, rule, detail)


def test_a_rejected_row_does_not_take_its_neighbours_with_it() -> None:
    result = judge({"session_date": "2026-01-27"}, {"close": -1.0}, {"session_date": "2026-01-29"})
    assert len(result.accepted) == 2
    assert rules(result) == [("non_positive_close", "rejected")]


def test_rejected_row_without_a_date() -> None:
    assert judge({"session_date": None}).rejected["session_date"].isna().tolist() == [True]


# ---- held back, silent, twice


@pytest.mark.parametrize("day", ["2026-01-30", "2026-02-05"])
def test_sessions_that_have_not_closed_are_held_back(day: str) -> None:
    result = judge({"session_date": day}, {"session_date": day, "close": NAN})
    assert (len(result.accepted), len(result.rejected), result.held_back) == (0, 0, 2)


@pytest.mark.parametrize("filler", [NAN, 0.0])
def test_vendor_rows_that_say_nothing_are_dropped(filler: float) -> None:
    silent = dict.fromkeys(VALUE_COLUMNS, NAN) | {"volume": filler, "dividend": filler, "split_ratio": filler}
    result = judge(silent)
    assert (len(result.accepted), len(result.rejected), result.held_back) == (0, 0, 0)


@pytest.mark.parametrize("column", ["open", "adj_close", "volume", "dividend"])
def test_rows_that_say_something_without_a_close_are_rejected(column: str) -> None:
    row = dict.fromkeys(VALUE_COLUMNS, NAN) | {column: 0.5}
    only_rejected(row, "missing_close", "the row has no close")


def test_a_silent_row_outside_the_calendar_is_rejected() -> None:
    row = dict.fromkeys(VALUE_COLUMNS, NAN) | {"session_date": "2026-01-25"}
    only_rejected(row, "not_a_session", "the exchange held no session on that day")


def test_equal_duplicates_collapse() -> None:
    result = judge({}, {"row_number": 8}, {"row_number": 9})
    assert len(result.accepted) == 1
    assert result.rejected.empty


def test_equal_duplicates_with_unknown_values_collapse() -> None:
    result = judge({"volume": NAN}, {"volume": NAN})
    assert len(result.accepted) == 1
    assert result.rejected.empty


@pytest.mark.parametrize("column", sorted({*VALUE_COLUMNS} - {"volume", "adj_close"}))
def test_conflicting_duplicates_are_all_rejected(column: str) -> None:
    result = judge({}, {column: 11.5, "row_number": 8}, {"session_date": "2026-01-29"})
    assert [str(day.date()) for day in result.accepted["session_date"]] == ["2026-01-29"]
    assert rules(result) == [("duplicate_session", "rejected")] * 2
    assert result.rejected["row_number"].tolist() == [7, 8]


@pytest.mark.parametrize("column", ["volume", "adj_close"])
def test_a_volume_or_an_adjusted_close_that_is_told_in_two_ways_costs_itself_alone(column: str) -> None:
    result = judge({}, {column: 11.5, "row_number": 8}, {"session_date": "2026-01-29"})
    assert result.accepted["close"].tolist() == [GOOD["close"]] * 2
    assert result.accepted[column].isna().tolist() == [True, False]
    assert rules(result) == [("unreadable_cell", "demoted")]
    assert result.rejected["detail"].tolist() == [
        f"the session stands more than once with different values of {column}"
    ]


@pytest.mark.parametrize("column", [*PRICE_COLUMNS, "adj_close"])
def test_duplicates_that_differ_by_a_vendors_noise_are_equal(column: str) -> None:
    result = judge({}, {column: GOOD[column] * (1 + 5e-7)})
    assert len(result.accepted) == 1
    assert result.rejected.empty


@pytest.mark.parametrize("column", sorted({*VALUE_COLUMNS} - {"close"}))
def test_what_one_row_does_not_know_the_other_says(column: str) -> None:
    result = judge({}, {column: NAN})
    assert result.accepted[column].tolist() == judge({}).accepted[column].tolist()
    assert result.rejected.empty


@pytest.mark.parametrize(("column", "noise"), [("high", -5e-7), ("low", 5e-7)])
def test_a_range_that_misses_the_close_by_a_vendors_noise_holds_it(column: str, noise: float) -> None:
    result = judge(
        {"open": GOOD["close"], "high": GOOD["close"], "low": GOOD["close"]} | {column: GOOD["close"] * (1 + noise)}
    )
    assert result.accepted[column].tolist() == [GOOD["close"]]
    assert result.accepted["bar_quality"].tolist() == ["flat"]
    assert result.rejected.empty


def test_a_duplicate_that_is_rejected_anyway_does_not_conflict() -> None:
    result = judge({}, {"close": NAN})
    assert len(result.accepted) == 1
    assert rules(result) == [("missing_close", "rejected")]


def test_nothing_is_lost() -> None:
    rows = [
        {"session_date": "2026-01-26"},
        {"session_date": "2026-01-26"},  # collapses
        {"session_date": "2026-01-27", "high": 1.0, "volume": -1.0},  # accepted, two faults
        {"session_date": "2026-01-28", "close": 11.5},  # conflict
        {"session_date": "2026-01-28", "close": 11.6},  # conflict
        {"session_date": "2026-01-29", "close": NAN},  # rejected
        {"session_date": "2026-01-29"},
        dict.fromkeys(VALUE_COLUMNS, NAN),  # silent
        {"session_date": "2026-01-30"},  # held back
        {"session_date": "2026-01-31"},  # rejected
        {"session_date": None},  # rejected
    ]
    result = judge(*rows)
    rejected = (result.rejected["severity"] == "rejected").sum()
    collapsed, silent = 1, 1
    assert (len(result.accepted), rejected, result.held_back) == (3, 5, 1)
    assert len(result.accepted) + rejected + result.held_back + silent + collapsed == len(rows)


# ---- actions without a price


MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (f"2026-01-{day}" for day in (26, 27, 28, 29))


def action(day: str, dividend: float = 0.0, split: float = 0.0) -> dict[str, object]:
    """A row of a vendor that knows of an action and has no price."""
    alone = dict.fromkeys(VALUE_COLUMNS, NAN)
    return alone | {"session_date": day, "dividend": dividend, "split_ratio": split}


def actions(result: Validated) -> dict[str, tuple[float, float]]:
    """Dividend and split by session."""
    rows = result.accepted[["session_date", "dividend", "split_ratio"]].itertuples(index=False)
    return {str(day.date()): (dividend, split) for day, dividend, split in rows}


@pytest.mark.parametrize(
    ("lost", "found", "what"),
    [
        (action(TUESDAY, dividend=0.4), (0.4, 1.0), "dividend of 0.4"),
        (action(TUESDAY, split=4.0), (0.0, 4.0), "split of 4"),
        (action(TUESDAY, dividend=0.4, split=0.1), (0.4, 0.1), "dividend of 0.4 and its split of 0.1"),
    ],
)
def test_an_action_without_a_close_goes_to_the_next_bar(
    lost: dict[str, object], found: tuple[float, float], what: str
) -> None:
    result = judge({"session_date": MONDAY}, lost, {"session_date": THURSDAY}, {"session_date": WEDNESDAY})
    assert actions(result) == {MONDAY: (0.0, 1.0), WEDNESDAY: found, THURSDAY: (0.0, 1.0)}
    assert rules(result) == [("missing_close", "rejected")]
    assert result.rejected["detail"].tolist() == [f"the row has no close; its {what} went to {WEDNESDAY}"]


def test_carried_actions_accumulate() -> None:
    result = judge(
        action(MONDAY, dividend=0.25, split=2.0),
        action(TUESDAY, dividend=0.5, split=3.0),
        {"session_date": WEDNESDAY, "dividend": 1.0, "split_ratio": 5.0},
        {"session_date": THURSDAY},
    )
    assert actions(result) == {WEDNESDAY: (1.75, 30.0), THURSDAY: (0.0, 1.0)}
    assert rules(result) == [("missing_close", "rejected")] * 2


@pytest.mark.parametrize("day", ["2026-01-25", "2026-01-24", "1950-06-01"])
def test_an_action_on_a_day_without_a_session_is_carried_too(day: str) -> None:
    result = judge({"session_date": "2026-01-23"}, action(day, split=2.0), {"session_date": MONDAY})
    assert actions(result)["2026-01-23" if day.startswith("1950") else MONDAY] == (0.0, 2.0)
    assert rules(result) == [("missing_close", "rejected")]


def test_an_action_skips_a_bar_that_is_rejected() -> None:
    result = judge(action(TUESDAY, dividend=0.4), {"close": -1.0}, {"session_date": THURSDAY})
    assert actions(result) == {THURSDAY: (0.4, 1.0)}


def test_an_action_is_never_carried_back() -> None:
    result = judge({"session_date": MONDAY}, {"session_date": WEDNESDAY}, action(THURSDAY, dividend=0.4))
    assert set(actions(result).values()) == {(0.0, 1.0)}
    assert result.rejected["detail"].tolist() == ["the row has no close"]


@pytest.mark.parametrize("day", ["2026-01-30", "2026-02-05"])
def test_an_action_of_a_session_to_come_is_held_back(day: str) -> None:
    result = judge({}, action(day, dividend=0.4))
    assert (set(actions(result).values()), result.held_back) == ({(0.0, 1.0)}, 1)


def test_an_action_in_the_future_is_not_carried() -> None:
    result = judge({}, action("2026-01-31", dividend=0.4))
    assert set(actions(result).values()) == {(0.0, 1.0)}
    assert rules(result) == [("future_session", "rejected")]


def test_a_bar_of_the_same_session_speaks_for_it() -> None:
    result = judge({"dividend": 0.4}, action(WEDNESDAY, dividend=0.4), {"session_date": THURSDAY})
    assert actions(result) == {WEDNESDAY: (0.4, 1.0), THURSDAY: (0.0, 1.0)}
    assert result.rejected["detail"].tolist() == ["the row has no close"]


def test_equal_rows_carry_their_action_once() -> None:
    result = judge(action(TUESDAY, 0.4, 0.0), action(TUESDAY, 0.4, 1.0), {})
    assert actions(result) == {WEDNESDAY: (0.4, 1.0)}
    assert rules(result) == [("missing_close", "rejected")] * 2


def test_rows_that_contradict_each_other_carry_nothing() -> None:
    result = judge(action(TUESDAY, 0.4), action(TUESDAY, 0.5), {})
    assert actions(result) == {WEDNESDAY: (0.0, 1.0)}
    assert result.rejected["detail"].tolist() == ["the row has no close"] * 2


@pytest.mark.parametrize("wrong", [{"dividend": INF}, {"split_ratio": -2.0}, {"split_ratio": INF}])
def test_an_unsound_action_is_not_carried(wrong: dict[str, object]) -> None:
    result = judge(action(TUESDAY, 0.4) | wrong, {})
    assert actions(result) == {WEDNESDAY: (0.0, 1.0)}
    assert rules(result) == [("missing_close", "rejected")]


def test_what_a_float_cannot_hold_is_not_carried() -> None:
    result = judge(action(MONDAY, split=1e-300), action(TUESDAY, split=1e-300), {})
    assert actions(result) == {WEDNESDAY: (0.0, 1e-300)}
    assert result.rejected["detail"].tolist()[1] == "the row has no close"


def test_an_action_that_its_stored_bar_has_already_is_not_carried() -> None:
    # The vendor has lost the price of a session since; the stored bar keeps its dividend, whatever its basis.
    stored = pd.DataFrame({"session_date": pd.to_datetime([TUESDAY]), "dividend": [0.8], "split_ratio": [NAN]})
    rows = delivery(action(TUESDAY, dividend=0.4), {})
    result = validate(rows, CLOSED, KNOWN, stored)
    assert actions(result) == {WEDNESDAY: (0.0, 1.0)}
    assert result.rejected["detail"].tolist() == ["the row has no close"]
    both = validate(delivery(action(TUESDAY, dividend=0.4, split=2.0), {}), CLOSED, KNOWN, stored)
    assert actions(both) == {WEDNESDAY: (0.0, 2.0)}
    assert both.rejected["detail"].tolist() == [f"the row has no close; its split of 2 went to {WEDNESDAY}"]


# ---- a history that has become shorter


def history(*rows: tuple[str, float, float], dividend: float = 0.0) -> pd.DataFrame:
    """Session, close, split ratio."""
    frame = pd.DataFrame(rows, columns=["session_date", "close", "split_ratio"])
    close = frame["close"]
    return frame.assign(
        session_date=pd.to_datetime(frame["session_date"]), open=close, high=close + 4, low=close - 4,
        adj_close=close, volume=1000.0, dividend=dividend, bar_quality="ok", currency="USD",
    )  # fmt: skip


BEFORE = history((MONDAY, 100.0, 1.0), (TUESDAY, 104.0, 1.0), (WEDNESDAY, 108.0, 1.0), dividend=0.5)


def test_stored_bars_that_a_shorter_history_leaves_out_are_rebased() -> None:
    found = rebased(history((WEDNESDAY, 27.0, 1.0), (THURSDAY, 28.0, 4.0)), BEFORE)
    assert found["session_date"].dt.strftime("%Y-%m-%d").tolist() == [MONDAY, TUESDAY]
    assert list(found.columns) == list(BEFORE.columns)
    assert found[["open", "high", "low", "close"]].to_numpy().tolist() == [[25, 26, 24, 25], [26, 27, 25, 26]]
    assert found["volume"].tolist() == [4000.0, 4000.0]
    assert found["dividend"].tolist() == [0.125, 0.125]
    assert found["adj_close"].isna().all()
    assert found["split_ratio"].tolist() == [1.0, 1.0]
    assert found["bar_quality"].tolist() == ["ok", "ok"]


def test_several_new_splits_multiply_for_the_sessions_before_them() -> None:
    # Wednesday's bar is no longer delivered and lies between the two.
    found = rebased(history((MONDAY, 100 / 6, 1.0), (TUESDAY, 104 / 3, 2.0), (THURSDAY, 36.0, 3.0)), BEFORE)
    assert found["close"].tolist() == [36.0]
    earlier = pd.concat([history(("2026-01-23", 96.0, 1.0)), BEFORE], ignore_index=True)
    found = rebased(history((MONDAY, 100 / 6, 1.0), (TUESDAY, 104 / 3, 2.0), (THURSDAY, 36.0, 3.0)), earlier)
    assert found["close"].tolist() == [16.0, 36.0]


def test_a_history_that_begins_with_the_split_has_no_witness_and_is_believed() -> None:
    assert rebased(history((THURSDAY, 28.0, 4.0)), BEFORE)["close"].tolist() == [25.0, 26.0, 27.0]
    late = rebased(history((WEDNESDAY, 108.0, 4.0)), BEFORE)  # a split that came late, on a session that is stored
    assert late["close"].tolist() == [25.0, 26.0]


@pytest.mark.parametrize(
    "delivered",
    [
        history((WEDNESDAY, 108.0, 1.0), (THURSDAY, 110.0, 1.0)),  # no split
        history((WEDNESDAY, 27.0, 1.0), (THURSDAY, 28.0, 1.0)),  # a new basis without a split: nothing says how much
        history((TUESDAY, 104.0, 1.0), (WEDNESDAY, 108.0, 1.0), (THURSDAY, 28.0, 4.0)),  # named, not applied
        history((WEDNESDAY, 108.5, 1.0), (THURSDAY, 28.0, 4.0)),  # a correction is no split
        history((MONDAY, 25.0, 1.0), (TUESDAY, 26.0, 1.0), (WEDNESDAY, 27.0, 1.0), (THURSDAY, 28.0, 4.0)),  # complete
        history(),
    ],
)
def test_nothing_is_rebased(delivered: pd.DataFrame) -> None:
    assert rebased(delivered, BEFORE).empty


def test_a_split_that_is_stored_is_not_applied_again() -> None:
    stored = history((MONDAY, 25.0, 1.0), (TUESDAY, 26.0, 1.0), (WEDNESDAY, 27.0, 4.0))
    assert rebased(history((WEDNESDAY, 27.0, 4.0), (THURSDAY, 28.0, 1.0)), stored).empty
    again = rebased(history((WEDNESDAY, 13.5, 4.0), (THURSDAY, 14.0, 2.0)), stored)
    assert again["close"].tolist() == [12.5, 13.0]


def test_a_split_that_has_only_moved_changes_no_basis() -> None:
    # It was carried to Wednesday while Tuesday had no close.
    stored = history((MONDAY, 25.0, 1.0), (WEDNESDAY, 27.0, 4.0))
    assert rebased(history((TUESDAY, 26.0, 4.0), (WEDNESDAY, 27.0, 1.0)), stored).empty


# ---- comparing with what is stored


def accepted_row(**changes: object) -> pd.DataFrame:
    return pd.DataFrame([{name: GOOD[name] for name in VALUE_COLUMNS} | {"bar_quality": "ok"} | changes])


@pytest.mark.parametrize(
    ("new", "stored", "expected"),
    [
        ({}, {}, False),
        ({"close": 11.000001}, {}, True),
        ({"volume": 1001.0}, {}, True),
        ({"dividend": 0.1}, {}, True),
        ({"split_ratio": 2.0}, {}, True),
        ({"bar_quality": "flat"}, {}, True),
        ({"volume": NAN}, {"volume": NAN}, False),
        ({"volume": NAN}, {}, True),
        ({"volume": 1.0}, {"volume": NAN}, True),
        ({"adj_close": 10.9 * (1 + 0.9e-6)}, {}, False),  # float32 noise
        ({"adj_close": 10.9 * (1 - 0.9e-6)}, {}, False),
        ({"adj_close": 10.9 * (1 + 1.1e-6)}, {}, True),
        ({"adj_close": NAN}, {}, True),
        ({"adj_close": NAN}, {"adj_close": NAN}, False),
    ],
)
def test_differs(new: dict[str, object], stored: dict[str, object], expected: bool) -> None:
    assert differs(accepted_row(**new), accepted_row(**stored)).tolist() == [expected]


def test_a_session_that_is_not_stored_differs() -> None:
    stored = accepted_row().reindex([5]).reset_index(drop=True)
    assert differs(accepted_row(), stored).tolist() == [True]
    unknown = dict.fromkeys((*PRICE_COLUMNS, "adj_close", "volume"), NAN)
    assert differs(accepted_row(**unknown), stored).tolist() == [True]


# ---- the key of a quarantined row


def test_quarantine_id_is_stable() -> None:
    key = quarantine_id("SIL", dt.date(2026, 1, 30), "missing_close", '{"close": null}', "the row has no close")
    assert key == "7347a31b0d592e40945ea2554432bf28"
    assert quarantine_id("SIL", None, "missing_date", "{}", "").isalnum()


@pytest.mark.parametrize("position", range(5))
def test_quarantine_id_depends_on_each_part(position: int) -> None:
    parts: list[object] = ["SIL", dt.date(2026, 1, 30), "missing_close", "{}", "detail"]
    other = list(parts)
    other[position] = dt.date(2026, 1, 29) if position == 1 else "other"
    assert quarantine_id(*parts) != quarantine_id(*other)  # type: ignore[arg-type]


def test_the_same_fault_delivered_again_has_the_same_key() -> None:
    first, second = (judge({"close": NAN}).rejected.iloc[0] for _ in range(2))
    keys = {
        quarantine_id("SIL", row["session_date"].date(), row["rule"], row["raw"], row["detail"])
        for row in (first, second)
    }
    assert len(keys) == 1


# ---- days that the calendar lacks

MONTH = pd.bdate_range("2026-01-01", "2026-01-29")


def with_extra(day: str, **values: object) -> Validated:
    rows = [{"session_date": f"{d.date()}", "close": 11.0 + n / 100, "high": 12.0 + n} for n, d in enumerate(MONTH)]
    return validate(delivery(*rows, {"session_date": day, "close": 11.07, "high": 13.5, **values}), MONTH, MONTH)


@pytest.mark.parametrize("day", ["2026-01-10", "2026-01-11"])
def test_a_special_session_is_kept(day: str) -> None:
    result = with_extra(day)
    assert pd.Timestamp(day) in set(result.accepted["session_date"])
    assert result.rejected.empty


@pytest.mark.parametrize(
    "values",
    [
        {"volume": 0.0},
        {"volume": NAN},
        # The bar of Friday the 9th, and of Monday the 12th, again.
        {"close": 11.06, "high": 18.0},
        {"close": 11.07, "high": 19.0},
    ],
)
def test_what_is_no_sessions_bar_is_rejected(values: dict[str, object]) -> None:
    assert rules(with_extra("2026-01-10", **values)) == [("not_a_session", "rejected")]


@pytest.mark.parametrize("volume", [0.0, NAN])
def test_a_padded_holiday_of_what_has_no_volume_is_rejected(volume: float) -> None:
    rows = [{"session_date": f"{d.date()}", "close": 11.0 + n / 100, "volume": volume} for n, d in enumerate(MONTH)]
    padded = dict.fromkeys(("open", "high", "low", "close"), 11.06) | {"session_date": "2026-01-10", "volume": volume}
    result = validate(delivery(*rows, padded), MONTH, MONTH)
    assert rules(result) == [("not_a_session", "rejected")]


@pytest.mark.parametrize("column", ["open", "high", "low"])
def test_an_infinite_range_is_none_in_whatever_delivery(column: str) -> None:
    result = judge({"session_date": "2026-01-27"}, {column: INF})
    assert result.accepted["bar_quality"].tolist() == ["ok", "range_rejected"]
    assert rules(result) == [("impossible_range", "demoted")]


def test_a_future_has_no_weekend() -> None:
    rows = [{"session_date": f"{d.date()}", "close": 11.0 + n / 100} for n, d in enumerate(MONTH)]
    raw = delivery(*rows, {"session_date": "2026-01-10", "close": 11.07, "high": 13.5})
    assert rules(validate(raw, MONTH, MONTH, weekends=False)) == [("not_a_session", "rejected")]


def test_a_file_whose_dates_are_shifted_has_no_special_sessions() -> None:
    rows = [
        {"session_date": f"{d.date() - dt.timedelta(days=1)}", "close": 11.0 + n / 100} for n, d in enumerate(MONTH)
    ]
    result = validate(delivery(*rows), MONTH, MONTH)
    assert rules(result)[1:] == [("not_a_session", "rejected")] * 4  # the Sundays
