"""Each rule that accepts, demotes, rejects or holds back a raw bar."""

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest

from orchestration.market.bars import (
    PRICE_COLUMNS,
    RAW_COLUMNS,
    VALUE_COLUMNS,
    Validated,
    differs,
    empty_raw,
    quarantine_id,
    raw_frame,
    validate,
)

NAN = float("nan")
INF = float("inf")
# The week of 30 January 2026; the last session that has closed is Thursday's.
CLOSED = pd.DatetimeIndex(["2026-01-26", "2026-01-27", "2026-01-28", "2026-01-29"])
KNOWN = CLOSED.append(pd.DatetimeIndex(["2026-01-30", "2026-02-02", "2026-02-03", "2026-02-04", "2026-02-05"]))
GOOD = {
    "session_date": "2026-01-28", "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "adj_close": 10.9,
    "volume": 1000.0, "dividend": 0.0, "split_ratio": 1.0, "origin": "SIL.csv", "row_number": 7,
}  # fmt: skip


def delivery(*rows: dict[str, object]) -> pd.DataFrame:
    """A delivery of rows that are good but for what is given."""
    full = [GOOD | {"parse_error": None} | row for row in rows]
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
        ({"session_date": "1900-01-01"}, "not_a_session", "the exchange held no session on that day"),
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


@pytest.mark.parametrize("column", VALUE_COLUMNS)
def test_conflicting_duplicates_are_all_rejected(column: str) -> None:
    result = judge({}, {column: 11.5, "row_number": 8}, {"session_date": "2026-01-29"})
    assert [str(day.date()) for day in result.accepted["session_date"]] == ["2026-01-29"]
    assert rules(result) == [("duplicate_session", "rejected")] * 2
    assert result.rejected["row_number"].tolist() == [7, 8]


def test_a_value_conflicts_with_an_unknown_one() -> None:
    assert rules(judge({}, {"volume": NAN})) == [("duplicate_session", "rejected")] * 2


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
