"""The lake in an object store: the files of a home's lake under the same names, and a catalog of those that count.

Files never change, so a copy is brought up to date by sending those that are missing and then writing the catalog,
`lake/catalog.json`, in one step; no file is ever removed. One home keeps the store. An empty one (a new machine, a
container without a disk, a lake that was moved away) takes the store's lake over and everything goes on there; the
former keeper learns so when it comes back. See docs/decisions/0025-object-store.md.
"""

import datetime as dt
import json
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestration.files import write_text
from orchestration.ingest.lake import DATASETS, SCHEMA_FILE, Lake
from orchestration.market.errors import StoreError
from orchestration.publish.object_store import ObjectStore

CATALOG = "lake/catalog.json"


@dataclass(frozen=True)
class Catalog:
    """What counts in a store.

    Attributes:
        token: a random word, new each time; the home that wrote it knows it, a copy of an earlier state does not.
        host: on which machine that was.
        written_at: UTC, ISO 8601.
        files: bytes of each file, by its path in the lake.
        rows: of each dataset.
    """

    token: str
    host: str
    written_at: str
    files: dict[str, int]
    rows: dict[str, int]


def read_catalog(store: ObjectStore) -> Catalog | None:
    """The catalog; None if nothing has been stored yet."""
    facts = store.read_json(CATALOG)
    try:
        return None if facts is None else Catalog(**facts)
    except TypeError as error:
        raise StoreError(f"{store.address}/{CATALOG}: is no catalog of a lake ({error})") from None


def take_over(lake: Lake, store: ObjectStore, record: Path) -> int:
    """Before anything is fetched: fill an empty lake from the store, which this home keeps from then on.

    Nothing happens if the store is empty or this home keeps it already. A kill half-way is made good by the next call.
    Returns how many files were fetched. `record` is a file of the home that says how it last left the store.

    Raises:
        StoreError: the store cannot be read and might hold a lake that should be here; another home keeps it and the
            lake here is not empty; the lake here has fewer rows than the store; or what is stored is damaged.
    """
    here = _data_files(lake)
    try:
        catalog = _expected_catalog(store, record)
    except StoreError:
        if here and not _record(record).taking_over:
            # Whose lake it is shows when it is to be sent.
            return 0
        raise
    if catalog is None:
        return 0
    known = _record(record)
    if here and not (known.taking_over and here.items() <= catalog.files.items()):
        _refuse_foreign_lake(catalog, known, store, lake, _rows(lake))
        return 0
    folders = {dataset: lake.folders(dataset).new() for dataset in DATASETS}
    places = {path: folders[path.split("/")[0]] / path.split("/")[1] for path in catalog.files}
    store.download((f"lake/{path}", place) for path, place in places.items())
    if {path: place.stat().st_size for path, place in places.items()} != catalog.files:
        raise StoreError(f"{store.address}/lake: files are not of the sizes in the catalog; nothing was taken over")
    _write_record(record, Record(known.tokens, taking_over=True))
    for dataset, folder in folders.items():
        lake.folders(dataset).exchange(folder)
    lake.prepare()
    _refuse_lost_rows(catalog, store, lake, _rows(lake))
    _write_catalog(store, record, catalog, catalog.files, catalog.rows)
    return len(catalog.files)


def store_lake(lake: Lake, store: ObjectStore, record: Path) -> int:
    """Bring the store up to the lake; how many files were sent.

    Raises:
        StoreError: the store cannot be written, another home keeps it, or the lake has fewer rows than the store.
    """
    before = _expected_catalog(store, record)
    files, rows = dict(lake.files()), _rows(lake)
    if before is not None:
        _refuse_foreign_lake(before, _record(record), store, lake, rows)
    there = store.sizes("lake")
    missing = [path for path, size in files.items() if there.get(path) != size]
    if before is None:
        # From its first file on this home's, if this is killed.
        _write_record(record, Record((secrets.token_hex(8),)))
    store.upload((lake.root / path, f"lake/{path}") for path in missing)
    if before is None or (before.files, before.rows) != (files, rows):
        _write_catalog(store, record, before, files, rows)
    return len(missing)


def lake_is_stored(lake: Lake, store: ObjectStore, record: Path) -> bool:
    """Whether the store is this home's and its catalog lists exactly the files of the lake."""
    catalog = read_catalog(store)
    return catalog is not None and catalog.token in _record(record).tokens and dict(lake.files()) == catalog.files


def refuse_another_keeper(store: ObjectStore, record: Path) -> None:
    """Pass if this home keeps the store; a `StoreError` says who else does."""
    catalog = read_catalog(store)
    if catalog is None:
        raise StoreError(f"{store.address}: no lake has been sent there yet; materialize stored/lake first")
    _refuse_unknown_token(catalog, _record(record), store)


@dataclass(frozen=True)
class Record:
    """How a home last left the store.

    Attributes:
        tokens: of the catalog that it wrote; two of them while it writes another one. None: it keeps no store.
        taking_over: whether its lake may hold a part of the store's.
    """

    tokens: tuple[str, ...] = ()
    taking_over: bool = False


def _record(path: Path) -> Record:
    try:
        facts = json.loads(path.read_text("utf-8"))
        return Record(tuple(facts["tokens"]), bool(facts["taking_over"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Record()


def _write_record(path: Path, record: Record) -> None:
    write_text(path, json.dumps(asdict(record)))


def _expected_catalog(store: ObjectStore, record: Path) -> Catalog | None:
    catalog = read_catalog(store)
    if catalog is None and not _record(record).tokens and any(p.endswith(".parquet") for p in store.sizes("lake")):
        raise StoreError(
            f"{store.address}/{CATALOG}: is gone, and there are files of a lake beside it; put an earlier version of it"
            " back, or name another address"
        )
    return catalog


def _refuse_unknown_token(catalog: Catalog, known: Record, store: ObjectStore, otherwise: str = "") -> None:
    if catalog.token not in known.tokens:
        raise StoreError(f"{store.address}: is kept by a home on {catalog.host} since {catalog.written_at}{otherwise}")


def _refuse_foreign_lake(catalog: Catalog, known: Record, store: ObjectStore, lake: Lake, rows: dict[str, int]) -> None:
    moved = "is not empty; to go on here with what the store holds, move that folder away and refresh"
    _refuse_unknown_token(catalog, known, store, f", and the lake here, {lake.root}, {moved}")
    _refuse_lost_rows(catalog, store, lake, rows)


def _refuse_lost_rows(catalog: Catalog, store: ObjectStore, lake: Lake, rows: dict[str, int]) -> None:
    for dataset, stored in catalog.rows.items():
        if rows.get(dataset, 0) < stored:
            raise StoreError(
                f"{lake.root / dataset}: holds {rows.get(dataset, 0)} rows, {store.address} {stored}: rows of the lake"
                " are missing here; move the lake away, and the next refresh brings the store's back"
            )


def _write_catalog(
    store: ObjectStore, record: Path, before: Catalog | None, files: dict[str, int], rows: dict[str, int]
) -> None:
    known = _record(record)
    ours = tuple(token for token in known.tokens if before is not None and token == before.token)
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    catalog = Catalog(secrets.token_hex(8), socket.gethostname(), moment, files, rows)
    # Killed after this, the home knows the catalog before and the new one.
    _write_record(record, Record((*ours, catalog.token), known.taking_over))
    if read_catalog(store) != before:
        raise StoreError(f"{store.address}/{CATALOG}: another home has written it meanwhile; refresh again")
    store.write_json(CATALOG, asdict(catalog))
    _write_record(record, Record((catalog.token,)))


def _data_files(lake: Lake) -> dict[str, int]:
    """Bytes of the files with rows, by their path in the lake."""
    return {path: size for path, size in lake.files() if not path.endswith(f"/{SCHEMA_FILE}")}


def _rows(lake: Lake) -> dict[str, int]:
    return {dataset: lake.row_count(dataset) for dataset in DATASETS}
