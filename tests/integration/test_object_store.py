"""The real job with an S3 store: what its readers find, a store that is down, and a home that goes on from it."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pytest

from orchestration.ingest.lake import Lake
from orchestration.market.errors import StoreError
from orchestration.publish.backups import store_lake
from orchestration.publish.content_hash import table_hash
from orchestration.publish.manifest import PublishedManifest, current_manifest, version_folder, write_manifest
from orchestration.publish.marts import Mart, marts
from orchestration.publish.object_store import ObjectStore
from orchestration.publish.stored_versions import store_version, version_is_stored
from orchestration.publish.versions import publish
from orchestration.settings import Settings
from orchestration.transform.build_state import note_published
from tests.jobs import ClockedSettings, read_status, refresh_and_read, small_seeds
from tests.s3_server import BUCKET, KEY, SECRET, S3Server, below_a_path, s3_server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


class Desk:
    """Homes that watch the same drop folder and fill the same store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "drop").mkdir()
        self.deliver(30)

    def deliver(self, until: int) -> None:
        days = [day for day in (26, 27, 28, 29, 30) if day <= until]
        closes = "".join(f"2026-01-{day},{100 + day}\n" for day in days)
        (self.folder / "drop" / "AAA.csv").write_text("Date,Close\n" + closes)

    def home(self, name: str, moment: dt.datetime = NOW) -> Settings:
        return ClockedSettings(
            source="files",
            home=self.folder / name,
            files=self.folder / "drop",
            seeds=small_seeds(self.folder / "seeds", "AAA"),
            moment=moment,
            store=f"s3://{BUCKET}/desk",
        )


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return Desk(tmp_path)


def read_current(server: S3Server) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """What a reader finds who knows the address only: the manifest, and the tables."""
    files = server.files()
    with files.open_input_stream(f"{BUCKET}/desk/files/published/current.json") as stream:
        current = json.loads(stream.read())
    folder = f"{BUCKET}/desk/files/published/{current['folder']}"
    tables = {}
    for name in current["manifest"]["rows"]:
        path = f"{folder}/{name}" if name in current["manifest"]["parts"] else f"{folder}/{name}.parquet"
        tables[name] = ds.dataset(path, filesystem=files, format="parquet").to_table()
    return current["manifest"], tables


def test_what_readers_find_and_where_an_empty_home_goes_on(server: S3Server, desk: Desk) -> None:
    first = desk.home("first")
    success, said = refresh_and_read(first)
    assert success, said
    manifest = current_manifest(first.paths.published)
    told, tables = read_current(server)
    assert told["content_hash"] == manifest.content_hash
    assert "place" not in told
    assert tables.keys() == marts().keys()
    with duckdb.connect() as connection:
        for name, table in tables.items():
            assert table_hash(connection.from_arrow(table), marts()[name].run_times) == manifest.hashes[name], name
    assert f"Object store: s3://{BUCKET}/desk/files, the same version" in read_status(first)
    # The lake too, under the names that it has on the disk.
    stored = ds.dataset(f"{BUCKET}/desk/files/lake/bars", filesystem=server.files(), format="parquet").to_table()
    assert stored.num_rows == 5
    assert stored.equals(Lake(first.paths.lake).read("bars"))

    second = desk.home("second")
    success, said = refresh_and_read(second)
    assert success, said
    assert set(Lake(second.paths.lake).files()) > set(Lake(first.paths.lake).files())
    assert Lake(second.paths.lake).read("bars").equals(stored)
    assert current_manifest(second.paths.published).content_hash == manifest.content_hash

    success, said = refresh_and_read(first)
    assert not success
    assert "is kept by a home on" in said
    assert "Readers keep the last published version: 1" in said

    everything = b"".join(path.read_bytes() for path in desk.folder.rglob("*") if path.is_file())
    assert SECRET.encode() not in everything
    assert KEY.encode() + b"/" not in everything


def test_a_store_that_is_down_withholds_nothing_and_is_made_up_for(server: S3Server, desk: Desk) -> None:
    desk.deliver(29)
    assert refresh_and_read(desk.home("home", NOW - dt.timedelta(days=1)))[0]
    before, _ = read_current(server)

    desk.deliver(30)
    home = desk.home("home")
    server.stop()
    success, said = refresh_and_read(home)
    assert not success
    assert "failed stored__lake: s3://market/desk/files" in said
    assert "see docs/object-store.md" in said
    # Files, flags and brief are there all the same.
    manifest = current_manifest(home.paths.published)
    assert manifest.version == 2
    assert "Published version 2: " in said
    assert "Object store: s3://market/desk/files/lake/catalog.json: " in read_status(home)

    server.start_again()
    assert read_current(server)[0] == before
    assert "another version; the next refresh sends this one" in read_status(home)
    success, said = refresh_and_read(home)
    assert success, said
    assert "Nothing new: published version 2 stands" in said
    assert read_current(server)[0]["content_hash"] == manifest.content_hash
    # An empty home cannot know what it should go on from while the store is down, and begins nothing of its own.
    server.stop()
    new = desk.home("new")
    success, said = refresh_and_read(new)
    assert not success
    assert "see docs/object-store.md" in said
    assert Lake(new.paths.lake).read("bars").num_rows == 0


def kept(store: ObjectStore, folder: Path) -> Path:
    """The record of a home that keeps the store."""
    lake = Lake(folder / "lake")
    lake.prepare()
    store_lake(lake, store, folder / "store.json")
    return folder / "store.json"


LARGE_TABLE = {"daily_bars": Mart(("symbol", "session_date"), changed_ranges=("int_changes.changed_from",))}


class Versions:
    """Published versions of one large table, which changes in its last year."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0

    @property
    def published(self) -> Path:
        return self.folder / "published"

    def make(self) -> PublishedManifest:
        self.number += 1
        warehouse = self.folder / "warehouse.duckdb"
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute(
                "create or replace table daily_bars as select 'A' as symbol,"  # noqa: S608
                " date '2024-01-01' + cast(i as integer) as session_date,"
                f" i + case when i > 731 then {self.number} else 0 end as close from range(1000) as t(i)"
            )
        manifest = publish(warehouse, LARGE_TABLE, self.published, f"f{self.number}", "files", False, large_rows=100)
        note_published(self.folder / "build_state.json", manifest.version, manifest.published_at, warehouse, ())
        return manifest


def test_parts_that_are_what_they_were_do_not_travel(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, versions = ObjectStore.at(f"s3://{BUCKET}", "files"), Versions(tmp_path)
    record = kept(store, tmp_path)
    sent: list[str] = []
    upload = ObjectStore.upload

    def noted(self: ObjectStore, pairs: Any) -> None:
        pairs = list(pairs)
        sent.extend(path.rpartition("/")[2] for _, path in pairs)
        upload(self, pairs)

    monkeypatch.setattr(ObjectStore, "upload", noted)
    years = ["2024.parquet", "2025.parquet", "2026.parquet"]
    for number in range(1, 6):
        manifest = versions.make()
        folder = store_version(versions.published, manifest, store, record)
        assert sent == (years if number == 1 else years[2:])
        sent.clear()
        assert version_is_stored(versions.published, manifest, store)
        rows = ds.dataset(f"{BUCKET}/files/published/{folder}/daily_bars", filesystem=server.files()).to_table()
        with duckdb.connect() as connection:
            assert table_hash(connection.from_arrow(rows)) == manifest.hashes["daily_bars"]
        # Again: there is nothing to do.
        assert store_version(versions.published, manifest, store, record) == folder
        assert sent == []
    there = server.files().get_file_info(pafs.FileSelector(f"{BUCKET}/files/published/versions"))
    assert sorted(info.base_name.rpartition("-")[2] for info in there) == ["3", "4", "5"]
    # A part that somebody has removed from the store is sent again, from the disk.
    server.files().delete_file(f"{BUCKET}/files/published/{folder}/daily_bars/2024.parquet")
    store_version(versions.published, versions.make(), store, record)
    assert sent == [years[0], years[2]]


def test_a_version_that_is_half_sent_is_seen_by_nobody(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, versions = ObjectStore.at(f"s3://{BUCKET}", "files"), Versions(tmp_path)
    record = kept(store, tmp_path)
    store_version(versions.published, versions.make(), store, record)
    before = store.read_json("published/current.json")
    second = versions.make()
    with monkeypatch.context() as broken:
        broken.setattr(ObjectStore, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store_version(versions.published, second, store, record)
    assert store.read_json("published/current.json") == before
    assert not version_is_stored(versions.published, second, store)
    store_version(versions.published, second, store, record)
    assert version_is_stored(versions.published, second, store)


def test_a_clock_that_is_behind_takes_nothing_from_readers(server: S3Server, tmp_path: Path) -> None:
    store, versions = ObjectStore.at(f"s3://{BUCKET}", "files"), Versions(tmp_path)
    record = kept(store, tmp_path)
    folders = []
    for moment in ("2026-02-01", "2026-02-02", "2026-02-03", "2026-01-20", "2026-01-21"):
        manifest = replace(versions.make(), published_at=f"{moment}T20:00:00+00:00")
        write_manifest(manifest, version_folder(versions.published, manifest.version))
        folders.append(store_version(versions.published, manifest, store, record))
    there = {f"versions/{path.split('/')[0]}" for path in store.sizes("published/versions")}
    assert there == set(folders[-3:])
    assert len(there) == 3


def test_who_does_not_keep_the_store_publishes_nothing_there(server: S3Server, tmp_path: Path) -> None:
    store, versions = ObjectStore.at(f"s3://{BUCKET}", "files"), Versions(tmp_path)
    manifest = versions.make()
    with pytest.raises(StoreError, match="no lake has been sent there yet"):
        store_version(versions.published, manifest, store, tmp_path / "store.json")
    kept(store, tmp_path)
    with pytest.raises(StoreError, match="is kept by a home on"):
        store_version(versions.published, manifest, store, tmp_path / "another.json")
    assert store.read_json("published/current.json") is None


def test_a_store_below_a_path_is_asked_there(server: S3Server, tmp_path: Path) -> None:
    """Whatever is done: sent, listed, read, copied, removed; nothing of it goes to the root of the host."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 100_000)
    with below_a_path("/storage/s3") as asked:
        store = ObjectStore.at(f"s3://{BUCKET}/desk", "files")
        store.upload([(source, "a/one"), (source, "a/two")])
        store.write_json("current.json", {"n": 1})
        store.copy([("a/one", "b/one")])
        store.remove_folder("a")
        assert store.sizes("b") == {"one": 100_000}
        assert store.sizes("a") == {}
        store.download([("b/one", target)])
        assert target.read_bytes() == source.read_bytes()
        assert ObjectStore.at(f"s3://{BUCKET}/desk", "files").read_json("current.json") == {"n": 1}
    assert asked
    assert {path[:12] for path in asked} == {"/storage/s3/"}
    found = server.files().get_file_info(pafs.FileSelector(f"{BUCKET}/desk", recursive=True))
    assert {info.path for info in found if info.is_file} == {
        f"{BUCKET}/desk/files/b/one",
        f"{BUCKET}/desk/files/current.json",
    }


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize(
    "address",
    ["store.example.org:9000", "//store.example.org", "s3://a", "https://k:s3cret@a/b", "http://a/b?c=s3cret"],
)
def test_an_address_of_a_store_that_would_lose_a_part_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, address: str
) -> None:
    monkeypatch.setenv(variable, address)
    with pytest.raises(
        StoreError, match=f"s3://market: {variable}: allowed: http:// or https://, host and port"
    ) as caught:
        ObjectStore.at("s3://market", "files")
    assert "s3cret" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_not_an_empty_store(server: S3Server) -> None:
    store = ObjectStore.at("s3://no-such-bucket/desk", "files")
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/desk/files/x.json: there is no no-such-bucket") as told:
        store.read_json("x.json")
    assert "\n" not in str(told.value)
