"""The lake in an object store: what counts, who keeps it, and what a fault leaves. A store on the disk stands in."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.market.errors import StoreError
from orchestration.storage.compaction import compact
from orchestration.storage.lake import FETCHES, Lake
from orchestration.storage.object_store import ObjectStore
from orchestration.storage.stored_lake import CATALOG, lake_is_stored, read_catalog, store_lake, take_over


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
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.at(f"file://{tmp_path}/bucket", "files")


def test_only_what_is_missing_is_sent(home: Home, store: ObjectStore) -> None:
    assert take_over(home.lake, store, home.record) == 0
    home.fetch("a")
    assert not lake_is_stored(home.lake, store)
    assert store_lake(home.lake, store, home.record) == 4  # three files with schemas, and one with rows
    assert lake_is_stored(home.lake, store)
    assert store_lake(home.lake, store, home.record) == 0
    home.fetch("b", "c")
    assert not lake_is_stored(home.lake, store)
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


def test_what_compaction_replaces_goes_one_call_later(home: Home, store: ObjectStore, tmp_path: Path) -> None:
    home.fetch(*"abcde")
    store_lake(home.lake, store, home.record)
    before = set(read_catalog(store).files["fetches"])
    assert compact(home.lake, "fetches", small_files=2) == 5
    assert store_lake(home.lake, store, home.record) == 1
    # A reader that has just read the catalog before still finds its files.
    assert before <= set(store.sizes("lake/fetches"))
    home.fetch("f")
    store_lake(home.lake, store, home.record)
    assert not before - {"schema.parquet"} & set(store.sizes("lake/fetches"))
    new = Home(tmp_path / "there")
    take_over(new.lake, store, new.record)
    assert new.batches() == list("abcdef")


def test_an_upload_that_breaks_off_leaves_the_catalog_as_it_was(
    home: Home, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    catalog = read_catalog(store)
    home.fetch("b", "c")
    sizes = iter((None, 7))

    def half(self: ObjectStore, path: str, size: int) -> None:
        if next(sizes):
            raise OSError(f"7 bytes arrived of {size}")

    with monkeypatch.context() as broken:
        broken.setattr(ObjectStore, "_has_size", half)
        with pytest.raises(StoreError, match=r"lake/fetches/.*: 7 bytes arrived of \d+; see docs/object-store.md"):
            store_lake(home.lake, store, home.record)
    assert read_catalog(store) == catalog
    # A new machine sees what was whole before, and the old one makes up for the rest.
    assert store_lake(home.lake, store, home.record) == 0
    assert read_catalog(store).rows["fetches"] == 3


def test_a_file_of_another_size_is_sent_again(home: Home, store: ObjectStore, tmp_path: Path) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    (tmp_path / "bucket/files/lake/fetches/a-0000.parquet").write_bytes(b"PAR1")
    assert store_lake(home.lake, store, home.record) == 1
    new = Home(tmp_path / "there")
    assert take_over(new.lake, store, new.record) == 4


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "a-0000.parquet: .*No such file"),
        (lambda path: path.write_bytes(b"PAR1"), "a-0000.parquet: cannot be read as Parquet"),
        (lambda path: path.write_bytes(path.with_name("schema.parquet").read_bytes()), "holds 1 rows and not the 2"),
    ],
)
def test_a_damaged_store_is_not_taken_over(
    home: Home, store: ObjectStore, tmp_path: Path, damage: object, said: str
) -> None:
    home.fetch("a", "b")
    store_lake(home.lake, store, home.record)
    file = tmp_path / "bucket/files/lake/fetches/a-0000.parquet"
    whole = file.read_bytes()
    damage(file)
    new = Home(tmp_path / "there")
    with pytest.raises(Exception, match=said):
        take_over(new.lake, store, new.record)
    assert new.batches() == []
    assert read_catalog(store).keeper == json.loads(home.record.read_text())["keeper"]
    # Mended, the same home goes on where it was stopped.
    file.write_bytes(whole)
    assert take_over(new.lake, store, new.record) == 5
    assert new.batches() == ["a", "b"]


def test_a_lake_that_has_lost_rows_takes_none_from_the_store(home: Home, store: ObjectStore) -> None:
    home.fetch("a", "b")
    store_lake(home.lake, store, home.record)
    catalog = read_catalog(store)
    (home.lake.root / "fetches" / "a-0000.parquet").unlink()
    with pytest.raises(StoreError, match=r"fetches: holds 1 rows, .* 2: rows of the lake are missing here"):
        store_lake(home.lake, store, home.record)
    assert read_catalog(store) == catalog
    assert len(store.sizes("lake/fetches")) == 3


def test_two_that_write_at_the_same_time(home: Home, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    home.fetch("a")
    upload = ObjectStore.upload

    def overtaken(self: ObjectStore, pairs: object) -> None:
        upload(self, pairs)
        store.write_json(CATALOG, {"keeper": "x", "host": "h", "written_at": "now", "files": {}, "rows": {}})

    monkeypatch.setattr(ObjectStore, "upload", overtaken)
    with pytest.raises(StoreError, match="another home has written it meanwhile; refresh again"):
        store_lake(home.lake, store, home.record)
    assert read_catalog(store).keeper == "x"


def test_a_store_that_cannot_be_read(home: Home, store: ObjectStore, tmp_path: Path) -> None:
    home.fetch("a")
    store_lake(home.lake, store, home.record)
    (tmp_path / "bucket/files/lake/catalog.json").write_text("{")
    # The keeper's own lake is as new; an empty one may be meant to hold what is there.
    assert take_over(home.lake, store, home.record) == 0
    new = Home(tmp_path / "there")
    with pytest.raises(StoreError, match=r"catalog.json: .*; see docs/object-store.md"):
        take_over(new.lake, store, new.record)
    (tmp_path / "bucket/files/lake/catalog.json").write_text('{"files": {}}')
    with pytest.raises(StoreError, match="is no catalog of a lake"):
        store_lake(home.lake, store, home.record)


@pytest.mark.parametrize("address", ["nothing://x/y", "hdfs-of-mine://x"])
def test_an_address_that_pyarrow_does_not_know(address: str) -> None:
    with pytest.raises(StoreError, match=rf"{address}/files: .*; see docs/object-store.md"):
        ObjectStore.at(address, "files")
