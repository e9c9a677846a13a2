"""What the data test `vendor_adjustment_agrees` finds: the SQL that dbt compiles, on bars of a dividend each day."""

import datetime as dt
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from tests.compiled_dbt import compiled_nodes

DAYS = [dt.date(2026, 1, 5) + dt.timedelta(days=n) for n in range(8)]
# A dividend of a quarter each day: the adjusted close doubles, in Yahoo's form, each time that the close grows by half.
CLOSES = [256 * 1.5**n for n in range(8)]


def disagreeing(adjusted: Sequence[float], built: int = 8) -> int:
    """How many returns of an instrument disagree, 0 if it is not named, where its last bars were built."""
    bars = pa.table(
        {
            "symbol": ["A"] * 8,
            "session_date": pa.array(DAYS, pa.date32()),
            "previous_date": pa.array([None, *DAYS[:-1]], pa.date32()),
            "close": CLOSES,
            "previous_close": [None, *CLOSES[:-1]],
            "dividend": [0.0, *(close / 4 for close in CLOSES[:-1])],
            "adj_close": list(adjusted),
            "close_as_traded": [close + 1e-6 for close in CLOSES],
            "tick_size": [0.01] * 8,
            "sessions_since_previous": pa.array([None, *[1] * 7], pa.int64()),
        }
    )
    (test,) = (node for node in compiled_nodes() if node.name.startswith("vendor_adjustment_agrees"))
    tested = '"warehouse"."main"."daily_bars"'
    assert test.sql.count(tested) == 1
    last = f"(from warehouse.main.int_bars where session_date >= '{DAYS[-built]}')"
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("attach ':memory:' as warehouse")
        connection.register("given", bars)
        connection.execute("create table warehouse.main.int_bars as select * from given")
        found = connection.execute(test.sql.replace(tested, last)).fetchall()
    return sum(count for _, count in found)


def vendors(*wrong: int) -> list[float]:
    """The vendor's adjusted closes, of which some returns are a thousandth too large."""
    return [2.0**n / 3 * 1.001 ** sum(day <= n for day in wrong) for n in range(8)]


def test_what_the_vendor_adjusts_as_we_do_agrees() -> None:
    assert disagreeing(vendors()) == 0


def test_more_than_two_returns_that_differ_are_named() -> None:
    assert disagreeing(vendors(2, 5)) == 0
    assert disagreeing(vendors(2, 5, 6)) == 3


def test_the_first_bar_that_was_built_is_held_against_the_stored_one_before() -> None:
    assert disagreeing(vendors(2, 5, 6, 7), built=3) == 3
    assert disagreeing(vendors(2, 5, 6, 7), built=2) == 0
