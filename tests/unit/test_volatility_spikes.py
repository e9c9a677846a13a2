"""When the mart volatility has a spike, and when it begins: the SQL that dbt compiles, on bars of more than a year."""

import datetime as dt
import math
from collections.abc import Callable, Sequence

import duckdb
import pyarrow as pa
import pytest

from tests.compiled_dbt import compiled_nodes

QUIET = 0.01
# Returns of a year, and the first bar has none.
YEAR = 252


def spikes(log_returns: Sequence[float]) -> list[tuple[bool | None, bool | None]]:
    """Whether each bar has a spike and whether one begins; the first bar stands before the first return."""
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=n) for n in range(len(log_returns) + 1)]
    bars = {
        "symbol": pa.array(["A"] * len(days)),
        "session_date": pa.array(days, pa.date32()),
        "total_return": pa.array([None, *(math.expm1(x) for x in log_returns)], pa.float64()),
        "bar_quality": pa.array(["close_only"] * len(days)),
        "is_in_points": pa.array([False] * len(days)),
        **{name: pa.nulls(len(days), pa.float64()) for name in ("open", "high", "low")},
        **{name: pa.array([4.0] * len(days)) for name in ("close", "previous_close", "dividend")},
    }
    (model,) = (node for node in compiled_nodes() if node.name == "volatility")
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("attach ':memory:' as warehouse")
        connection.register("given", pa.table(bars))
        connection.execute("create table warehouse.main.int_bars as select * from given")
        connection.execute("create table warehouse.main.int_ewma (symbol text, session_date date, variance double)")
        connection.execute(f"create table found as {model.sql}")
        return connection.execute("select is_volatility_spike, spike_began from found order by session_date").fetchall()


def returns(size: int, large: Callable[[int], float]) -> list[float]:
    """Quiet returns, up and down in turn, some of them so many times as large; the first one is number 1."""
    return [QUIET * large(n) * (1 if n % 4 in (0, 3) else -1) for n in range(1, size + 1)]


@pytest.mark.parametrize(
    ("bars", "large", "very_large", "is_spike"),
    [
        pytest.param(300, 1.56, None, True, id="yes"),
        pytest.param(300, 1.55, None, False, id="1.498 times the year"),
        pytest.param(300, 1.56, 39, True, id="12 of 252 above"),
        pytest.param(300, 1.56, 40, False, id="13 of 252 above"),
        pytest.param(272, 1.56, None, None, id="no percentile yet"),
        pytest.param(251, 1.56, None, None, id="no year yet"),
    ],
)
def test_a_spike_is_large_against_the_year_and_rare_in_it(
    bars: int, large: float, very_large: int | None, is_spike: bool | None
) -> None:
    """At least 1.5 times the volatility of the year, and at or above 95 percent of the 252 values before.

    Only with the last of 21 large returns can the ratio be reached. A very large return of more than a year ago stands
    in some of the 252 windows before, and in no other.
    """
    found = spikes(returns(bars, lambda n: 6.0 if n == very_large else large if n > bars - 21 else 1.0))
    before = [(None, None)] * min(YEAR, bars) + [(False, False)] * (bars - YEAR)
    assert found == [*before, (is_spike, is_spike)]


def test_a_spike_begins_once() -> None:
    """A second one within 5 sessions belongs to the first. Three large returns within 21 make one, two do not."""
    found = spikes(returns(410, lambda n: 3.75 if n in (380, 382, 400, 402, 408) else 1.0))
    assert found[:YEAR] == [(None, None)] * YEAR
    assert [n for n, (is_spike, _) in enumerate(found) if is_spike] == [400, 402, 408, 409, 410]
    assert [n for n, (_, began) in enumerate(found) if began] == [400, 408]
    assert {value for row in found[YEAR:] for value in row} == {True, False}
