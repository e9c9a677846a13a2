"""The content hash: what changes it, and what does not."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from orchestration.publish.content_hash import content_hash, table_hash
from orchestration.publish.manifest import current_manifest
from orchestration.publish.marts import Mart, marts
from orchestration.publish.versions import publish
from orchestration.settings import DBT_PROJECT_DIR

ROWS = "(values ('a', 1.5::double, date '2026-01-30'), ('b', null, null), ('b', null, null)) as t(symbol, x, day)"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        yield made


def test_order_on_disk_does_not_count(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("create table many as select i, i / 7 as x, 's' || i % 5 as s from range(100000) as t(i)")
    found = {table_hash(connection.sql(f"from many order by {o}")) for o in ("i", "i desc", "hash(i)", "s, x")}
    connection.execute("set threads = 1")
    assert found == {table_hash(connection.table("many"))}
    assert len(found.pop()) == 32


@pytest.mark.parametrize(
    "changed",
    [
        "select * from {rows} where symbol = 'a'",
        "select distinct * from {rows}",
        "select * from {rows} union all select 'c', null, null",
        "select symbol, x + 1e-16 * 2 as x, day from {rows}",
        "select symbol, coalesce(x, 0) as x, day from {rows}",
        "select symbol, x as y, day from {rows}",
        "select symbol, x::float as x, day from {rows}",
        "select x, symbol, day from {rows}",
        "select symbol, x, day + interval 1 day as day from {rows}",
        "select symbol, x, cast(day + interval 1 day as date) as day from {rows}",
        "select symbol || ' ' as symbol, x, day from {rows}",
        "select reverse(symbol) || chr(0) as symbol, x, day from {rows}",
    ],
)
def test_every_change_of_content_counts(connection: duckdb.DuckDBPyConnection, changed: str) -> None:
    before = table_hash(connection.sql(f"select * from {ROWS}"))  # noqa: S608
    assert table_hash(connection.sql(changed.format(rows=ROWS))) != before


def test_values_that_change_places_count(connection: duckdb.DuckDBPyConnection) -> None:
    pairs = [
        "(values (1, 2), (3, 4))",
        "(values (2, 1), (3, 4))",
        "(values (1, 4), (3, 2))",
        "(values (1, 1), (1, 1), (3, 4), (1, 2))",
        "(values (2, 2), (2, 2), (3, 4), (1, 2))",
    ]
    assert len({table_hash(connection.sql(f"from {p} as t(a, b)")) for p in pairs}) == len(pairs)


def test_a_table_without_rows_and_one_without_counted_columns(connection: duckdb.DuckDBPyConnection) -> None:
    empty = connection.sql("select 1 as a where false")
    assert table_hash(empty) == table_hash(connection.sql("select 2 as a where false"))
    assert table_hash(empty) != table_hash(connection.sql("select 1 as a"))


def test_when_a_run_saw_something_does_not_count(connection: duckdb.DuckDBPyConnection) -> None:
    first, second = (
        connection.sql(f"select 'a' as symbol, timestamp '2026-01-30' + interval {n} hour as observed_at")
        for n in (1, 2)
    )
    assert table_hash(first) != table_hash(second)
    assert table_hash(first, {"observed_at"}) == table_hash(second, {"observed_at"})


def test_the_hash_of_all_tables() -> None:
    assert content_hash({"a": "1", "b": "2"}) == content_hash({"b": "2", "a": "1"})
    assert len({content_hash(t) for t in ({}, {"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"})}) == 5


def test_equal_content_in_another_version_has_an_equal_hash(tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse.duckdb"

    def version(order: str, hour: int) -> str:
        with duckdb.connect(str(warehouse)) as made:
            made.execute(
                f"create or replace table bars as select i % 7 as symbol, i / 3 as x, timestamp '2026-01-30' +"  # noqa: S608
                f" interval {hour} hour as observed_at from range(5000) as t(i) order by {order}"
            )
        # The grain leaves rows in any order among themselves.
        bars = Mart(("symbol",), run_times=frozenset({"observed_at"}))
        manifest = publish(warehouse, {"bars": bars}, tmp_path / "p", str(hour), "files", False)
        assert manifest == current_manifest(tmp_path / "p")
        assert manifest.content_hash == content_hash(manifest.hashes)
        assert manifest.hashed_by == f"duckdb {duckdb.__version__}"
        return manifest.content_hash

    assert version("i", 1) == version("i desc", 2) == version("hash(i)", 3)


def test_a_manifest_of_another_release_is_read(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    said = {"version": 3, "fingerprint": "f", "source": "files", "simulated": False, "published_at": "x", "rows": {}}
    for more in ({}, {"something_new": 1}):
        (tmp_path / "current" / "manifest.json").write_text(json.dumps(said | more))
        manifest = current_manifest(tmp_path)
        assert manifest is not None
        assert (manifest.version, manifest.content_hash, manifest.hashes) == (3, "", {})


def test_moments_of_the_marts_are_times_of_runs() -> None:
    """A mart's market time is a date; a timestamp says when we saw something, and is tagged so."""
    nodes = json.loads((DBT_PROJECT_DIR / "target" / "manifest.json").read_text("utf-8"))["nodes"]
    for name, mart in marts().items():
        columns = nodes[f"model.orewatch.{name}"]["columns"]
        moments = {column for column, facts in columns.items() if facts["data_type"].startswith("timestamp")}
        assert moments <= mart.run_times, name
        assert "batch_id" not in columns or "batch_id" in mart.run_times
