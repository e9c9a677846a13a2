"""Whatever a source delivers: what is accepted is sound, nothing is lost, and order does not matter."""

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.market.bars import RAW_COLUMNS, VALUE_COLUMNS, raw_frame
from orchestration.market.new_versions import differs, is_new
from orchestration.market.validation import Validated, _by_rules, _without_faults, validate

bounded = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CLOSED = pd.DatetimeIndex(pd.bdate_range("2026-01-01", "2026-01-29"))
KNOWN = CLOSED.append(pd.DatetimeIndex(pd.bdate_range("2026-01-30", "2026-02-05")))

# Of a day that the calendar lacks the others decide whether it may be a session: see tests/unit/test_bars.py.
days = st.one_of(
    st.none(),
    st.sampled_from([day.date() for day in KNOWN]),
    st.dates(min_value=pd.Timestamp("2025-12-25").date(), max_value=pd.Timestamp("2025-12-31").date()),
    st.dates(min_value=pd.Timestamp("2026-01-30").date()),
)
# Few different numbers, so that flat bars, ties, duplicates and conflicts come up.
numbers = st.one_of(
    st.sampled_from([float("nan"), 0.0, 1.0, 1.5, 2.0, -1.0, float("inf"), float("-inf"), 1e-12, 1e12]),
    st.floats(),
)
rows = st.fixed_dictionaries(
    {"session_date": days, "parse_error": st.sampled_from([None, None, None, "row 3: why"])}
    | dict.fromkeys(VALUE_COLUMNS, numbers)
)
deliveries = st.lists(rows, max_size=12)
weekends = frozenset(day.date() for day in pd.date_range("2026-01-12", "2026-01-30") if day.weekday() > 4)
rows_with_small_actions = st.fixed_dictionaries(
    {
        "session_date": st.sampled_from([day.date() for day in pd.date_range("2026-01-12", "2026-01-30")]),
        "close": st.sampled_from([float("nan"), 10.0]),
        "dividend": st.sampled_from([float("nan"), 0.0, 0.25, 0.5]),
        "split_ratio": st.sampled_from([float("nan"), 0.0, 1.0, 2.0, 0.25]),
    }
).map(lambda row: row | {"close": float("nan")} if row["session_date"] in weekends else row)


def frame(delivered: list[dict[str, object]]) -> pd.DataFrame:
    columns: dict[str, object] = {
        name: [row.get(name) for row in delivered] for name in RAW_COLUMNS if name not in ("origin", "row_number")
    }
    return raw_frame(columns | {"row_number": np.arange(len(delivered))})


def actions_alone(delivered: list[dict[str, object]]) -> pd.DataFrame:
    """Rows that were quarantined because they have no close, with the dividend and split that they had."""
    raw, rejected = frame(delivered), judge(delivered).rejected
    carried = [n for n, detail in zip(rejected["row_number"], rejected["detail"], strict=True) if " went to " in detail]
    return raw[raw["row_number"].isin(carried)]


def judge(delivered: list[dict[str, object]]) -> Validated:
    return validate(frame(delivered), CLOSED, KNOWN)


@bounded
@given(deliveries)
def test_accepted_bars_are_sound(delivered: list[dict[str, object]]) -> None:
    bars = judge(delivered).accepted
    assert bars["session_date"].is_monotonic_increasing
    assert bars["session_date"].is_unique
    assert bars["session_date"].isin(CLOSED).all()
    assert (np.isfinite(bars["close"]) & (bars["close"] > 0)).all()
    assert ((bars["dividend"] >= 0) & np.isfinite(bars["dividend"])).all()
    assert ((bars["split_ratio"] > 0) & np.isfinite(bars["split_ratio"])).all()
    assert (bars["adj_close"].isna() | ((bars["adj_close"] > 0) & np.isfinite(bars["adj_close"]))).all()
    assert (bars["volume"].isna() | ((bars["volume"] >= 0) & np.isfinite(bars["volume"]))).all()
    ranged = bars["bar_quality"].isin(["ok", "flat"])
    prices = bars.loc[ranged, ["open", "high", "low", "close"]]
    assert (np.isfinite(prices) & (prices > 0)).all(axis=None)
    assert (prices["high"] >= prices[["open", "close", "low"]].max(axis=1)).all()
    assert (prices["low"] <= prices[["open", "close", "high"]].min(axis=1)).all()
    assert bars.loc[~ranged, ["open", "high", "low"]].isna().all(axis=None)
    assert set(bars["bar_quality"]) <= {"ok", "flat", "close_only", "range_rejected"}


@bounded
@given(deliveries)
def test_nothing_is_lost(delivered: list[dict[str, object]]) -> None:
    result = judge(delivered)
    raw = frame(delivered)
    rejected = result.rejected[result.rejected["severity"] == "rejected"]
    demoted = result.rejected[result.rejected["severity"] == "demoted"]
    assert rejected["row_number"].is_unique
    assert demoted["session_date"].isin(result.accepted["session_date"]).all()
    assert not set(rejected["row_number"]) & set(demoted["row_number"])
    open_sessions = raw["session_date"].isin(KNOWN) & ~raw["session_date"].isin(CLOSED)
    assert result.held_back == open_sessions.sum()
    # What remains is either silent, or one of several equal rows of an accepted session.
    rest = raw[~open_sessions & ~raw["row_number"].isin(rejected["row_number"])]
    silent = rest["close"].isna()
    assert (rest.loc[silent, list(VALUE_COLUMNS)].fillna(0) == 0).all(axis=None)
    kept = rest[~silent]
    assert set(kept["session_date"]) == set(result.accepted["session_date"])
    assert len(kept.drop_duplicates(["session_date", *VALUE_COLUMNS])) == len(result.accepted)


@bounded
@given(deliveries.flatmap(lambda delivered: st.tuples(st.just(delivered), st.permutations(delivered))))
def test_order_of_delivery_does_not_matter(
    orders: tuple[list[dict[str, object]], list[dict[str, object]]],
) -> None:
    first, second = (judge(delivered) for delivered in orders)
    pd.testing.assert_frame_equal(first.accepted, second.accepted)
    assert first.held_back == second.held_back
    columns = ["session_date", "rule", "severity", "detail", "raw"]
    left, right = (r.rejected[columns].astype(str).sort_values(columns, ignore_index=True) for r in (first, second))
    pd.testing.assert_frame_equal(left, right)


@bounded
@given(st.lists(rows_with_small_actions, max_size=12))
def test_actions_go_to_the_next_bar_and_to_no_other(delivered: list[dict[str, object]]) -> None:
    result = judge(delivered)
    alone = actions_alone(delivered)
    assert alone["close"].isna().all()
    # Rows that were not carried: the same delivery without the rows that were.
    rest = judge([row for place, row in enumerate(delivered) if place not in set(alone["row_number"])])
    bars = result.accepted.set_index("session_date")
    want = rest.accepted.set_index("session_date")
    assert bars.index.equals(want.index)
    for day, row in alone.drop_duplicates("session_date").set_index("session_date").iterrows():
        target = want.index[want.index > day][0]
        want.loc[target, "dividend"] += row["dividend"] if row["dividend"] > 0 else 0.0
        want.loc[target, "split_ratio"] *= row["split_ratio"] if row["split_ratio"] > 0 else 1.0
    pd.testing.assert_frame_equal(bars, want)


@bounded
@given(deliveries)
def test_validating_again_changes_nothing(delivered: list[dict[str, object]]) -> None:
    once = judge(delivered).accepted
    again = validate(raw_frame({name: once[name] for name in ("session_date", *VALUE_COLUMNS)}), CLOSED, KNOWN)
    assert again.rejected.empty
    assert again.held_back == 0
    # A bar that lost its range is, looked at anew, one that never had it.
    expected = once.assign(bar_quality=once["bar_quality"].replace("range_rejected", "close_only"))
    pd.testing.assert_frame_equal(again.accepted, expected)
    assert not differs(once, once).any()


@bounded
@given(deliveries)
def test_what_is_delivered_is_left_as_it_was(delivered: list[dict[str, object]]) -> None:
    raw = frame(delivered)
    before = raw.copy(deep=True)
    validate(raw, CLOSED, KNOWN)
    pd.testing.assert_frame_equal(raw, before)


mostly_sound = st.lists(
    st.fixed_dictionaries(
        {
            "session_date": st.sampled_from([day.date() for day in KNOWN]),
            "open": st.sampled_from([1.5, 1.5, 1.5, 2.0, float("nan")]),
            "high": st.sampled_from([2.0, 2.0, 2.0, 1.5, float("nan"), float("inf"), 99.0]),
            "low": st.sampled_from([1.5, 1.5, 1.5, 1.0, float("nan"), 0.0]),
            "close": st.sampled_from([1.5, 1.5, 1.5, 2.0, float("nan")]),
        }
        | dict.fromkeys(("adj_close", "volume", "dividend", "split_ratio"), st.sampled_from([1.0, 0.0, float("nan")]))
    ),
    max_size=8,
    unique_by=lambda row: row["session_date"],
).map(lambda delivered: sorted(delivered, key=lambda row: row["session_date"]))


@settings(max_examples=50, deadline=None)
@given(st.one_of(mostly_sound, deliveries))
def test_the_short_way_of_a_sound_delivery_is_the_long_one(delivered: list[dict[str, object]]) -> None:
    short, long = (
        _without_faults(frame(delivered), CLOSED, KNOWN),
        _by_rules(frame(delivered), CLOSED, KNOWN, None, weekends=True),
    )
    if short is not None:
        pd.testing.assert_frame_equal(short.accepted, long.accepted)
        pd.testing.assert_frame_equal(short.rejected, long.rejected)
        assert short.held_back == long.held_back
    # What has been accepted is sound, and goes the short way.
    again = raw_frame({name: long.accepted[name] for name in ("session_date", *VALUE_COLUMNS)})
    assert (_without_faults(again, CLOSED, KNOWN) is None) == long.accepted.empty


@bounded
@given(st.one_of(mostly_sound, deliveries), st.one_of(mostly_sound, deliveries))
def test_news_are_what_differs_or_is_not_stored(
    first: list[dict[str, object]], second: list[dict[str, object]]
) -> None:
    stored, accepted = judge(first).accepted, judge(second).accepted
    if stored.empty:
        return
    aligned = accepted[["session_date"]].merge(stored, on="session_date", how="left").set_index(accepted.index)
    assert is_new(accepted, stored).tolist() == differs(accepted, aligned).tolist()
