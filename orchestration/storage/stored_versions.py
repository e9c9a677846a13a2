"""Published versions in an object store: the Parquet files of each, and `published/current.json`, which says which one.

    published/current.json                      {"folder": "versions/<when>-<number>", "manifest": {...}}
    published/versions/<folder>/<table>.parquet
    published/versions/<folder>/<table>/<year>.parquet      large tables

`current.json` is written last, so a reader that begins there finds whole versions only; the last three stay.
"""

import json
from pathlib import Path
from typing import Any

from orchestration.market.errors import StoreError
from orchestration.storage.object_store import ObjectStore
from orchestration.storage.parts import Parts, file_of
from orchestration.storage.publish import MANIFEST, VERSIONS_KEPT, PublishedManifest, version_folder

CURRENT = "published/current.json"


def store_version(published: Path, manifest: PublishedManifest, store: ObjectStore) -> str:
    """Copy a published version into the store and make it the current one there; the name of its folder.

    Parts of large tables that are what they were in the store's current version are copied inside of the store.

    Raises:
        StoreError: the store cannot be written; its readers stay on the version before.
    """
    folder = version_folder(published, manifest.version)
    said = _said(folder)
    current = store.read_json(CURRENT)
    if current is not None and current["manifest"] == said:
        return str(current["folder"])
    moment = manifest.published_at.translate(str.maketrans("", "", "-:+"))[:15]
    name = f"versions/{moment}Z-{manifest.version}"
    here = {path: str(path.relative_to(folder)) for path in sorted(folder.rglob("*.parquet"))}
    unchanged = set() if current is None else _unchanged(folder, manifest, current["manifest"])
    if current is not None:
        before = f"published/{current['folder']}"
        store.copy((f"{before}/{here[path]}", f"published/{name}/{here[path]}") for path in unchanged)
    store.upload((path, f"published/{name}/{there}") for path, there in here.items() if path not in unchanged)
    store.write_json(CURRENT, {"folder": name, "manifest": said})
    _drop_old(store, name)
    return name


def version_is_stored(published: Path, manifest: PublishedManifest, store: ObjectStore) -> bool:
    """Whether readers of the store find this version.

    Raises:
        StoreError: the store cannot be read.
    """
    current = store.read_json(CURRENT)
    return current is not None and current["manifest"] == _said(version_folder(published, manifest.version))


def standing(address: str, source: str, published: Path, manifest: PublishedManifest) -> tuple[bool, str]:
    """Whether readers of the store find this version, and in one line what they find; also if it cannot be reached."""
    try:
        store = ObjectStore.at(address, source)
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
        if before is not None and (before.written, before.columns) == (parts.written, parts.columns):
            found |= {file_of(folder, table, y) for y, part in parts.years.items() if before.years.get(y) == part}
    return found


def _drop_old(store: ObjectStore, current: str) -> None:
    files = store.sizes("published/versions")
    names = sorted({path.split("/")[0] for path in files})
    old = set(names[:-VERSIONS_KEPT]) - {current.removeprefix("versions/")}
    store.remove(f"published/versions/{path}" for path in files if path.split("/")[0] in old)
