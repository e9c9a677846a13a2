"""Published versions: whole or absent, three kept, readable with the plain client."""

import datetime as dt
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from benchmarks.increments import incremental_build
from orchestration.cli.compare import compare
from orchestration.duckdb_io import reading, rows
from orchestration.ingest.lake import Lake
from orchestration.market.errors import PublishError
from orchestration.publish.content_hash import table_hash
from orchestration.publish.manifest import (
    PublishedManifest,
    current_manifest,
    is_in_place,
    table_sql,
    version_file,
    version_folder,
)
from orchestration.publish.marts import Mart, mart_grains, marts
from orchestration.publish.tables import write_tables
from orchestration.publish.versions import copy_version, publish
from orchestration.transform.build_state import BuildState, changed_since, note_published, take_back
from orchestration.transform.fingerprint import definitions_of, fingerprint
from orchestration.transform.manifest import mart_ids, read_manifest
from orchestration.transform.run_results import Ran, dbt_complaint, dbt_failures, stopped

CHANGED_FROM, REVISED_FROM = "int_changes.changed_from", "int_changes.revised_from"
RELATIVE_FROM, RANKED_ON = "int_relative_changes.changed_from", "int_ranked_changes.session_date"


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
    **others: int,
) -> int:
    marts = {name: Mart(grain) for name, grain in tables.items()}
    return publish(warehouse, marts, published, mark, "files", False, **others).version


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


def test_as_many_versions_stay_as_are_to_be_kept(warehouse: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    for kept in (5, 5, 5, 5, 5, 4, 2, 3):
        publish_once(warehouse, published, versions_kept=kept)
    assert sorted(p.name for p in (published / "versions").iterdir()) == ["6", "7", "8"]


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
        metadata = {"name": "unique_combination_of_columns", "kwargs": {"combination_of_columns": list(columns)}}
        return {"resource_type": "test", "name": "t", "attached_node": model, "test_metadata": metadata}

    def model(name: str, folder: str, **meta: object) -> dict:
        columns = {"at": {"description": "When.", "config": {"tags": ["run_time"]}}}
        config = {"materialized": "table" if name == "bare" else "incremental_by_symbol", "meta": meta}
        said = {"description": f"Of {name}.", "columns": columns, "config": config}
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
    (tmp_path / "manifest.json").write_text(
        json.dumps({"nodes": nodes, "sources": {}, "unit_tests": {}, "child_map": {}})
    )
    assert marts(tmp_path / "manifest.json") == {
        "bare": Mart((), "Of bare.", {"at": "When."}, frozenset({"at"})),
        "events": Mart(("level_id", "session_date"), "Of events.", {"at": "When."}, frozenset({"at"}), (CHANGED_FROM,)),
    }
    ours = {name: mart.changed_ranges for name, mart in marts().items()}
    assert ours["daily_bars"] == ours["returns"] == (CHANGED_FROM,)
    assert ours["sector_relative"] == (RELATIVE_FROM, RANKED_ON)
    assert ours["price_revisions"] == (REVISED_FROM,)
    assert ours["sector_daily"] == ours["data_coverage"] == ()
    assert mart_grains()["claim_checks"] == ("claim_id",)
    assert all(mart_grains().values())


def test_a_mart_names_the_changed_ranges_of_all_that_replaces_its_rows() -> None:
    """Or a publication would leave rows as they were that a build has replaced."""
    nodes, ours = read_manifest()["nodes"], marts()
    for id_ in mart_ids(nodes):
        config = nodes[id_]["config"]
        if ranges := ours[nodes[id_]["name"]].changed_ranges:
            # A hook has a range of its own; so would keys by which rows go, or another date.
            assert len(ranges) == 1 + len(config["post-hook"]), id_
            assert not config["unique_key"], id_
            assert config["meta"].keys().isdisjoint({"changed_by", "changed_keys"}), id_


class Market:
    """A warehouse with a large table of five years and a small one, and its publications.

    Args:
        folder: an empty one.
    """

    YEARS = range(2020, 2025)

    def __init__(self, folder: Path) -> None:
        self.folder, self.published = folder, folder / "pub'lished"
        self.marts = {
            "bars": Mart(GRAIN, run_times=frozenset({"observed_at"}), changed_ranges=(CHANGED_FROM,)),
            "names": Mart(("symbol",), changed_ranges=(CHANGED_FROM, REVISED_FROM, RELATIVE_FROM, RANKED_ON)),
        }
        self.warehouse, self.state = folder / "warehouse.duckdb", folder / "build_state.json"
        self.run(
            """
            create table bars as
            select
                symbol, cast(day as date) as session_date, 0.1 * epoch(day) as close, cast(1.5 as decimal(38, 18)) as d,
                timestamp '2026-01-01 12:00:00' as observed_at, case when symbol = 'B' then 'x' end as note
            from range(date '2020-01-01', date '2025-01-01', interval 1 day) as days(day)
            cross join (values ('B'), ('A')) as symbols(symbol)
            """,
            "create table names as select * from (values ('A', 1), ('B', 2)) as t(symbol, n)",
            "create table int_changes (symbol text, changed_from date, revised_from date)",
            "create table int_relative_changes (symbol text, changed_from date)",
            "create table int_ranked_changes (metal text, session_date date)",
        )

    def run(self, *statements: str) -> None:
        with duckdb.connect(str(self.warehouse)) as connection:
            for statement in statements:
                connection.execute(statement)

    def build(self, *statements: str, since: str | None) -> None:
        """An incremental build that replaces rows since a session, or none."""
        named = [f"insert into int_changes values ('A', date '{since}', null)"] if since else []  # noqa: S608
        with incremental_build(self.state, self.warehouse):
            self.run("delete from int_changes", *named, *statements)

    def publish(self, large_rows: int = 100) -> PublishedManifest:
        return publish(
            *(self.warehouse, self.marts, self.published, "f", "files", False),
            build_state=self.state,
            large_rows=large_rows,
        )

    def file(self, year: int, version: int) -> Path:
        return version_folder(self.published, version) / "bars" / f"{year}.parquet"

    def written(self, version: int) -> list[int]:
        """The years whose file is not that of the version before."""
        return [
            year
            for year in self.YEARS
            if not self.file(year, version - 1).exists()
            or not self.file(year, version).samefile(self.file(year, version - 1))
        ]

    def hold(self, manifest: PublishedManifest) -> None:
        """The version says and holds what is in the warehouse, in the view and in the files."""
        assert current_manifest(self.published) == manifest
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            stored = connection.sql("from bars order by all").fetchall()
            assert manifest.hashes["bars"] == table_hash(connection.table("bars"), {"observed_at"})
        with duckdb.connect(str(version_file(self.published, manifest.version)), read_only=True) as connection:
            assert connection.sql("from bars order by all").fetchall() == stored
        assert manifest.rows == {"bars": len(stored), "names": 2}
        if manifest.partitions:
            for year in manifest.partitions["bars"].years:
                part = duckdb.sql(f"from read_parquet({str(self.file(year, manifest.version))!r})").fetchall()
                assert part == [row for row in stored if row[1].year == year]


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path)


def test_a_large_table_is_a_view_of_a_file_for_each_year(market: Market) -> None:
    manifest = market.publish()
    market.hold(manifest)
    folder = version_folder(market.published, 1)
    assert sorted(p.name for p in folder.iterdir()) == ["bars", "manifest.json", "market.duckdb", "names.parquet"]
    assert [p.name for p in sorted((folder / "bars").iterdir())] == [f"{year}.parquet" for year in market.YEARS]
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in folder.rglob("*.*") if path.is_file())
    assert [p.name for p in (market.published / "versions").iterdir()] == ["1"]
    with duckdb.connect(str(folder / "market.duckdb"), read_only=True) as connection:
        kinds = connection.sql("select table_name, table_type from information_schema.tables order by 1").fetchall()
    assert kinds == [("bars", "VIEW"), ("names", "BASE TABLE")]
    # Cut or not, the content is the same.
    whole = market.publish(large_rows=10_000)
    market.hold(whole)
    assert (whole.content_hash, whole.partitions, whole.place) == (manifest.content_hash, {}, "")


@pytest.mark.parametrize("where", ["the version", "current", "attached"])
def test_a_locked_down_reader_reads_the_views(market: Market, where: str) -> None:
    market.publish()
    linked = market.folder / "a link"
    linked.symlink_to(market.published)
    count = "select count(*) from {}bars"
    if where == "attached":
        with reading(market.warehouse, {"published": linked / "current" / "market.duckdb"}) as connection:
            assert connection.execute(count.format("published.")).fetchall() == [(3654,)]
        return
    file = version_file(market.published, 1) if where == "the version" else linked / "current" / "market.duckdb"
    with reading(file) as connection:
        assert connection.execute(count.format("")).fetchall() == [(3654,)]
        with pytest.raises(duckdb.PermissionException):
            connection.execute(f"from read_parquet('{market.folder}/elsewhere.parquet')")


def test_only_what_has_changed_is_written(market: Market) -> None:
    first = market.publish()
    market.build(since=None)
    market.hold(market.publish())
    assert market.written(2) == []

    market.build(
        "insert into bars select symbol, date '2025-01-01', 1, 1, observed_at, note from bars limit 1",
        since="2024-12-25",
    )
    market.hold(market.publish())
    assert market.written(3) == []
    assert market.file(2025, 3).exists()

    market.build("update bars set close = 7 where session_date = '2022-06-01'", since="2022-05-25")
    market.build("update bars set close = 8 where session_date = '2024-06-01'", since="2024-05-25")
    corrected = market.publish()
    market.hold(corrected)
    assert market.written(4) == [2022, 2024]
    assert corrected.content_hash != first.content_hash

    # What only says when a run saw something is published, and is no content.
    market.build("update bars set observed_at = now() where session_date = '2021-06-01'", since="2021-05-25")
    seen = market.publish()
    market.hold(seen)
    assert market.written(5) == [2021]
    assert seen.content_hash == corrected.content_hash

    market.build("delete from bars where session_date >= '2024-01-01'", since="2024-01-01")
    shorter = market.publish()
    market.hold(shorter)
    assert list(shorter.partitions["bars"].years) == [2020, 2021, 2022, 2023]


def test_parts_before_the_changes_are_not_read(market: Market) -> None:
    """By what the record says alone: a row that it does not know of stays as it was published."""
    market.publish()
    sneaked = "update bars set close = -1 where session_date in ('2020-03-01', '2023-03-01', '2023-09-01')"
    market.build(sneaked, since="2023-06-01")
    market.publish()
    assert market.written(2) == [2023]
    published = rows(
        version_file(market.published, 2), "select session_date from bars where close = -1 and symbol = 'A'"
    )
    assert published == [{"session_date": dt.date(2023, 9, 1)}]


@pytest.mark.parametrize(
    "lost",
    [
        "the build did not end",
        "a build from the first bar on",
        "another hand",
        "the record",
        "another version is current",
    ],
)
def test_what_is_not_known_is_looked_at(market: Market, lost: str) -> None:
    market.publish()
    market.build(since="2024-12-31")
    if lost == "another version is current":
        before = market.state.read_text()
        market.publish()
        market.state.write_text(before)
    elif lost == "the record":
        market.state.write_text("{")
    elif lost != "another hand":
        assert BuildState.load(market.state).changed is not None
        take_back(market.state)
    market.run("update bars set close = 0 where session_date = '2020-02-01'")
    if lost == "the build did not end":
        market.build(since="2024-12-31")
    manifest = market.publish()
    market.hold(manifest)
    assert market.written(manifest.version) == [2020]


@pytest.mark.parametrize("other", ["column", "type", "release", "file", "order"])
def test_parts_of_another_kind_are_written_anew(market: Market, other: str) -> None:
    market.publish()
    market.build(since=None)
    manifest = version_folder(market.published, 1) / "manifest.json"
    if other == "release":
        manifest.chmod(0o644)
        manifest.write_text(manifest.read_text().replace(f", duckdb v{duckdb.__version__}", ", duckdb v1.9.9"))
    elif other == "file":
        market.file(2022, 1).unlink()
    elif other == "order":
        market.marts["bars"] = replace(market.marts["bars"], grain=("session_date", "symbol"))
    else:
        column = {"column": "add column more int", "type": "alter column close type float"}[other]
        market.run(f"alter table bars {column}")
    market.publish()
    if other == "file":
        market.hold(current_manifest(market.published))  # type: ignore[arg-type]
    assert market.written(2) == list(market.YEARS)


def test_a_table_is_cut_whatever_its_grain_is_and_only_years_that_differ_are_written(market: Market) -> None:
    """As events, which have an id, and of which no range says what a build has replaced."""
    market.marts["bars"] = replace(market.marts["bars"], grain=("close", "symbol"), changed_ranges=())
    market.publish()
    market.build("update bars set note = 'y' where session_date = date '2022-03-01'", since=None)
    manifest = market.publish()
    assert market.written(2) == [2022]
    assert manifest.rows["bars"] == 3654
    assert manifest.partitions.keys() == {"bars"}


def test_a_table_that_cannot_be_cut_stays_whole(market: Market) -> None:
    market.run("insert into bars select symbol, null, close, d, observed_at, note from bars limit 1")
    manifest = market.publish()
    assert (manifest.partitions, manifest.rows["bars"]) == ({}, 3655)
    market.run("delete from bars where session_date is null", "alter table bars add column huge hugeint")
    manifest = market.publish()
    assert (manifest.partitions, manifest.rows["bars"]) == ({}, 3654)


def test_a_moved_home_is_noticed_and_published_again(market: Market) -> None:
    first = market.publish()
    assert is_in_place(market.published, first)
    market.published = market.published.rename(market.folder / "moved")
    assert not is_in_place(market.published, first)
    with pytest.raises(duckdb.Error):
        rows(version_file(market.published, 1), "select count(*) from bars")
    # What a refresh asks of it all the same.
    bars = table_sql(market.published, "bars", "published")
    file = market.published / "current" / "market.duckdb"
    count = f"select count(*) as n from {bars}"  # noqa: S608
    assert rows(market.warehouse, count, attached={"published": file}) == [{"n": 3654}]
    assert table_sql(market.published, "names", "published") == 'published.main."names"'
    second = market.publish()
    assert market.written(2) == []
    market.hold(second)
    assert is_in_place(market.published, second)


def test_a_copy_of_a_version_needs_nothing_of_it(market: Market) -> None:
    manifest = market.publish()
    copy = market.folder / "elsewhere" / "version"
    copy_version(market.published, manifest, copy)
    assert (copy / "bars" / "2020.parquet").samefile(market.file(2020, 1))
    shutil.rmtree(market.published)
    (compared,) = compare(copy / "market.duckdb", market.warehouse, {"bars": GRAIN})
    assert (compared.equal, compared.rows) == (True, 3654)
    market.run(
        "update bars set close = 0 where session_date = '2020-02-01'",
        "delete from bars where session_date > '2024-12-30'",
    )
    (compared,) = compare(copy / "market.duckdb", market.warehouse, {"bars": GRAIN})
    assert (compared.differing_cells, compared.only_left, compared.only_right) == (2, 2, 0)


def test_a_version_that_is_open_stays_on_disk(market: Market) -> None:
    market.publish()
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print(flush=True); input();"
    code += " print(c.execute('select count(*) from bars').fetchall()[0][0])"
    reader = subprocess.Popen(
        [sys.executable, "-c", code, version_file(market.published, 1)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "\n"
        for _ in range(4):
            market.publish()
        assert sorted(p.name for p in (market.published / "versions").iterdir()) == ["1", "3", "4", "5"]
        said, _ = reader.communicate("\n", timeout=300)
        assert said == "3654\n"
    finally:
        reader.kill()
        reader.wait()
    market.publish()
    assert sorted(p.name for p in (market.published / "versions").iterdir()) == ["4", "5", "6"]


def test_what_a_publication_killed_at_its_views_left_goes_away(market: Market) -> None:
    leftover = market.published / "versions" / ".building-1"
    leftover.mkdir(parents=True)
    (market.published / "versions" / "1").symlink_to(".building-1")
    manifest = market.publish()
    assert manifest.version == 1
    market.hold(manifest)


BEFORE_THE_FLIP = ["tables.write_partitions", "tables.create_view", "versions.write_manifest", "versions.flip"]


@pytest.mark.parametrize("step", [*BEFORE_THE_FLIP, "versions.note_published", "versions._drop_old"])
def test_a_kill_at_any_step_heals(market: Market, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    first = market.publish()
    market.build("update bars set close = 7 where session_date = '2024-06-01'", since="2024-05-25")

    def killed(*_: object, **__: object) -> None:
        raise SystemExit(137)

    with monkeypatch.context() as patched:
        patched.setattr(f"orchestration.publish.{step}", killed)
        with pytest.raises(SystemExit):
            market.publish()
    seen = current_manifest(market.published)
    assert seen is not None
    assert seen.version == (1 if step in BEFORE_THE_FLIP else 2)
    # Readers are where they were, or have all of it.
    assert rows(version_file(market.published, 1), "select max(close) as close from bars") != [{"close": 7.0}]
    market.build("update bars set close = 8 where session_date = '2022-06-01'", since="2022-05-25")
    healed = market.publish()
    market.hold(healed)
    assert healed.content_hash != first.content_hash
    assert not [p for p in (market.published / "versions").iterdir() if not p.name.isdigit()]


def test_without_a_place_every_table_is_a_table(market: Market) -> None:
    """For folders that are moved to where they will lie."""
    folder = market.folder / "as of"
    folder.mkdir()
    written = write_tables(market.warehouse, market.marts, folder, large_rows=1)
    assert (written.partitions, written.rows["bars"]) == ({}, 3654)
    assert sorted(p.name for p in folder.iterdir()) == ["bars.parquet", "market.duckdb", "names.parquet"]


def test_what_builds_have_changed_adds_up(market: Market) -> None:
    manifest = market.publish()
    market.build("insert into int_ranked_changes values ('silver', date '2023-01-05')", since="2024-01-05")
    market.build("delete from int_ranked_changes", since="2024-11-05")
    since = changed_since(market.state, manifest.version, manifest.published_at, market.warehouse)
    assert since is not None
    never = dt.date.max
    assert since == {
        CHANGED_FROM: dt.date(2024, 1, 5),
        REVISED_FROM: never,
        RELATIVE_FROM: never,
        RANKED_ON: dt.date(2023, 1, 5),
    }
    # Of another publication of the same number, as after all versions were removed.
    note_published(market.state, manifest.version, manifest.published_at, market.warehouse, ())
    again = PublishedManifest(1, "f", "files", False, "2020-01-01T00:00:00+00:00", {})
    assert changed_since(market.state, again.version, again.published_at, market.warehouse) is None


def test_what_dbt_says_when_it_stops(tmp_path: Path) -> None:
    assert dbt_failures(tmp_path / "run_results.json") == ""
    (tmp_path / "run_results.json").write_text(
        json.dumps(
            {"results": [{"unique_id": "model.orewatch.returns", "status": "error", "message": " Bad\n  line 2"}]}
        )
    )
    assert dbt_failures(tmp_path / "run_results.json") == "returns: Bad"
    assert dbt_failures(tmp_path / "run_results.json", statuses=("fail",)) == ""
    logged = Exception("The dbt CLI process failed.\n\nErrors parsed from dbt logs:\n\nIO Error\n  no lock")
    assert dbt_complaint(logged) == "IO Error no lock"
    assert dbt_complaint(Exception("failed with exit code `1`.")) == "failed with exit code `1`."
    assert dbt_complaint(None) == "dbt did not say why it stopped"


@pytest.mark.parametrize(
    ("successful", "results", "stopped_by"),
    [
        (True, [], ""),
        # A data test that has found something says nothing against what the build stands on.
        (False, [{"unique_id": "test.orewatch.grain.1", "status": "fail", "message": "Got 1 result"}], ""),
        (False, [{"unique_id": "model.orewatch.trend", "status": "error", "message": "Corrupted"}], "trend: Corrupted"),
        (False, None, "dbt did not say why it stopped"),
    ],
)
def test_what_has_stopped_a_build(
    successful: bool, results: list[dict[str, str]] | None, stopped_by: str, tmp_path: Path
) -> None:
    if results is not None:
        (tmp_path / "run_results.json").write_text(json.dumps({"results": results}))
    assert stopped(Ran(tmp_path / "run_results.json", successful, None)) == stopped_by
