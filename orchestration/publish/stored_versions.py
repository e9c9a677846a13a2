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

from orchestration.market.errors import StoreError
from orchestration.publish.backups import must_keep
from orchestration.publish.object_store import ObjectStore
from orchestration.publish.partitions import Parts, file_of
from orchestration.publish.versions import MANIFEST, VERSIONS_KEPT, PublishedManifest, version_folder

CURRENT = "published/current.json"


def store_version(published: Path, manifest: PublishedManifest, store: ObjectStore, record: Path) -> str:
    """Copy a published version into the store and make it the current one there; the name of its folder.

    Parts of large tables that are what they were in the store's current version are copied inside of the store.

    Args:
        published: the folder of versions.
        manifest: of the one to copy.
        store: the store of its source.
        record: what `stored_lake` knows of it.

    Raises:
        StoreError: the store cannot be written, or another home keeps it; its readers stay on the version before.
    """
    must_keep(store, record)
    folder = version_folder(published, manifest.version)
    said = _said(folder)
    current = store.read_json(CURRENT)
    if current is not None and current["manifest"] == said:
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
    store.write_json(CURRENT, {"folder": name, "before": before, "manifest": said})
    # And what uploads that were killed have left.
    for old in {path.split("/")[0] for path in store.sizes("published/versions")}:
        if f"versions/{old}" not in (name, *before):
            store.remove_folder(f"published/versions/{old}")
    return name


def version_is_stored(published: Path, manifest: PublishedManifest, store: ObjectStore) -> bool:
    """Whether readers of the store find this version.

    Raises:
        StoreError: the store cannot be read.
    """
    current = store.read_json(CURRENT)
    return current is not None and current["manifest"] == _said(version_folder(published, manifest.version))


def standing(address: str, source: str, published: Path, manifest: PublishedManifest, record: Path) -> tuple[bool, str]:
    """Whether readers of the store find this version, and in one line what they find; also if it cannot be reached."""
    try:
        store = ObjectStore.at(address, source)
        must_keep(store, record)
        is_current = version_is_stored(published, manifest, store)
    except StoreError as error:
        return False, str(error)
    found = "the same version" if is_current else "another version; the next refresh sends this one"
    return is_current, f"{store.address}, {found}"


def _said(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    # Where its files lie on this machine's disk is nothing that readers of the store need.
    said.pop("place", None)
    return said


def _unchanged(folder: Path, manifest: PublishedManifest, stored: dict[str, Any]) -> set[Path]:
    """Files of large tables that hold, to the last bit, what the store's current version holds in its own."""
    found: set[Path] = set()
    for table, parts in manifest.parts.items():
        said = stored.get("parts", {}).get(table)
        before = Parts.said(said) if said else None
        same = (parts.written, list(parts.columns.items()))
        if before is not None and (before.written, list(before.columns.items())) == same:
            found |= {file_of(folder, table, y) for y, part in parts.years.items() if before.years.get(y) == part}
    return found
