"""Published versions in an object store: the Parquet files of each, and `published/current.json`, which says which one.

    published/current.json                              {"folder": ..., "before": [...], "manifest": {...}}
    published/versions/<when>-<number>/<table>.parquet
    published/versions/<when>-<number>/<table>/<year>.parquet       large tables

`current.json` is written last, so a reader that begins there finds whole versions only. It names the two versions
before, which stay for those who have just read it.
"""

import json
from pathlib import Path
from typing import Any

from orchestration.home import Home
from orchestration.ingest.lake import Lake
from orchestration.market.errors import StoreError
from orchestration.publish.backups import lake_is_stored, refuse_another_keeper
from orchestration.publish.manifest import MANIFEST, PublishedManifest, SyncStatus, version_folder
from orchestration.publish.object_store import ObjectStore
from orchestration.publish.partitions import Partitions, file_of
from orchestration.publish.versions import VERSIONS_KEPT

CURRENT = "published/current.json"


def store_version(published: Path, manifest: PublishedManifest, store: ObjectStore, record: Path) -> str:
    """Copy a published version into the store and make it the current one there; the name of its folder.

    Partitions of large tables that are what they were in the store's current version are copied inside of the store.
    `record` is what the copy of the lake knows of it.

    Raises:
        StoreError: the store cannot be written, or another home keeps it; its readers stay on the version before.
    """
    refuse_another_keeper(store, record)
    folder = version_folder(published, manifest.version)
    facts = _shown_manifest(folder)
    current = store.read_json(CURRENT)
    if current is not None and current["manifest"] == facts:
        return str(current["folder"])
    moment = manifest.published_at.translate(str.maketrans("", "", "-:+"))[:15]
    name = f"versions/{moment}Z-{manifest.version}"
    here = {path: str(path.relative_to(folder)) for path in sorted(folder.rglob("*.parquet"))}
    unchanged: set[Path] = set()
    before: list[str] = []
    if current is not None:
        before = [current["folder"], *current["before"]][: VERSIONS_KEPT - 1]
        there = store.sizes(f"published/{before[0]}")
        unchanged = {
            path
            for path in _unchanged(folder, manifest, current["manifest"])
            if there.get(here[path]) == path.stat().st_size
        }
        store.copy((f"published/{before[0]}/{here[path]}", f"published/{name}/{here[path]}") for path in unchanged)
    store.upload((path, f"published/{name}/{there}") for path, there in here.items() if path not in unchanged)
    store.write_json(CURRENT, {"folder": name, "before": before, "manifest": facts})
    # And what uploads that were killed have left.
    for old in {path.split("/")[0] for path in store.sizes("published/versions")}:
        if f"versions/{old}" not in (name, *before):
            store.remove_folder(f"published/versions/{old}")
    return name


def version_is_stored(published: Path, manifest: PublishedManifest, store: ObjectStore) -> bool:
    """Whether readers of the store find this version."""
    current = store.read_json(CURRENT)
    return current is not None and current["manifest"] == _shown_manifest(version_folder(published, manifest.version))


def sync_status(address: str, source: str, home: Home, manifest: PublishedManifest) -> SyncStatus:
    """Whether readers of the store find this version; a store that cannot be asked is no error here."""
    try:
        store = ObjectStore.at(address, source)
        refuse_another_keeper(store, home.store_record)
        is_current = version_is_stored(home.published, manifest, store)
        has_more_to_send = not lake_is_stored(Lake(home.lake), store, home.store_record)
    except StoreError as error:
        return SyncStatus(False, str(error))
    found = "the same version" if is_current else "another version; the next refresh sends this one"
    return SyncStatus(is_current, f"{store.address}, {found}", has_more_to_send)


def _shown_manifest(folder: Path) -> dict[str, Any]:
    """What readers of the store learn of a version: not where its files lie on this machine's disk."""
    facts: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    facts.pop("place", None)
    return facts


def _unchanged(folder: Path, manifest: PublishedManifest, stored: dict[str, Any]) -> set[Path]:
    """Files of large tables that hold, to the last bit, what the store's current version holds in its own."""
    found: set[Path] = set()
    for table, now in manifest.partitions.items():
        if facts := stored.get("parts", {}).get(table):
            before = Partitions.from_dict(facts)
            # Equal rows are equal files if the columns have the same order too.
            if before.written == now.written and list(before.columns.items()) == list(now.columns.items()):
                found |= {file_of(folder, table, y) for y in now.years if before.years.get(y) == now.years[y]}
    return found
