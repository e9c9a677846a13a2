"""Published versions: whole or absent, three kept, readable with the plain client."""

import json
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

from orchestration.assets.models import dbt_complaint, dbt_failures, mart_grains, marts
from orchestration.assets.publish import audited_fingerprint
from orchestration.market.errors import PublishError
from orchestration.settings import Settings
from orchestration.storage.fingerprint import definitions_of, fingerprint
from orchestration.storage.lake import Lake
from orchestration.storage.publish import Mart, current_manifest, publish
from orchestration.storage.records import read_record, remove_records, write_record


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


GRAIN = ("symbol", "session_date")


def publish_once(
    warehouse: Path,
    published: Path,
    tables: Mapping[str, tuple[str, ...]] = {"daily_bars": GRAIN},
    mark: str = "f",
) -> int:
    marts = {name: Mart(grain) for name, grain in tables.items()}
    return publish(warehouse, marts, published, mark, "files", False).version


def test_a_fingerprint_names_the_definitions_apart(tmp_path: Path) -> None:
    control, project = tmp_path / "control", tmp_path / "project"
    control.mkdir()
    (project / "models" / "marts").mkdir(parents=True)

    def change(path: Path, text: str) -> tuple[bool, bool]:
        """Whether the fingerprint, and whether its definitions, are others after a file has changed."""
        before = fingerprint(Lake(tmp_path / "lake"), control, project)
        path.write_text(text, "utf-8")
        now = fingerprint(Lake(tmp_path / "lake"), control, project)
        return now != before, definitions_of(now) != definitions_of(before)

    assert change(control / "move_rules.parquet", "5 %") == (True, True)
    assert change(control / "move_rules.parquet", "5 %") == (False, False)
    assert change(control / "price_levels.parquet", "54") == (True, True)
    assert change(project / "models" / "marts" / "level_events.sql", "select 1") == (True, True)
    # One more day, another claim, other words: the same events in the same bars.
    assert change(control / "sessions.parquet", "Friday") == (True, False)
    assert change(control / "published_claims.parquet", "a claim") == (True, False)
    assert change(project / "models" / "marts" / "level_events.yml", "words") == (True, False)
    assert definitions_of("of an earlier version") == ""


def test_a_version_holds_tables_parquet_and_manifest(warehouse: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    assert current_manifest(published) is None
    publish_once(warehouse, published, {"daily_bars": GRAIN, "looks_like_a_table": ()})
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
        publish_once(warehouse, published, {"daily_bars": GRAIN, "no_such_table": ()}, mark="bad")
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


def test_tables_are_ordered_by_their_grain_whatever_its_columns_are(warehouse: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("create table claims as select * from (values ('b', 1), ('a', 2)) as t(claim_id, n)")
        connection.execute('create table no_grain as select * from (values (2, 1), (1, 2), (1, 1)) as t(x, "order")')
    published = tmp_path / "published"
    publish_once(warehouse, published, {"claims": ("claim_id",), "no_grain": ()})
    for name, expected in (("claims", [("a", 2), ("b", 1)]), ("no_grain", [(1, 1), (1, 2), (2, 1)])):
        with duckdb.connect(str(published / "current" / "market.duckdb"), read_only=True) as connection:
            assert connection.sql(f"from {name}").fetchall() == expected
        assert duckdb.sql(f"from '{published}/current/{name}.parquet'").fetchall() == expected


def test_marts_come_from_the_manifest(tmp_path: Path) -> None:
    def grain(model: str, *columns: str) -> dict:
        metadata = {"name": "grain", "kwargs": {"columns": list(columns)}}
        return {"resource_type": "test", "name": "t", "attached_node": model, "test_metadata": metadata}

    def model(name: str, folder: str) -> dict:
        columns = {"at": {"description": "When.", "config": {"tags": ["run_time"]}}}
        said = {"description": f"Of {name}.", "columns": columns}
        return {"resource_type": "model", "name": name, "fqn": ["orewatch", folder, name], **said}

    nodes = {
        "m.events": model("events", "marts"),
        "m.bare": model("bare", "marts"),
        "m.stg": model("stg", "staging"),
        "t.1": grain("m.events", "event_id"),
        "t.2": grain("m.events", "level_id", "session_date"),
        "t.3": grain("m.stg", "symbol"),
        "t.4": {"resource_type": "test", "name": "singular", "attached_node": None},
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": nodes, "unit_tests": {}, "child_map": {}}))
    assert marts(tmp_path / "manifest.json") == {
        "bare": Mart((), "Of bare.", {"at": "When."}, frozenset({"at"})),
        "events": Mart(("level_id", "session_date"), "Of events.", {"at": "When."}, frozenset({"at"})),
    }
    assert mart_grains()["claim_checks"] == ("claim_id",)
    assert all(mart_grains().values())


def test_a_record_is_whole_or_absent(tmp_path: Path) -> None:
    record = tmp_path / "sample" / "build.json"
    assert read_record(record) is None
    remove_records(record)
    write_record(record, "abc")
    write_record(record, "def")
    assert read_record(record) == "def"
    assert [p.name for p in record.parent.iterdir()] == ["build.json"]
    for torn in ("", "{", "[]", "{}", '{"fingerprint": null}', '{"fingerprint": ""}'):
        record.write_text(torn)
        assert read_record(record) is None
    remove_records(record)
    assert not record.exists()


def test_only_a_build_that_was_audited_is_published(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    one_line = (
        "^the tables have not been built and audited since the last fetch; materialize all, or run orewatch refresh$"
    )
    for built, audited in ((None, None), ("a", None), (None, "a"), ("a", "b")):
        remove_records(settings.build_record, settings.audit_record)
        for path, mark in ((settings.build_record, built), (settings.audit_record, audited)):
            if mark:
                write_record(path, mark)
        with pytest.raises(PublishError, match=one_line):
            audited_fingerprint(settings)
    write_record(settings.build_record, "b")
    assert audited_fingerprint(settings) == "b"


def test_what_dbt_says_when_it_stops(tmp_path: Path) -> None:
    assert dbt_failures(tmp_path / "run_results.json") == ""
    (tmp_path / "run_results.json").write_text(
        json.dumps(
            {"results": [{"unique_id": "model.orewatch.returns", "status": "error", "message": " Bad\n  line 2"}]}
        )
    )
    assert dbt_failures(tmp_path / "run_results.json") == "returns: Bad"
    logged = Exception("The dbt CLI process failed.\n\nErrors parsed from dbt logs:\n\nIO Error\n  no lock")
    assert dbt_complaint(logged) == "IO Error no lock"
    assert dbt_complaint(Exception("failed with exit code `1`.")) == "failed with exit code `1`."
    assert dbt_complaint(None) == "dbt did not say why it stopped"
