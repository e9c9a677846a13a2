"""Published versions: what readers see, whole or not at all.

A version is built in a folder of its own, `versions/<n>/`, with one DuckDB file, one Parquet file per table and a
manifest; then the link `current` is flipped to it in one rename. A reader that opened an older version keeps it; the
last three stay on disk, and older ones that are still open. A large table is a folder of Parquet files instead, one for
each year, linked from version to version as long as nothing in it changes, and in the DuckDB file a view of them.
"""

import datetime as dt
import fcntl
import os
import shutil
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from orchestration.files import link, sync
from orchestration.market.errors import PublishError
from orchestration.publish.content_hash import content_hash
from orchestration.publish.current import flip, let_readers_in, numbered
from orchestration.publish.manifest import (
    DATABASE,
    PublishedManifest,
    current_manifest,
    is_whole,
    settled,
    version_folder,
    write_manifest,
)
from orchestration.publish.marts import Mart
from orchestration.publish.partitions import NOTHING_BEFORE, Before, files_of
from orchestration.publish.tables import WrittenTables, create_view, write_tables
from orchestration.transform.build_state import changed_since, note_published
from orchestration.transform.changed_ranges import earliest

VERSIONS_KEPT = 3
READ_ONLY = 0o444
_BUILDING = ".building-"


def copy_version(published: Path, manifest: PublishedManifest, folder: Path) -> None:
    """A version in another, new folder, which needs nothing of the first one: of its large files, links."""
    import duckdb

    original = version_folder(published, manifest.version)
    folder.mkdir(parents=True)
    if not manifest.partitions:
        link(original / DATABASE, folder / DATABASE)
        return
    shutil.copyfile(original / DATABASE, folder / DATABASE)
    with duckdb.connect(str(folder / DATABASE)) as connection:
        for table, partitions in manifest.partitions.items():
            (folder / table).mkdir()
            for path in files_of(original, table, partitions):
                link(path, folder / table / path.name)
            create_view(connection, table, partitions, settled(folder))


def publish(
    warehouse: Path,
    marts: Mapping[str, Mart],
    published: Path,
    fingerprint: str,
    source: str,
    simulated: bool,
    *,
    build_state: Path | None = None,
    large_rows: int | None = None,
    memory_gb: float | None = None,
    versions_kept: int = VERSIONS_KEPT,
) -> PublishedManifest:
    """Copy the tables of the warehouse into a new version and make it the current one.

    Args:
        warehouse: the DuckDB file with the tables.
        marts: the tables by name.
        published: the folder of versions.
        fingerprint: what the tables were built from.
        source: sample, yahoo or files.
        simulated: whether every price is made up.
        build_state: says what the builds since the last publication have changed, and notes this one; without it
            every row is looked at.
        large_rows: a table with more rows is partitioned; see `write_tables`.
        memory_gb: what it may take; more goes to the disk.
        versions_kept: how many stay, this one included.

    Raises:
        PublishError: the version could not be built; readers stay on the last good one.
    """
    versions = published / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    let_readers_in(published)
    _sweep(versions)
    number = max((int(p.name) for p in versions.iterdir() if p.name.isascii() and p.name.isdigit()), default=0) + 1
    building, place = versions / f"{_BUILDING}{number}", version_folder(published, number)
    try:
        building.mkdir()
        before = _before(published, marts, build_state, warehouse)
        written = write_tables(
            warehouse, marts, building, before=before, place=place, large_rows=large_rows, memory_gb=memory_gb
        )
        manifest = _manifest(written, number, place, fingerprint, source, simulated)
        write_manifest(manifest, building)
        _seal(building)
        building.rename(place)
        flip(published, number)
    except Exception as error:
        _remove_unseen(published, number, building)
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PublishError(
            f"{published}: version {number} could not be published ({text}); readers keep the last one"
        ) from error
    if build_state is not None:
        columns = {column for mart in marts.values() for column in mart.changed_ranges}
        note_published(build_state, manifest.version, manifest.published_at, warehouse, columns)
    _drop_old(versions, versions_kept)
    return manifest


def _remove_unseen(published: Path, number: int, building: Path) -> None:
    """Remove a version that failed, if nobody has seen it: the next try would leave one more."""
    shutil.rmtree(building, ignore_errors=True)
    if (published / "current").resolve() != version_folder(published, number).resolve():
        shutil.rmtree(version_folder(published, number), ignore_errors=True)


def _manifest(
    written: WrittenTables, number: int, place: Path, fingerprint: str, source: str, simulated: bool
) -> PublishedManifest:
    return PublishedManifest(
        version=number,
        fingerprint=fingerprint,
        source=source,
        simulated=simulated,
        published_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        rows=written.rows,
        content_hash=content_hash(written.hashes),
        hashes=written.hashes,
        hashed_by=written.hashed_by,
        partitions=written.partitions,
        place=str(settled(place)) if written.partitions else "",
    )


def _seal(folder: Path) -> None:
    """Make every file survive a power cut, and read-only: some readers forget to ask for a read-only connection."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            path.chmod(READ_ONLY)
        sync(path)
    sync(folder)


def _before(published: Path, marts: Mapping[str, Mart], build_state: Path | None, warehouse: Path) -> Before:
    """The version that readers see now, with what is known to have changed since then."""
    manifest = current_manifest(published)
    if manifest is None or not is_whole(version_folder(published, manifest.version)):
        return NOTHING_BEFORE
    since = changed_since(build_state, manifest.version, manifest.published_at, warehouse) if build_state else None
    return Before(
        version_folder(published, manifest.version),
        manifest.partitions,
        {name: earliest(since, mart.changed_ranges) for name, mart in marts.items()},
    )


def _sweep(versions: Path) -> None:
    """Remove what a publication that did not end has left."""
    for leftover in versions.glob(f"{_BUILDING}*"):
        shutil.rmtree(leftover)
    for path in versions.iterdir():
        if path.is_symlink() and path.readlink().name.startswith(_BUILDING):
            path.unlink()


def _drop_old(versions: Path, kept: int) -> None:
    """Remove all but the last ones that are there, of a home that may have lost some."""
    for path in (versions / str(number) for number in numbered(versions)[:-kept]):
        if path.is_symlink():
            path.unlink()
        elif not _is_open(path):
            shutil.rmtree(path)


def _is_open(folder: Path) -> bool:
    """Whether a reader in another process has a version open whose files its queries have yet to find.

    DuckDB holds a lock on what it has open. A file without views may go: whoever has it open keeps it.
    """
    if sys.platform != "linux" or not any(path.is_dir() for path in folder.iterdir()):
        return False
    try:
        handle = os.open(folder / DATABASE, os.O_RDONLY)
    except OSError:
        return False
    try:
        # struct flock: type, whence, start, length (0: all), process
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_ = struct.unpack("hhqqi4x", fcntl.fcntl(handle, fcntl.F_GETLK, asked))
    except OSError:
        return False
    finally:
        os.close(handle)
    return bool(kind != fcntl.F_UNLCK)
