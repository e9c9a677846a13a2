"""The lake in an object store: the files of a home's lake under the same names, and a catalog of those that count.

Files never change, so a copy is brought up to date by sending those that are missing and then writing the catalog,
`lake/catalog.json`, in one step. A home keeps the store: its lake may be empty (a new machine, a container without a
disk), and then it takes the store's lake over and everything goes on there. The former keeper is told so when it comes
back; two homes that fill one store would each miss what the other has fetched. See docs/decisions/0025-object-store.md.
"""

import datetime as dt
import json
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestration.market.errors import StoreError
from orchestration.storage.lake import DATASETS, SCHEMA_FILE, Lake, parquet_footer
from orchestration.storage.object_store import ObjectStore
from orchestration.storage.records import write_text

CATALOG = "lake/catalog.json"


@dataclass(frozen=True)
class Catalog:
    """What counts in a store.

    Attributes:
        keeper: which home keeps it, a random name.
        host: on which machine that was.
        written_at: UTC, ISO 8601.
        files: bytes of each file, by dataset and name.
        rows: of each dataset.
    """

    keeper: str
    host: str
    written_at: str
    files: dict[str, dict[str, int]]
    rows: dict[str, int]


def read_catalog(store: ObjectStore) -> Catalog | None:
    """The catalog; None if nothing has been stored yet.

    Raises:
        StoreError: the store cannot be read, or the catalog is not one.
    """
    said = store.read_json(CATALOG)
    try:
        return None if said is None else Catalog(**said)
    except TypeError as error:
        raise StoreError(f"{store.address}/{CATALOG}: is no catalog of a lake ({error})") from None


def take_over(lake: Lake, store: ObjectStore, record: Path) -> int:
    """Fill an empty lake from the store, which this home keeps from then on; how many files were fetched.

    Nothing happens if the store is empty or this home keeps it already. A kill half-way is made good by the next call.

    Args:
        lake: a prepared lake.
        store: the store of its source.
        record: a file of the home that says which store it keeps.

    Raises:
        StoreError: the store cannot be read, or another home keeps it and this one's lake is not empty.
    """
    ours, taking_over = _record(record)
    try:
        catalog = read_catalog(store)
    except StoreError:
        if ours and not taking_over:
            # The lake here is at least as new. `store_lake` says what is wrong with the store.
            return 0
        raise
    if catalog is None:
        return 0
    if ours == catalog.keeper:
        _write_record(record, ours, taking_over=False)
        return 0
    if not taking_over:
        if any(path.name != SCHEMA_FILE for dataset in DATASETS for path in lake.paths(dataset)):
            raise _kept_by_another(store, catalog, lake)
        ours = secrets.token_hex(8)
    # Until this is over, files of an earlier attempt are no lake of this home's own.
    _write_record(record, ours, taking_over=True)
    for dataset in DATASETS:
        files = catalog.files.get(dataset, {})
        folder = lake.new_folder(dataset)
        store.download((f"lake/{dataset}/{name}", folder / name) for name in files)
        if (rows := _rows(folder, files)) != catalog.rows.get(dataset, 0):
            raise StoreError(
                f"{store.address}/lake/{dataset}: holds {rows} rows and not the {catalog.rows.get(dataset, 0)} of its"
                " catalog; nothing was taken over"
            )
        lake.exchange(dataset, folder)
    lake.prepare()
    _write_catalog(store, catalog, ours, catalog.files, catalog.rows)
    _write_record(record, ours, taking_over=False)
    return sum(map(len, catalog.files.values()))


def store_lake(lake: Lake, store: ObjectStore, record: Path) -> int:
    """Bring the store up to the lake; how many files were sent.

    What a compaction has replaced stays until the next call, for readers that still go by the catalog before.

    Raises:
        StoreError: the store cannot be written, another home keeps it, or the lake has fewer rows than the store.
    """
    before = read_catalog(store)
    ours, _ = _record(record)
    if before is not None and before.keeper != ours:
        raise _kept_by_another(store, before, lake)
    files = {dataset: {path.name: path.stat().st_size for path in lake.paths(dataset)} for dataset in DATASETS}
    rows = {dataset: _rows((lake.root / dataset).resolve(), names) for dataset, names in files.items()}
    for dataset, stored in (before.rows if before else {}).items():
        if rows.get(dataset, 0) < stored:
            raise StoreError(
                f"{lake.root / dataset}: holds {rows.get(dataset, 0)} rows, {store.address} {stored}: rows of the lake"
                " are missing here; move the lake away, and the next refresh brings the store's back"
            )
    if not ours:
        ours = secrets.token_hex(8)
        _write_record(record, ours, taking_over=False)
    there = store.sizes("lake")
    missing = [path for path, size in _paths(files).items() if there.get(path) != size]
    store.upload((lake.root / path, f"lake/{path}") for path in missing)
    if before is None or (before.files, before.rows) != (files, rows):
        _write_catalog(store, before, ours, files, rows)
    listed = _paths(files) | (_paths(before.files) if before else {})
    store.remove(f"lake/{path}" for path in there if path.endswith(".parquet") and path not in listed)
    return len(missing)


def lake_is_stored(lake: Lake, store: ObjectStore) -> bool:
    """Whether the catalog lists exactly the files of the lake.

    Raises:
        StoreError: the store cannot be read.
    """
    catalog = read_catalog(store)
    return catalog is not None and dict(lake.files()) == _paths(catalog.files)


def _paths(files: dict[str, dict[str, int]]) -> dict[str, int]:
    """Bytes by path in the lake."""
    return {f"{dataset}/{name}": size for dataset, names in files.items() for name, size in names.items()}


def _write_catalog(
    store: ObjectStore, before: Catalog | None, keeper: str, files: dict[str, dict[str, int]], rows: dict[str, int]
) -> None:
    now = read_catalog(store)
    if now != before:
        raise StoreError(f"{store.address}/{CATALOG}: another home has written it meanwhile; refresh again")
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    store.write_json(CATALOG, asdict(Catalog(keeper, socket.gethostname(), moment, files, rows)))


def _rows(folder: Path, names: dict[str, int]) -> int:
    return sum(parquet_footer(folder / name).num_rows for name in names)


def _record(path: Path) -> tuple[str, bool]:
    """The name under which this home keeps a store, empty before it does; and whether it is taking one over."""
    try:
        said = json.loads(path.read_text("utf-8"))
        return str(said["keeper"]), bool(said["taking_over"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return "", False


def _write_record(path: Path, keeper: str, taking_over: bool) -> None:
    write_text(path, json.dumps({"keeper": keeper, "taking_over": taking_over}))


def _kept_by_another(store: ObjectStore, catalog: Catalog, lake: Lake) -> StoreError:
    return StoreError(
        f"{store.address}: is kept by a home on {catalog.host} since {catalog.written_at}, and the lake here,"
        f" {lake.root}, is not empty; to go on here with what the store holds, move that folder away and refresh"
    )
