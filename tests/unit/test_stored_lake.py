"""The lake in an object store: what counts, who keeps it, and what a fault leaves. A store on the disk stands in."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pyarrow as pa
import pytest

from orchestration.ingest.compaction import compact
from orchestration.ingest.dataset_folders import DatasetFolders
from orchestration.ingest.lake import FETCHES, Lake
from orchestration.market.errors import OrewatchError, StoreError
from orchestration.publish.backups import CATALOG, lake_is_stored, read_catalog, store_lake, take_over
from orchestration.publish.object_store import ObjectStore


class Home:
    """A lake and the record beside it."""

    def __init__(self, folder: Path) -> None:
        self.lake, self.record = Lake(folder / "lake"), folder / "store.json"
        self.lake.prepare()

    def fetch(self, *batches: str) -> None:
        for batch in batches:
            table = pa.Table.from_pylist([{"symbol": "SI=F", "batch_id": batch}], schema=FETCHES)
            self.lake.append("fetches", table, batch, 0)

    def batches(self) -> list[str]:
        return sorted(self.lake.read("fetches")["batch_id"].to_pylist())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "here")


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


@pytest.fixture
def store(bucket: Path) -> ObjectStore:
    return ObjectStore.at(f"file://{bucket}", "files")


def test_only_what_is_missing_is_sent(home: Home, store: ObjectStore) -> None:
    assert take_over(home.lake, store, home.record) == 0
    home.fetch("a")
    assert not lake_is_stored(home.lake, store, home.record)
    assert store_lake(home.lake, store, home.record) == 4  # three files with schemas, and one with rows
    assert lake_is_stored(home.lake, store, home.record)
    assert store_lake(home.lake, store, home.record) == 0
    home.fetch("b", "c")
    assert not lake_is_stored(home.lake, store, home.record)
    assert store_lake(home.lake, store, home.record) == 2
    catalog = read_catalog(store)
    assert catalog.rows == {"bars": 0, "rejected_bars": 0, "fetches": 3}


def test_an_empty_home_goes_on_and_the_former_keeper_is_told(home: Home, store: ObjectStore, tmp_path: Path) -> None:
    home.fetch("a", "b")
    store_lake(home.lake, store, home.record)
    new = Home(tmp_path / "there")
    assert take_over(new.lake, store, new.record) == 5
    assert new.batches() == ["a", "b"]
    assert take_over(new.lake, store, new.record) == 0
    new.fetch("c")
    assert store_lake(new.lake, store, new.record) == 1

    home.fetch("d")
    for call in (take_over, store_lake):
        with pytest.raises(StoreError, match=r"is kept by a home on .* since .* is not empty; .* move that folder"):
            call(home.lake, store, home.record)
    assert home.batches() == ["a", "b", "d"]
    assert sorted(Home(tmp_path / "there").batches()) == ["a", "b", "c"]


def test_a_home_with_a_lake_of_its_own_never_mixes_it_with_another(
    home: Home, store: ObjectStore, tmp_path: Path
) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    other = Home(tmp_path / "there")
    other.fetch("x")
    for call in (take_over, store_lake):
        with pytest.raises(StoreError, match="is kept by a home"):
            call(other.lake, store, other.record)
    assert other.batches() == ["x"]
    assert read_catalog(store).rows["fetches"] == 1


def test_what_compaction_has_replaced_counts_no_more(home: Home, store: ObjectStore, tmp_path: Path) -> None:
    home.fetch(*"abcde")
    store_lake(home.lake, store, home.record)
    before = set(read_catalog(store).files)
    assert compact(home.lake, "fetches", small_files=2) == 5
    assert store_lake(home.lake, store, home.record) == 1
    assert len(before - set(read_catalog(store).files)) == 5
    # Nothing is ever taken away: a reader that has just read the catalog before still finds its files.
    assert before <= set(store.sizes("lake"))
    new = Home(tmp_path / "there")
    take_over(new.lake, store, new.record)
    assert new.batches() == list("abcde")
    assert store_lake(new.lake, store, new.record) == 0


def test_an_upload_that_breaks_off_leaves_the_catalog_as_it_was(
    home: Home, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    catalog = read_catalog(store)
    home.fetch("b", "c")

    def half(source: IO[bytes], sink: IO[bytes], _: int) -> None:
        sink.write(source.read(100))
        raise OSError("the line is dead")

    with monkeypatch.context() as broken:
        broken.setattr("orchestration.publish.object_store.shutil.copyfileobj", half)
        with pytest.raises(StoreError, match=r"lake/fetches/.*: the line is dead; see docs/object-store.md"):
            store_lake(home.lake, store, home.record)
    assert read_catalog(store) == catalog
    assert 100 in store.sizes("lake/fetches").values()
    # A new machine would see what was whole before, and the old one makes up for the rest.
    assert store_lake(home.lake, store, home.record) == 2
    assert read_catalog(store).rows["fetches"] == 3


def test_a_file_of_another_size_is_sent_again(home: Home, store: ObjectStore, bucket: Path) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    file = bucket / "files/lake/fetches/a-0000.parquet"
    whole = file.read_bytes()
    file.write_bytes(b"PAR1")
    assert store_lake(home.lake, store, home.record) == 1
    assert file.read_bytes() == whole


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "a-0000.parquet: .*No such file"),
        (lambda path: path.write_bytes(b"PAR1"), "files are not of the sizes in the catalog"),
        (lambda path: path.write_bytes(b"x" * path.stat().st_size), "a-0000.parquet: cannot be read as Parquet"),
    ],
)
def test_a_damaged_store_is_not_taken_over(
    home: Home, store: ObjectStore, tmp_path: Path, bucket: Path, damage: Callable[[Path], object], said: str
) -> None:
    home.fetch("a", "b")
    store_lake(home.lake, store, home.record)
    catalog = read_catalog(store)
    file = bucket / "files/lake/fetches/a-0000.parquet"
    whole = file.read_bytes()
    damage(file)
    new = Home(tmp_path / "there")
    with pytest.raises(OrewatchError, match=said):
        take_over(new.lake, store, new.record)
    assert read_catalog(store) == catalog
    # Mended, the same home goes on where it was stopped.
    file.write_bytes(whole)
    assert take_over(new.lake, store, new.record) == 5
    assert new.batches() == ["a", "b"]


@pytest.mark.parametrize("exchanges", [0, 1, 2, 3])
def test_a_takeover_that_is_killed_is_made_good(
    home: Home, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: int
) -> None:
    home.fetch("a", "b")
    store_lake(home.lake, store, home.record)
    new = Home(tmp_path / "there")
    exchange, left = DatasetFolders.exchange, iter(range(exchanges))

    def killed(folders: DatasetFolders, folder: Path) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        exchange(folders, folder)

    with monkeypatch.context() as broken:
        broken.setattr(DatasetFolders, "exchange", killed)
        if exchanges == 3:
            broken.setattr(ObjectStore, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            take_over(new.lake, store, new.record)
    new.lake.prepare()
    assert take_over(new.lake, store, new.record) == 5
    assert new.batches() == ["a", "b"]
    assert store_lake(new.lake, store, new.record) == 0


def test_rows_fetched_after_a_takeover_that_failed_are_kept(
    home: Home, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    new = Home(tmp_path / "there")
    with monkeypatch.context() as broken:
        broken.setattr(DatasetFolders, "exchange", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            take_over(new.lake, store, new.record)
    new.fetch("own")
    with pytest.raises(StoreError, match="is kept by a home"):
        take_over(new.lake, store, new.record)
    assert new.batches() == ["own"]


def test_a_lake_that_has_lost_rows_takes_none_from_the_store(home: Home, store: ObjectStore) -> None:
    home.fetch("a", "b")
    store_lake(home.lake, store, home.record)
    catalog = read_catalog(store)
    (home.lake.root / "fetches" / "a-0000.parquet").unlink()
    for call in (take_over, store_lake):
        with pytest.raises(StoreError, match=r"fetches: holds 1 rows, .* 2: rows of the lake are missing here"):
            call(home.lake, store, home.record)
    assert read_catalog(store) == catalog
    # What the message says: the lake is moved away, and comes back whole before anything else is fetched.
    home.lake.root.rename(home.lake.root.with_name("moved"))
    home.lake.prepare()
    assert take_over(home.lake, store, home.record) == 5
    assert home.batches() == ["a", "b"]
    home.fetch("c")
    assert store_lake(home.lake, store, home.record) == 1


def test_a_copy_of_a_home_is_another_home(home: Home, store: ObjectStore, tmp_path: Path) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    shutil.copytree(tmp_path / "here", tmp_path / "copy", symlinks=True)
    copy = Home(tmp_path / "copy")
    home.fetch("b")
    store_lake(home.lake, store, home.record)
    copy.fetch("x")
    for call in (take_over, store_lake):
        with pytest.raises(StoreError, match="is kept by a home"):
            call(copy.lake, store, copy.record)
    assert copy.batches() == ["a", "x"]


def test_two_that_write_at_the_same_time(home: Home, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    home.fetch("a")
    upload = ObjectStore.upload
    other = {"token": "x", "host": "h", "written_at": "now", "files": {}, "rows": {}}

    def overtaken(self: ObjectStore, pairs: object) -> None:
        upload(self, pairs)
        store.write_json(CATALOG, other)

    monkeypatch.setattr(ObjectStore, "upload", overtaken)
    with pytest.raises(StoreError, match="another home has written it meanwhile; refresh again"):
        store_lake(home.lake, store, home.record)
    assert read_catalog(store).token == "x"  # noqa: S105
    with pytest.raises(StoreError, match="is kept by a home on h since now"):
        store_lake(home.lake, store, home.record)


@pytest.mark.parametrize("written", [False, True])
def test_a_kill_around_the_catalog_is_made_good(
    home: Home, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    write = ObjectStore.write_json

    def killed(self: ObjectStore, path: str, content: dict[str, object]) -> None:
        if written:
            write(self, path, content)
        raise KeyboardInterrupt

    for batch in "bc":
        home.fetch(batch)
        with monkeypatch.context() as broken:
            broken.setattr(ObjectStore, "write_json", killed)
            with pytest.raises(KeyboardInterrupt):
                store_lake(home.lake, store, home.record)
    assert take_over(home.lake, store, home.record) == 0
    store_lake(home.lake, store, home.record)
    assert lake_is_stored(home.lake, store, home.record)
    assert read_catalog(store).rows["fetches"] == 3


def test_a_store_that_cannot_be_read(home: Home, store: ObjectStore, tmp_path: Path, bucket: Path) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    catalog = bucket / "files/lake/catalog.json"
    catalog.write_text("{")
    # A lake that is there goes on; an empty one may be meant to hold what is in the store.
    assert take_over(home.lake, store, home.record) == 0
    new = Home(tmp_path / "there")
    with pytest.raises(StoreError, match=r"catalog.json: .*; see docs/object-store.md"):
        take_over(new.lake, store, new.record)
    catalog.write_text('{"files": {}}')
    with pytest.raises(StoreError, match="is no catalog of a lake"):
        store_lake(home.lake, store, home.record)


def test_files_without_a_catalog_are_not_an_empty_store(
    home: Home, store: ObjectStore, tmp_path: Path, bucket: Path
) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    (bucket / "files/lake/catalog.json").unlink()
    new = Home(tmp_path / "there")
    with pytest.raises(StoreError, match=r"catalog.json: is gone, and there are files of a lake beside it"):
        take_over(new.lake, store, new.record)
    # Its keeper has every file that it listed.
    assert store_lake(home.lake, store, home.record) == 0
    assert take_over(new.lake, store, new.record) == 4


def test_a_disk_that_is_not_mounted_is_not_an_empty_store(home: Home, tmp_path: Path) -> None:
    nowhere = ObjectStore.at(f"file://{tmp_path}/nowhere", "files")
    with pytest.raises(StoreError, match=r"there is no .*nowhere"):
        take_over(home.lake, nowhere, home.record)
    home.fetch("a")
    with pytest.raises(StoreError, match=r"there is no .*nowhere"):
        store_lake(home.lake, nowhere, home.record)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("address", ["nothing://x/y", "hdfs-of-mine://x"])
def test_an_address_that_pyarrow_does_not_know(address: str) -> None:
    with pytest.raises(StoreError, match=rf"{address}: .*; see docs/object-store.md"):
        ObjectStore.at(address, "files")
