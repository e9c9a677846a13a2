"""DuckDB and Spark build the same marts from the same lake, cell by cell, and Spark's own tables are plain Parquet.

Spark builds twice, everything and then what is new alone; what it has in the end is what DuckDB builds of everything.
"""

import datetime as dt
import re

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.ingest.lake import BARS, Lake
from orchestration.publish.marts import mart_names
from orchestration.settings import Settings
from orchestration.transform.spark import EVIDENCE
from orchestration.transform.spark_tables import tables
from tests.parity import Parity, build, data_tests, generated_market, parity, run_dbt

pytest.importorskip("pyspark", reason="the packages of the extra `spark` are not installed")

pytestmark = [pytest.mark.integration, pytest.mark.slow]


NEXT_WEEK = dt.timedelta(days=7)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return generated_market(tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="module")
def found(market: Settings) -> Parity:
    lake = Lake(market.paths.lake)
    bars = lake.read("bars").to_pandas()
    for path in lake.paths("bars"):
        path.unlink()
    is_new = (bars["session_date"] == bars["session_date"].max()) | (bars["symbol"] == bars["symbol"].iloc[-1])
    deliver(lake, "first", bars[~is_new])
    build(market, "spark")
    # A session, an instrument with its whole history, and a correction long ago.
    long_ago = bars[bars["symbol"] == bars["symbol"].iloc[0]].iloc[[300]]
    deliver(lake, "second", bars[is_new].assign(observed_at=bars["observed_at"] + dt.timedelta(days=2)))
    deliver(lake, "third", long_ago.assign(close=long_ago["low"], observed_at=bars["observed_at"].max() + NEXT_WEEK))
    return parity(market, whole=False)


def deliver(lake: Lake, batch: str, bars: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(bars.assign(batch_id=batch), schema=BARS, preserve_index=False)
    lake.append("bars", table, batch, 0)


def test_every_mart_is_equal(found: Parity) -> None:
    assert [table.table for table in found.tables] == sorted(mart_names())
    assert [table for table in found.tables if not table.equal] == []


def test_spark_built_what_was_new_alone(market: Settings, found: Parity) -> None:
    assert found.tables
    built = duckdb.read_parquet(str(tables(market.paths.spark)["stg_delivered_bars"] / "*.parquet"))
    assert dict(built.aggregate("build_number, count(*)").fetchall())[1] < built.count("*").fetchall()[0][0] / 2


def test_nothing_was_compared_with_nothing(found: Parity) -> None:
    empty = {table.table for table in found.tables if not table.rows}
    # No claim is about this market, and its years are too few for a tail.
    assert empty <= {"claim_checks", "return_periods", "move_return_periods"}


def test_any_reader_opens_the_tables_of_spark(market: Settings, found: Parity) -> None:
    assert found.tables
    folder = tables(market.paths.spark)["returns"]
    rows = pq.read_table(folder).num_rows
    assert rows == duckdb.read_parquet(str(folder / "*.parquet")).count("*").fetchall()[0][0] > 1000


def test_the_data_tests_find_the_same_on_both_engines(market: Settings, found: Parity) -> None:
    assert found.tables
    on_duckdb, on_spark = (data_tests(market, engine) for engine in ("duckdb", "spark"))
    assert on_spark == on_duckdb
    assert len(on_duckdb) > 100
    # The market has what they are there for.
    assert {verdict.status for verdict in on_duckdb.values()} == {"pass", "fail"}


# Minutes, and what they look at is in the market that is compared above.
@pytest.mark.torture
def test_the_unit_tests_of_the_models_hold_on_spark(market: Settings, found: Parity) -> None:
    assert found.tables  # Spark takes the types of what a test does not give from the tables
    said = run_dbt(
        market,
        "spark",
        "local[2]",
        market.paths.root / "dbt-unit",
        ["test", "--select", "test_type:unit", "--exclude", EVIDENCE],
    )
    assert "ERROR=0" in said
    assert int(re.search(r"PASS=(\d+)", said).group(1)) > 70  # type: ignore[union-attr]
