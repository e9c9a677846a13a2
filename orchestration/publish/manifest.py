"""What a published version says about itself, and where its files lie: for readers, nothing that writes tables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from orchestration.duckdb_io import identifier
from orchestration.market.errors import LakeError, PublishError
from orchestration.publish.partitions import Partitions, files_of, reading_sql

MANIFEST = "manifest.json"
DATABASE = "market.duckdb"
MISPLACED = "the home was moved or copied since version {version} was published; run: orewatch refresh"


@dataclass(frozen=True)
class PublishedManifest:
    """What a version says about itself.

    Attributes:
        version: number of the version, counting from 1.
        fingerprint: what it was made from; see `transform.fingerprint`.
        source: sample, yahoo or files.
        simulated: whether every price in it is made up.
        published_at: UTC, ISO 8601.
        rows: row count of each table.
        content_hash: hash of the content of all tables; equal content, equal hash. Empty in versions older than it.
        hashes: the same for each table.
        hashed_by: the release of DuckDB that hashed; only hashes of the same release can be compared.
        partitions: the large tables, which are folders of Parquet files; `parts` in the file.
        place: the folder in which the views of these look for the files; empty if there are none.
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
    partitions: dict[str, Partitions] = field(default_factory=dict)
    place: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As the file holds it."""
        facts = {known.name: getattr(self, known.name) for known in fields(self)}
        facts["parts"] = {table: found.to_dict() for table, found in facts.pop("partitions").items()}
        return facts

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "PublishedManifest":
        """What `to_dict` gave; a later Orewatch may have said more."""
        known = {known.name: facts[known.name] for known in fields(cls) if known.name in facts}
        parts = facts.get("parts", {})
        known["partitions"] = {table: Partitions.from_dict(found) for table, found in parts.items()}
        return cls(**known)


@dataclass(frozen=True)
class SyncStatus:
    """What a copy of the published version has against what it ought to have.

    Attributes:
        is_current: whether readers there see exactly the version that readers of files see.
        text: in words.
        has_more_to_send: whether something else is to be sent there, though readers see this version.
    """

    is_current: bool
    text: str
    has_more_to_send: bool = False


def current_manifest(published: Path) -> PublishedManifest | None:
    """The manifest of the version that readers see now; None before the first."""
    return read_manifest(published / "current")


def readable_manifest(published: Path) -> PublishedManifest | None:
    """The manifest of the version that readers see now; None before the first.

    Raises:
        PublishError: its views look for their files elsewhere.
    """
    manifest = current_manifest(published)
    if manifest is not None and not is_in_place(published, manifest):
        raise PublishError(MISPLACED.format(version=manifest.version))
    return manifest


def read_manifest(folder: Path) -> PublishedManifest | None:
    """The manifest of a version's folder; None if it has none, or one that a copy has cut short."""
    try:
        return PublishedManifest.from_dict(json.loads((folder / MANIFEST).read_text("utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write_manifest(manifest: PublishedManifest, folder: Path) -> None:
    """Put the manifest beside the tables of its version."""
    (folder / MANIFEST).write_text(json.dumps(manifest.to_dict(), indent=2) + "\n", "utf-8")


def version_folder(published: Path, version: int) -> Path:
    """The folder of one version: what stays the same while the link `current` moves on."""
    return published / "versions" / str(version)


def version_file(published: Path, version: int) -> Path:
    """The DuckDB file of one version."""
    return version_folder(published, version) / DATABASE


def settled(folder: Path) -> Path:
    """Where a folder is or will be, whatever links lead there."""
    return folder.parent.resolve() / folder.name


def is_in_place(published: Path, manifest: PublishedManifest) -> bool:
    """Whether the views of a version find its files: not if the home was moved or copied since it was published."""
    return not manifest.partitions or Path(manifest.place) == settled(version_folder(published, manifest.version))


def is_whole(folder: Path) -> bool:
    """Whether a version has every file that its manifest speaks of, with the rows that it says: none lost, none cut.

    What cannot be looked at, as somebody writes into it or forbids it, is no proof of a loss.
    """
    import duckdb

    from orchestration.ingest.parquet import parquet_footer

    manifest = read_manifest(folder)
    if manifest is None:
        return False
    try:
        for table, rows in manifest.rows.items():
            partitions = manifest.partitions.get(table)
            files = files_of(folder, table, partitions) if partitions else [folder / f"{table}.parquet"]
            if sum(parquet_footer(path).num_rows for path in files) != rows:
                return False
        with duckdb.connect(str(folder.resolve() / DATABASE), read_only=True) as connection:
            found = connection.execute("select table_name from information_schema.tables").fetchall()
    except LakeError as error:
        return isinstance(error.__cause__, PermissionError)
    except duckdb.Error as error:
        return isinstance(error, duckdb.ConnectionException) or "lock on file" in str(error)
    return manifest.rows.keys() <= {name for (name,) in found}


def table_sql(published: Path, table: str, database: str) -> str:
    """What a query has to name to read a table of the version that readers see, wherever the home has gone.

    `database` is the name under which the version's DuckDB file is attached.
    """
    manifest = current_manifest(published)
    if manifest is None or table not in manifest.partitions:
        return f"{database}.main.{identifier(table)}"
    partitions = manifest.partitions[table]
    files = files_of(settled(version_folder(published, manifest.version)), table, partitions)
    return f"({reading_sql(files, partitions.columns)})"
