"""What Spark builds of news alone is what DuckDB builds of everything."""

from pathlib import Path

import duckdb
import pytest

from benchmarks.increments import Market
from orchestration.storage.spark_tables import tables
from tests.parity import build, parity

pytest.importorskip("pyspark", reason="the packages of the extra `spark` are not installed")

pytestmark = [pytest.mark.integration, pytest.mark.slow]


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
