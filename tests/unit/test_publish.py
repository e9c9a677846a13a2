"""Published versions: whole or absent, three kept, readable with the plain client."""

import json
from pathlib import Path

import duckdb
import pytest

from orchestration.market.errors import PublishError
from orchestration.storage.publish import current_manifest, publish


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    path = tmp_path / "ware'house.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "create table daily_bars as select 'A' as symbol, date '2026-01-30' as session_date, 1.5 as close"
        )
        connection.execute("create view looks_like_a_table as select * from daily_bars")
        connection.execute("create table staging as select 1 as x")
    return path


def publish_once(warehouse: Path, published: Path, tables: tuple[str, ...] = ("daily_bars",), mark: str = "f") -> int:
    return publish(warehouse, tables, published, mark, "files", False).version


def test_a_version_holds_tables_parquet_and_manifest(warehouse: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    assert current_manifest(published) is None
    publish_once(warehouse, published, ("daily_bars", "looks_like_a_table"))
    current = published / "current"
    assert sorted(p.name for p in current.iterdir()) == [
        "daily_bars.parquet",
        "looks_like_a_table.parquet",
        "manifest.json",
        "market.duckdb",
    ]
    manifest = json.loads((current / "manifest.json").read_text())
    assert (manifest["version"], manifest["rows"]) == (1, {"daily_bars": 1, "looks_like_a_table": 1})
    with duckdb.connect(str(current / "market.duckdb"), read_only=True) as connection:
        assert connection.sql("select table_name, table_type from information_schema.tables order by 1").fetchall() == [
            ("daily_bars", "BASE TABLE"),
            ("looks_like_a_table", "BASE TABLE"),
        ]
        assert connection.sql("from daily_bars").fetchall()[0][0] == "A"


def test_the_storage_version_is_the_oldest_that_duckdb_1_reads(warehouse: Path, tmp_path: Path) -> None:
    publish_once(warehouse, tmp_path / "published")
    header = (tmp_path / "published" / "current" / "market.duckdb").read_bytes()[:64]
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") == 64  # what DuckDB 1.0 writes and reads


def test_the_last_three_versions_stay(warehouse: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    assert [publish_once(warehouse, published) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert sorted(p.name for p in (published / "versions").iterdir()) == ["3", "4", "5"]
    assert (published / "current").readlink() == Path("versions/5")


def test_an_open_reader_keeps_its_version_and_the_next_open_sees_the_new_one(warehouse: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    publish_once(warehouse, published)
    reader = duckdb.connect(str(published.resolve() / "current" / "market.duckdb"), read_only=True)
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("update daily_bars set close = 2.5")
    publish_once(warehouse, published)
    assert reader.sql("select close from daily_bars").fetchall() == [(1.5,)]
    reader.close()
    with duckdb.connect(str(published / "current" / "market.duckdb"), read_only=True) as connection:
        assert connection.sql("select close from daily_bars").fetchall() == [(2.5,)]


def test_a_failed_publication_leaves_readers_where_they_were(warehouse: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    publish_once(warehouse, published, mark="good")
    with pytest.raises(PublishError, match=r"version 2 could not be published .*readers keep the last one"):
        publish_once(warehouse, published, ("daily_bars", "no_such_table"), mark="bad")
    manifest = current_manifest(published)
    assert manifest is not None
    assert (manifest.version, manifest.fingerprint) == (1, "good")
    assert [p.name for p in (published / "versions").iterdir()] == ["1"]


def test_what_a_killed_publication_left_goes_away(warehouse: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    leftover = published / "versions" / ".building-1"
    leftover.mkdir(parents=True)
    (leftover / "market.duckdb").write_bytes(b"torn")
    (published / ".current-next").symlink_to("nowhere")
    assert publish_once(warehouse, published) == 1
    assert not leftover.exists()
    assert current_manifest(published) is not None
