"""Published versions: what readers see, whole or not at all.

A version is built in a folder of its own, `versions/<n>/`, with one DuckDB file, one Parquet file per table and a
manifest; then the link `current` is flipped to it in one rename. A reader that opened an older version keeps it; the
last three stay on disk. Tables only, in storage version v1.0.0, so that every DuckDB since 1.0 opens the file.
"""

import datetime as dt
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from orchestration.market.errors import PublishError
from orchestration.storage.content import content_hash, table_hash
from orchestration.storage.lake import sync_folder
from orchestration.storage.warehouse import identifier, literal

MANIFEST = "manifest.json"
VERSIONS_KEPT = 3
READ_ONLY = 0o444
_BUILDING = ".building-"


@dataclass(frozen=True)
class Mart:
    """A table that readers get.

    Attributes:
        grain: the columns of which it has one row per value, which order it; none means all of its columns.
        description: of the table.
        columns: description of each column.
        run_times: columns that say when a run saw something (tag `run_time`): no part of the content.
    """

    grain: tuple[str, ...] = ()
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    run_times: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PublishedManifest:
    """What a version says about itself.

    Attributes:
        version: number of the version, counting from 1.
        fingerprint: what it was made from; see `storage.fingerprint`.
        source: sample, yahoo or files.
        simulated: whether every price in it is made up.
        published_at: UTC, ISO 8601.
        rows: row count of each table.
        content_hash: hash of the content of all tables; equal content, equal hash. Empty in versions older than it.
        hashes: the same for each table.
        hashed_by: the release of DuckDB that hashed; only hashes of the same release can be compared.
    """

    version: int
    fingerprint: str
    source: str
    simulated: bool
    published_at: str
    rows: dict[str, int]
    content_hash: str = ""
    hashes: dict[str, str] = field(default_factory=dict)
    hashed_by: str = ""


def current_manifest(published: Path) -> PublishedManifest | None:
    """The manifest of the version that readers see now; None before the first."""
    try:
        said = json.loads((published / "current" / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        return None
    # A later Orewatch may have said more.
    return PublishedManifest(
        **{known.name: said[known.name] for known in fields(PublishedManifest) if known.name in said}
    )


def version_file(published: Path, version: int) -> Path:
    """The DuckDB file of one version: what stays the same while the link `current` moves on."""
    return published / "versions" / str(version) / "market.duckdb"


def publish(
    warehouse: Path,
    marts: Mapping[str, Mart],
    published: Path,
    fingerprint: str,
    source: str,
    simulated: bool,
) -> PublishedManifest:
    """Copy the tables of the warehouse into a new version and make it the current one.

    Args:
        warehouse: the DuckDB file with the tables.
        marts: the tables by name.
        published: the folder of versions.
        fingerprint: what the tables were built from.
        source: sample, yahoo or files.
        simulated: whether every price is made up.

    Raises:
        PublishError: the version could not be built; readers stay on the last good one.
    """
    versions = published / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    for leftover in versions.glob(f"{_BUILDING}*"):
        shutil.rmtree(leftover)
    number = max((int(p.name) for p in versions.iterdir() if p.name.isdigit()), default=0) + 1
    building = versions / f"{_BUILDING}{number}"
    try:
        building.mkdir()
        written = write_tables(warehouse, marts, building)
        manifest = PublishedManifest(
            version=number,
            fingerprint=fingerprint,
            source=source,
            simulated=simulated,
            published_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            rows=written.rows,
            content_hash=content_hash(written.hashes),
            hashes=written.hashes,
            hashed_by=written.hashed_by,
        )
        write_manifest(manifest, building)
        for path in building.iterdir():
            # Readers that forget to ask for a read-only connection must not change what others read.
            path.chmod(READ_ONLY)
            _sync_file(path)
        sync_folder(building)
        building.rename(versions / str(number))
        _flip(published, number)
    except Exception as error:
        shutil.rmtree(building, ignore_errors=True)
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PublishError(
            f"{published}: version {number} could not be published ({text}); readers keep the last one"
        ) from error
    _drop_old(versions, keep=number)
    return manifest


@dataclass(frozen=True)
class WrittenTables:
    """What stands in a folder of tables; see `PublishedManifest`."""

    rows: dict[str, int]
    hashes: dict[str, str]
    hashed_by: str


def write_tables(warehouse: Path, marts: Mapping[str, Mart], folder: Path) -> WrittenTables:
    """Write the tables into market.duckdb and one Parquet file each.

    Args:
        warehouse: the DuckDB file with the tables.
        marts: the tables by name.
        folder: an empty one.
    """
    import duckdb

    counts: dict[str, int] = {}
    hashes: dict[str, str] = {}
    with duckdb.connect() as connection:
        connection.execute(f"attach {literal(warehouse)} as warehouse (read_only)")
        connection.execute(f"attach {literal(folder / 'market.duckdb')} as market (storage_version 'v1.0.0')")
        for name, mart in marts.items():
            table = connection.table(f"warehouse.main.{identifier(name)}")
            # Sorted by the grain, so that readers who ask for a symbol or a range skip most of the file, and so that
            # the same rows always stand in the same order.
            order = ", ".join(map(identifier, mart.grain or table.columns))
            copy = f"market.main.{identifier(name)}"
            table.order(order).create(copy)
            copied = connection.table(copy)
            counts[name] = int(copied.count("*").fetchall()[0][0])
            # Of the copy: the hash is about what readers get.
            hashes[name] = table_hash(copied, mart.run_times)
            copied.to_parquet(str(folder / f"{name}.parquet"), compression="zstd")
        connection.execute("detach market")
    return WrittenTables(counts, hashes, f"duckdb {duckdb.__version__}")


def write_manifest(manifest: PublishedManifest, folder: Path) -> None:
    """Put the manifest beside the tables of its version."""
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", "utf-8")


def _flip(published: Path, number: int) -> None:
    link = published / ".current-next"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("versions") / str(number), target_is_directory=True)
    link.rename(published / "current")
    sync_folder(published)


def _drop_old(versions: Path, keep: int) -> None:
    for path in versions.iterdir():
        if path.name.isdigit() and int(path.name) <= keep - VERSIONS_KEPT:
            shutil.rmtree(path)


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
