"""The tables of a version: one DuckDB file, one Parquet file per table, and a folder of Parquet files for a large one.

Nothing else than tables and such views in storage version v1.0.0, so that every DuckDB since 1.0 opens the file.
"""

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.duckdb_io import identifier, literal
from orchestration.publish.content_hash import columns_of, table_hash
from orchestration.publish.manifest import DATABASE, settled
from orchestration.publish.marts import Mart
from orchestration.publish.partitions import (
    NOTHING_BEFORE,
    PARQUET,
    Before,
    Partitions,
    can_be_partitioned,
    files_of,
    reading_sql,
    write_partitions,
)

if TYPE_CHECKING:
    import duckdb

# A table with more rows is partitioned.
LARGE_ROWS = 1_000_000
# Tables that are written at the same time.
_AT_ONCE = 2
_WORK = ".work"


@dataclass(frozen=True)
class WrittenTables:
    """What stands in a folder of tables; see `PublishedManifest`."""

    rows: dict[str, int]
    hashes: dict[str, str]
    hashed_by: str
    partitions: dict[str, Partitions] = field(default_factory=dict)


def write_tables(
    warehouse: Path,
    marts: Mapping[str, Mart],
    folder: Path,
    *,
    before: Before = NOTHING_BEFORE,
    place: Path | None = None,
    large_rows: int | None = None,
    memory_gb: float | None = None,
) -> WrittenTables:
    """Write the tables into market.duckdb and one Parquet file each, large ones as partitions.

    Args:
        warehouse: the DuckDB file with the tables.
        marts: the tables by name.
        folder: an empty one.
        before: the version before; partitions that have not changed are linked to its.
        place: where the folder will lie, beside where it does; without it no table is partitioned.
        large_rows: a table with more rows is; `LARGE_ROWS` if not given.
        memory_gb: what it may take; more goes to the disk.
    """
    import duckdb

    work = folder / _WORK
    work.mkdir()
    large: dict[str, Partitions] = {}
    with duckdb.connect() as connection:
        connection.execute(f"set temp_directory = {literal(work / 'spilled')}")
        if memory_gb is not None:
            connection.execute(f"set memory_limit = '{memory_gb}GB'")
        connection.execute(f"attach {literal(warehouse)} as warehouse (read_only)")
        stored = {name: connection.table(f"warehouse.main.{identifier(name)}") for name in marts}
        columns = {name: columns_of(table) for name, table in stored.items()}
        rows = {name: int(table.count("*").fetchall()[0][0]) for name, table in stored.items()}
        least = LARGE_ROWS if large_rows is None else large_rows
        for name, mart in marts.items():
            if place is None or rows[name] <= least or not can_be_partitioned(columns[name]):
                continue
            order = mart.grain or tuple(columns[name])
            found = write_partitions(connection, name, columns[name], order, mart.run_times, folder, work, before)
            large |= {} if found is None else {name: found}
        # The longest work first, so that no thread is left alone with it.
        small = sorted(marts.keys() - large.keys(), key=lambda name: (-rows[name] * len(columns[name]), name))
        hashes = _write_database(connection, {name: marts[name] for name in small}, large, folder, place)
    shutil.rmtree(work)
    rows |= {name: found.rows for name, found in large.items()}
    hashes |= {name: found.hash(marts[name].run_times) for name, found in large.items()}
    return WrittenTables(rows, {name: hashes[name] for name in marts}, f"duckdb {duckdb.__version__}", large)


def _write_database(
    connection: "duckdb.DuckDBPyConnection",
    small: Mapping[str, Mart],
    large: Mapping[str, Partitions],
    folder: Path,
    place: Path | None,
) -> dict[str, str]:
    """Write market.duckdb, and the small tables as Parquet too; returns the hash of each small one."""
    connection.execute(f"attach {literal(folder / DATABASE)} as market (storage_version 'v1.0.0')")

    def write(name: str) -> str:
        with connection.cursor() as cursor:
            return _write_table(cursor, name, small[name], folder)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        hashes = dict(zip(small, pool.map(write, small), strict=True))
    if large and place:
        connection.execute("use market")
        with _standing_in(folder, place):
            for name, partitions in large.items():
                create_view(connection, name, partitions, settled(place))
        connection.execute("use memory")
    connection.execute("detach market")
    return hashes


def _write_table(connection: "duckdb.DuckDBPyConnection", name: str, mart: Mart, folder: Path) -> str:
    """Write one table; returns its hash."""
    table = connection.table(f"warehouse.main.{identifier(name)}")
    # Sorted by the grain, so that readers who ask for a symbol or a range skip most of the file, and so that
    # the same rows always stand in the same order.
    order = ", ".join(map(identifier, mart.grain or table.columns))
    copy = f"market.main.{identifier(name)}"
    table.order(order).create(copy)
    # Of the copy: the hash is about what readers get.
    hashed = table_hash(connection.table(copy), mart.run_times)
    connection.execute(f"copy {copy} to {literal(folder / f'{name}.parquet')} ({PARQUET})")
    return hashed


def create_view(connection: "duckdb.DuckDBPyConnection", name: str, partitions: Partitions, folder: Path) -> None:
    """Let a large table of the connection's database be what lies in a folder."""
    query = reading_sql(files_of(folder, name, partitions), partitions.columns)
    connection.execute(f"create or replace view {identifier(name)} as {query}")


@contextmanager
def _standing_in(folder: Path, place: Path) -> Iterator[None]:
    """Let what lies in a folder be found where it will lie: a view is made of files that are there."""
    place.symlink_to(folder.name, target_is_directory=True)
    try:
        yield
    finally:
        place.unlink()
