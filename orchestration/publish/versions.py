"""Published versions: what readers see, whole or not at all.

A version is built in a folder of its own, `versions/<n>/`, with one DuckDB file, one Parquet file per table and a
manifest; then the link `current` is flipped to it in one rename. A reader that opened an older version keeps it; the
last three stay on disk, and older ones that are still open. A large table is a folder of Parquet files instead, one for
each year, linked from version to version as long as nothing in it changes, and in the DuckDB file a view of them.
Nothing else in storage version v1.0.0, so that every DuckDB since 1.0 opens the file.
"""

import datetime as dt
import fcntl
import filecmp
import json
import os
import secrets
import shutil
import struct
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.duckdb_io import identifier, literal
from orchestration.files import cannot_be_written, link, sync
from orchestration.ingest.lake import parquet_footer
from orchestration.market.errors import LakeError, PublishError
from orchestration.publish.content_hash import columns_of, content_hash, counted_columns, hash_of, table_sums
from orchestration.publish.partitions import (
    NOTHING_BEFORE,
    PARQUET,
    SESSION,
    Before,
    Parts,
    can_be_parts,
    files_of,
    reading_sql,
    write_parts,
)
from orchestration.transform.build_state import changed_since, note_published
from orchestration.transform.changed_ranges import earliest

if TYPE_CHECKING:
    import duckdb

MANIFEST = "manifest.json"
DATABASE = "market.duckdb"
VERSIONS_KEPT = 3
# A table with more rows is published in parts.
LARGE_ROWS = 2_000_000
READ_ONLY = 0o444
# Tables that are written at the same time.
_AT_ONCE = 2
_BUILDING = ".building-"
_ASIDE = ".kept-"
_WORK = ".work"


@dataclass(frozen=True)
class Mart:
    """A table that readers get.

    Attributes:
        grain: the columns of which it has one row per value, which order it; none means all of its columns.
        description: of the table.
        columns: description of each column.
        run_times: columns that say when a run saw something (tag `run_time`): no part of the content.
        changes: which tables of changes say from which session on a build has replaced rows, as `table.column`; see
            `transform.changed_ranges`. None: nothing says it.
    """

    grain: tuple[str, ...] = ()
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    run_times: frozenset[str] = frozenset()
    changes: tuple[str, ...] = ()


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
        parts: the large tables, which are folders of Parquet files.
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
    parts: dict[str, Parts] = field(default_factory=dict)
    place: str = ""


def current_manifest(published: Path) -> PublishedManifest | None:
    """The manifest of the version that readers see now; None before the first."""
    return read_manifest(published / "current")


def read_manifest(folder: Path) -> PublishedManifest | None:
    """The manifest of a version's folder; None if it has none, or one that a copy has cut short."""
    try:
        said = json.loads((folder / MANIFEST).read_text("utf-8"))
        # A later Orewatch may have said more.
        known = {known.name: said[known.name] for known in fields(PublishedManifest) if known.name in said}
        known["parts"] = {table: Parts.said(parts) for table, parts in known.get("parts", {}).items()}
        return PublishedManifest(**known)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, AttributeError):
        return None


def is_whole(folder: Path) -> bool:
    """Whether a version has every file that its manifest speaks of, with the rows that it says: none lost, none cut.

    What cannot be looked at, as somebody writes into it or forbids it, is no proof of a loss.
    """
    import duckdb

    manifest = read_manifest(folder)
    if manifest is None:
        return False
    try:
        for table, rows in manifest.rows.items():
            parts = manifest.parts.get(table)
            files = files_of(folder, table, parts) if parts else [folder / f"{table}.parquet"]
            if sum(parquet_footer(path).num_rows for path in files) != rows:
                return False
        with duckdb.connect(str(folder.resolve() / DATABASE), read_only=True) as connection:
            found = connection.execute("select table_name from information_schema.tables").fetchall()
    except LakeError as error:
        return isinstance(error.__cause__, PermissionError)
    except duckdb.Error as error:
        return isinstance(error, duckdb.ConnectionException) or "lock on file" in str(error)
    return manifest.rows.keys() <= {name for (name,) in found}


def let_readers_in(published: Path) -> list[str]:
    """Let `current` be a link to a whole version again, if a copied or restored home has lost that; says what was done.

    Nothing is removed but a folder that holds the same bytes as a version. Only the holder of the refresh lock may call
    this.

    Raises:
        PublishError: it cannot be done.
    """
    current = published / "current"
    try:
        if not published.is_dir() or (current.is_symlink() and _is_here(current) and is_whole(current)):
            return []
        if current.is_dir() and not current.is_symlink() and is_whole(current):
            return _make_a_link(current, published)
        there = reversed(_numbered(published / "versions"))
        whole = next((number for number in there if is_whole(version_folder(published, number))), None)
        if whole is None:
            return []
        said = [] if current.is_symlink() or not current.exists() else [_set_aside(current, published)]
        _flip(published, whole)
    except OSError as error:
        raise PublishError(cannot_be_written(error, published)) from error
    return [*said, f"{current}: led to no whole version; readers see version {whole} again, the newest that is whole"]


def _is_here(current: Path) -> bool:
    """Whether the link leads to a version by this home's own folder, and not into the home that it was copied from."""
    return current.readlink().parent in (Path("versions"), current.parent / "versions")


def _numbered(versions: Path) -> list[int]:
    """The versions that are there, ascending; what somebody else has put beside them is none."""
    names = (path.name for path in versions.glob("*") if (path / MANIFEST).is_file())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _make_a_link(current: Path, published: Path) -> list[str]:
    """Where a copy has followed the link: let what readers see now be a version, and `current` a link to it."""
    manifest = read_manifest(current)
    assert manifest is not None  # noqa: S101  (it is whole)
    place, copy, said = version_folder(published, manifest.version), None, []
    if place.exists() and not _hold_the_same(current, place):
        said.append(_set_aside(place, published))
    if place.exists():
        copy = current.rename(published / f"{_ASIDE}{secrets.token_hex(4)}")
    else:
        place.parent.mkdir(exist_ok=True)
        current.rename(place)
    _flip(published, manifest.version)
    if copy:
        shutil.rmtree(copy)
    return [*said, f"{current}: was a folder, and is a link to version {manifest.version} again"]


def _set_aside(path: Path, published: Path) -> str:
    aside = path.rename(published / f"{_ASIDE}{path.name}-{secrets.token_hex(4)}")
    return f"{path}: is kept as {aside.name}, as nothing proves that it may go"


def _hold_the_same(folder: Path, other: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""
    names = [{path.relative_to(base) for path in base.rglob("*") if path.is_file()} for base in (folder, other)]
    return names[0] == names[1] and all(filecmp.cmp(folder / name, other / name, shallow=False) for name in names[0])


def version_folder(published: Path, version: int) -> Path:
    """The folder of one version: what stays the same while the link `current` moves on."""
    return published / "versions" / str(version)


def version_file(published: Path, version: int) -> Path:
    """The DuckDB file of one version."""
    return version_folder(published, version) / DATABASE


def is_in_place(published: Path, manifest: PublishedManifest) -> bool:
    """Whether the views of a version find its files: not if the home was moved or copied since it was published."""
    return not manifest.parts or Path(manifest.place) == settled(version_folder(published, manifest.version))


def readable_manifest(published: Path) -> PublishedManifest | None:
    """The manifest of the version that readers see now; None before the first.

    Raises:
        PublishError: its views look for their files elsewhere.
    """
    manifest = current_manifest(published)
    if manifest is not None and not is_in_place(published, manifest):
        raise PublishError(MISPLACED.format(version=manifest.version))
    return manifest


MISPLACED = "the home was moved or copied since version {version} was published; run: orewatch refresh"


def table_sql(published: Path, table: str, database: str) -> str:
    """What a query has to name to read a table of the version that readers see, wherever the home has gone.

    Args:
        published: the folder of versions.
        table: its name.
        database: the name under which the version's DuckDB file is attached.
    """
    manifest = current_manifest(published)
    if manifest is None or table not in manifest.parts:
        return f"{database}.main.{identifier(table)}"
    parts = manifest.parts[table]
    files = files_of(settled(version_folder(published, manifest.version)), table, parts)
    return f"({reading_sql(files, parts.columns)})"


def settled(folder: Path) -> Path:
    """Where a folder is or will be, whatever links lead there."""
    return folder.parent.resolve() / folder.name


def copy_version(published: Path, manifest: PublishedManifest, folder: Path) -> None:
    """A version in another folder, which needs nothing of the first one: of its large files, links.

    Args:
        published: the folder of versions.
        manifest: of the version.
        folder: a new one.
    """
    import duckdb

    original = version_folder(published, manifest.version)
    folder.mkdir(parents=True)
    if not manifest.parts:
        link(original / DATABASE, folder / DATABASE)
        return
    shutil.copyfile(original / DATABASE, folder / DATABASE)
    with duckdb.connect(str(folder / DATABASE)) as connection:
        for table, parts in manifest.parts.items():
            (folder / table).mkdir()
            for path in files_of(original, table, parts):
                link(path, folder / table / path.name)
            _view(connection, table, parts, settled(folder))


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
        build_state: says what the builds since the last publication have changed, and is told of this one; without it
            every row is looked at.
        large_rows: a table with more rows is published in parts; `LARGE_ROWS` if not given.
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
    building = versions / f"{_BUILDING}{number}"
    try:
        building.mkdir()
        before = _before(published, marts, build_state, warehouse)
        written = write_tables(
            warehouse,
            marts,
            building,
            before=before,
            place=version_folder(published, number),
            large_rows=LARGE_ROWS if large_rows is None else large_rows,
            memory_gb=memory_gb,
        )
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
            parts=written.parts,
            place=str(settled(version_folder(published, number))) if written.parts else "",
        )
        write_manifest(manifest, building)
        for path in sorted(building.rglob("*"), reverse=True):
            if path.is_file():
                # Readers that forget to ask for a read-only connection must not change what others read.
                path.chmod(READ_ONLY)
            sync(path)
        sync(building)
        building.rename(versions / str(number))
        _flip(published, number)
    except Exception as error:
        shutil.rmtree(building, ignore_errors=True)
        if (published / "current").resolve() != version_folder(published, number).resolve():
            # Nobody has seen it, and the next try would leave one more.
            shutil.rmtree(version_folder(published, number), ignore_errors=True)
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PublishError(
            f"{published}: version {number} could not be published ({text}); readers keep the last one"
        ) from error
    if build_state is not None:
        columns = {column for mart in marts.values() for column in mart.changes}
        note_published(build_state, manifest.version, manifest.published_at, warehouse, columns)
    _drop_old(versions, versions_kept)
    return manifest


def _before(published: Path, marts: Mapping[str, Mart], build_state: Path | None, warehouse: Path) -> Before:
    """The version that readers see now, with what is known to have changed since then."""
    manifest = current_manifest(published)
    if manifest is None or not is_whole(version_folder(published, manifest.version)):
        return NOTHING_BEFORE
    since = changed_since(build_state, manifest.version, manifest.published_at, warehouse) if build_state else None
    return Before(
        version_folder(published, manifest.version),
        manifest.parts,
        {name: earliest(since, mart.changes) for name, mart in marts.items()},
    )


@dataclass(frozen=True)
class WrittenTables:
    """What stands in a folder of tables; see `PublishedManifest`."""

    rows: dict[str, int]
    hashes: dict[str, str]
    hashed_by: str
    parts: dict[str, Parts] = field(default_factory=dict)


def write_tables(
    warehouse: Path,
    marts: Mapping[str, Mart],
    folder: Path,
    *,
    before: Before = NOTHING_BEFORE,
    place: Path | None = None,
    large_rows: int = LARGE_ROWS,
    memory_gb: float | None = None,
) -> WrittenTables:
    """Write the tables into market.duckdb and one Parquet file each, large ones as parts.

    Args:
        warehouse: the DuckDB file with the tables.
        marts: the tables by name.
        folder: an empty one.
        before: the version before; parts that have not changed are linked to its.
        place: where the folder will lie, beside where it does; without it no table is cut into parts.
        large_rows: a table with more rows is.
        memory_gb: what it may take; more goes to the disk.
    """
    import duckdb

    work = folder / _WORK
    work.mkdir()
    facts: dict[str, tuple[int, str]] = {}
    cells: dict[str, int] = {}
    large: dict[str, Parts] = {}
    with duckdb.connect() as connection:
        connection.execute(f"set temp_directory = {literal(work / 'spilled')}")
        if memory_gb is not None:
            connection.execute(f"set memory_limit = '{memory_gb}GB'")
        connection.execute(f"attach {literal(warehouse)} as warehouse (read_only)")
        for name, mart in marts.items():
            table = connection.table(f"warehouse.main.{identifier(name)}")
            columns, rows = columns_of(table), _rows(table)
            cells[name] = rows * len(columns)
            if place is None or SESSION not in mart.grain or not can_be_parts(columns) or rows <= large_rows:
                continue
            parts = write_parts(connection, name, columns, mart.grain, mart.run_times, folder, work, before)
            if parts is not None:
                large[name] = parts
                facts[name] = (parts.rows, parts.hash(mart.run_times))
        connection.execute(f"attach {literal(folder / DATABASE)} as market (storage_version 'v1.0.0')")

        def write(name: str) -> tuple[int, str]:
            with connection.cursor() as cursor:
                return _write_table(cursor, name, marts[name], folder)

        # The longest work first, so that no thread is left alone with it.
        small = sorted(marts.keys() - large.keys(), key=lambda name: (-cells[name], name))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            facts.update(zip(small, pool.map(write, small), strict=True))
        if large and place:
            connection.execute("use market")
            with _standing_in(folder, place):
                for name, parts in large.items():
                    _view(connection, name, parts, settled(place))
            connection.execute("use memory")
        connection.execute("detach market")
    shutil.rmtree(work)
    return WrittenTables(
        {name: facts[name][0] for name in marts},
        {name: facts[name][1] for name in marts},
        f"duckdb {duckdb.__version__}",
        large,
    )


def _write_table(connection: "duckdb.DuckDBPyConnection", name: str, mart: Mart, folder: Path) -> tuple[int, str]:
    """Write one table; returns its number of rows and its hash."""
    table = connection.table(f"warehouse.main.{identifier(name)}")
    # Sorted by the grain, so that readers who ask for a symbol or a range skip most of the file, and so that
    # the same rows always stand in the same order.
    order = ", ".join(map(identifier, mart.grain or table.columns))
    copy = f"market.main.{identifier(name)}"
    table.order(order).create(copy)
    copied = connection.table(copy)
    # Of the copy: the hash is about what readers get.
    sums = table_sums(copied, mart.run_times)
    connection.execute(f"copy {copy} to {literal(folder / f'{name}.parquet')} ({PARQUET})")
    return sums.rows, hash_of(counted_columns(columns_of(copied), mart.run_times), sums)


def _view(connection: "duckdb.DuckDBPyConnection", name: str, parts: Parts, folder: Path) -> None:
    """Let a large table of the connection's database be what lies in a folder."""
    query = reading_sql(files_of(folder, name, parts), parts.columns)
    connection.execute(f"create or replace view {identifier(name)} as {query}")


@contextmanager
def _standing_in(folder: Path, place: Path) -> Iterator[None]:
    """Let what lies in a folder be found where it will lie: a view is made of files that are there."""
    place.symlink_to(folder.name, target_is_directory=True)
    try:
        yield
    finally:
        place.unlink()


def _rows(table: "duckdb.DuckDBPyRelation") -> int:
    return int(table.count("*").fetchall()[0][0])


def write_manifest(manifest: PublishedManifest, folder: Path) -> None:
    """Put the manifest beside the tables of its version."""
    said: dict[str, Any] = asdict(manifest)
    said["parts"] = {table: parts.says() for table, parts in manifest.parts.items()}
    (folder / MANIFEST).write_text(json.dumps(said, indent=2) + "\n", "utf-8")


def _flip(published: Path, number: int) -> None:
    link = published / ".current-next"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("versions") / str(number), target_is_directory=True)
    link.rename(published / "current")
    sync(published)


def _sweep(versions: Path) -> None:
    """Remove what a publication that did not end has left."""
    for leftover in versions.glob(f"{_BUILDING}*"):
        shutil.rmtree(leftover)
    for path in versions.iterdir():
        if path.is_symlink() and path.readlink().name.startswith(_BUILDING):
            path.unlink()


def _drop_old(versions: Path, kept: int) -> None:
    """Remove all but the last ones that are there, of a home that may have lost some."""
    for path in (versions / str(number) for number in _numbered(versions)[:-kept]):
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
