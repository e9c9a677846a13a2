"""Every dispatched macro gives the same on DuckDB and on Spark, NULLs, ties and leap days included."""

import datetime as dt
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from jinja2 import Template

from tests.engines import dispatched, macro

pyspark = pytest.importorskip("pyspark", reason="the packages of the extra `spark` are not installed")

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# For each macro: a query on the table `bars`, in which m calls a macro and w is a window.
CASES = {
    "in_batch": "select symbol, session_date, t as x from bars where {{ m('in_batch', 'bars') }}",
    "days_between": "select symbol, session_date, {{ m('days_between', 'session_date', 'other_date') }} as x from bars",
    "joined_texts": "select symbol, {{ m('joined_texts', 'kind') }} as x from bars group by symbol",
    "multiples_as_text": (
        "select symbol, session_date, {{ m('multiples_as_text', 'a', 'b', 'sign(b - a)', 'step') }} as x"
        " from (select *, 9.0 as a, case when place % 2 = 0 then 12.0 else 7.0 end as b,"
        " power(10.0, place % 4 - 2) as step from bars) as steps"
    ),
    "last_known": (
        "select symbol, session_date, {{ m('last_known', 'v') }} over w as x"
        " from bars {{ w('unbounded preceding and current row') }}"
    ),
    "extreme_so_far": (
        "select symbol, session_date, {{ m('extreme_so_far', 'max', 'v', 'w') }} as x,"
        " {{ m('extreme_so_far', 'min', 'v', 'w') }} as y from bars {{ w('unbounded preceding and 1 preceding') }}"
    ),
    "last_since_first": (
        "select symbol, session_date,"
        " {{ m('last_since_first', 'case when place = 1 then -1.0 else v end', ['symbol']) }} as x"
        " from (select * from bars order by symbol, place) as in_order"
    ),
    "running_sum": (
        "select symbol, session_date, cast({{ m('sum_of_series', 'total', 'x', ['symbol']) }} as double) as x from ("
        "select *, {{ m('running_sum', 'x', ['symbol']) }} as total from ("
        "select *, cast(t as decimal(38, 18)) as x from bars order by symbol, place) as in_order) as added_up"
    ),
    "first_at_largest": (
        "select symbol, session_date, {{ m('first_at_largest', 't', 'abs(t)', 'session_date', 'w') }} as x"
        " from bars {{ w('20 preceding and current row') }}"
    ),
    "over_later_rows": (
        "select symbol, session_date, {{ m('over_later_rows', 'sum(v)', ['symbol'], 'session_date') }} as x,"
        " {{ m('over_later_rows', 'max(t)', ['symbol', 'kind'], 'session_date') }} as y from bars"
    ),
    "extreme_of_year_before": (
        "select symbol, session_date, {{ m('extreme_of_year_before', 'max', 'v') }} as x,"
        " {{ m('extreme_of_year_before', 'min', 'v') }} as y from bars"
    ),
    "median_over": (
        "select symbol, session_date, {{ m('median_over', 'v', 'w') }} as x"
        " from bars {{ w('7 preceding and 1 preceding') }}"
    ),
    "median_absolute_deviation": (
        "select symbol, session_date, {{ m('median_absolute_deviation', 'v', 'w') }} as x"
        " from bars {{ w('7 preceding and 1 preceding') }}"
    ),
    "median_absolute_deviation of a group": (
        "select symbol, kind, {{ m('median_absolute_deviation', 'v') }} as x from bars group by symbol, kind"
    ),
    "percentile_among_previous": (
        "select symbol, session_date, {{ m('percentile_among_previous', 't', 6, 'w') }} as x,"
        " {{ m('percentile_among_previous', 'v', 6, 'w') }} as y from bars {{ w('6 preceding and current row') }}"
    ),
    "ordered_mean": "select symbol, {{ m('ordered_mean', 'v', 'session_date') }} as x from bars group by symbol",
    "carried_on": (
        "select symbol, session_date,"
        " {{ m('carried_on', 'cast(2 as double)', 't', 'w', 'power(0.94, 3)', '0.06') }} as x"
        " from bars {{ w('unbounded preceding and current row') }}"
    ),
}
# Seen elsewhere: of `place_ago` and `failure` all that is built tells, ranks over frames are DuckDB's alone, and the
# sum of a series stands beside the running one.
ELSEWHERE = {"place_ago", "failure", "ranks_over_frames", "earlier_as_large", "sum_of_series"}


def test_every_macro_has_a_case() -> None:
    assert {name.split(" of ")[0] for name in CASES} | ELSEWHERE == set(dispatched())


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two symbols with holes, over two leap days; `v` is sometimes unknown, `t` is known and full of ties."""
    rng = np.random.default_rng(4)
    rows = []
    for symbol, n in (("AAA", 700), ("BBB", 40)):
        days = pd.bdate_range("2023-01-02", periods=2 * n)[np.sort(rng.choice(2 * n, n, replace=False))].union(
            pd.to_datetime(["2024-02-29", "2025-02-28"] if symbol == "AAA" else [])
        )
        for place, day in enumerate(days, 1):
            rows.append(
                {
                    "symbol": symbol,
                    "session_date": day.date(),
                    "other_date": day.date() + dt.timedelta(int(rng.integers(-400, 400))),
                    "kind": str(rng.choice(["a", "b", "c"])),
                    "place": place,
                    "v": None if rng.random() < 0.1 else round(float(rng.normal(0, 3)), 3),
                    "t": float(rng.integers(-3, 4)),
                }
            )
    path = tmp_path_factory.mktemp("bars") / "bars.parquet"
    pd.DataFrame(rows).to_parquet(path, index=False)
    return path


@pytest.fixture(scope="module")
def spark(bars: Path) -> Iterator[Any]:
    session = (
        pyspark.sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.warehouse.dir", str(bars.parent / "tables"))
        .getOrCreate()
    )
    session.read.parquet(str(bars)).createOrReplaceTempView("bars")
    yield session
    session.stop()


def _query(engine: str, case: str) -> str:
    def window(frame: str) -> str:
        return f"window w as (partition by symbol order by session_date rows between {frame})"

    return Template(case).render(m=lambda *given: macro(engine, *given), w=window)


@pytest.mark.parametrize("name", CASES)
def test_both_engines_say_the_same(name: str, bars: Path, spark: Any) -> None:
    with duckdb.connect() as connection:
        connection.read_parquet(str(bars)).create_view("bars")
        ours = connection.execute(_query("duckdb", CASES[name])).fetchall()
    theirs = [tuple(row) for row in spark.sql(_query("spark", CASES[name])).collect()]
    assert len(ours) == len(theirs) > 1
    known = 0
    for rows in (ours, theirs):
        rows.sort(key=lambda row: [str(value) for value in row[:2]])
    for left, right in zip(ours, theirs, strict=True):
        for a, b in zip(left, right, strict=True):
            known += a is not None
            if isinstance(a, float) and isinstance(b, float):
                assert math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12), (left, right)
            else:
                assert a == b, (left, right)
    assert known > 2 * len(ours) * 0.9


@pytest.mark.parametrize(("engine", "says"), [("duckdb", True), ("spark", False)])
def test_ranks_over_frames_are_duckdbs(engine: str, says: bool) -> None:
    assert macro(engine, "ranks_over_frames") is says


def test_failure_ends_the_query(spark: Any) -> None:
    with duckdb.connect() as connection, pytest.raises(duckdb.Error, match="rows out of order"):
        connection.execute(f"select {macro('duckdb', 'failure', repr('rows out of order'))}").fetchall()
    with pytest.raises(Exception, match="rows out of order"):
        spark.sql(f"select {macro('spark', 'failure', repr('rows out of order'))}").collect()


def test_place_ago_is_the_row_before(bars: Path, spark: Any) -> None:
    sql = "select symbol, place, {} as before from (select * from bars order by symbol, place) as in_order"
    with duckdb.connect() as connection:
        connection.read_parquet(str(bars)).create_view("bars")
        ours = connection.execute(sql.format(macro("duckdb", "place_ago", "v", 2, ["symbol"]))).fetchall()
    theirs = [tuple(row) for row in spark.sql(sql.format(macro("spark", "place_ago", "v", 2, ["symbol"]))).collect()]
    # Only where the caller knows that there is one.
    assert sorted(r for r in ours if r[1] > 2) == sorted(r for r in theirs if r[1] > 2)
