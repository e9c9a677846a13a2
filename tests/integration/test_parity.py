"""DuckDB and Spark build the same marts from the same lake, cell by cell, and Spark's own tables are plain Parquet."""

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from benchmarks.increments import Market
from orchestration.assets.models import mart_names
from orchestration.settings import Settings
from orchestration.storage.spark_tables import tables
from tests.parity import Parity, build, generated_market, parity

pytest.importorskip("pyspark", reason="the packages of the extra `spark` are not installed")

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return generated_market(tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="module")
def found(market: Settings) -> Parity:
    return parity(market)


def test_every_mart_is_equal(found: Parity) -> None:
    assert [table.table for table in found.tables] == sorted(mart_names())
    assert [table for table in found.tables if not table.equal] == []


def test_nothing_was_compared_with_nothing(found: Parity) -> None:
    empty = {table.table for table in found.tables if not table.rows}
    # Nothing in this market was rejected when it was delivered, and no claim is about it.
    assert empty <= {"claim_checks"}


def test_any_reader_opens_the_tables_of_spark(market: Settings, found: Parity) -> None:
    assert found.tables
    folder = tables(market.spark_dir)["returns"]
    rows = pq.read_table(folder).num_rows
    assert rows == duckdb.read_parquet(str(folder / "*.parquet")).count("*").fetchall()[0][0] > 1000


def test_what_spark_builds_of_news_is_what_duckdb_builds_of_everything(tmp_path: Path) -> None:
    market = Market(tmp_path, 34, 3)
    build(market.settings, "spark")
    market.next_session()
    market.correction()
    market.new_instrument()
    found = parity(market.settings, whole=False)
    assert [table for table in found.tables if not table.equal] == []
    # It did not build everything: rows of bars that nothing has happened to are those of the first build.
    built = duckdb.read_parquet(str(tables(market.settings.spark_dir)["stg_delivered_bars"] / "*.parquet"))
    assert dict(built.aggregate("build_number, count(*)").fetchall())[1] < built.count("*").fetchall()[0][0] / 2
