"""Published tables in PostgreSQL: the whole version or the one before it, nothing between.

A publication is one transaction: all tables are loaded into a schema of their own (COPY of Arrow batches), granted to
the reader role, described and analysed; then they take the places of the old ones in the readers' schema. A publication
that fails or is killed leaves nothing behind, and readers their version. The old tables, in a schema of their own then,
are dropped in transactions of their own, because a reader may still be reading them.

Others may have objects in the readers' schema, grants on our tables, and limits on our role. What is ours is said by
the comment of a schema, which names our tables and their oids; nothing else is moved or dropped. What others have put
on our tables is carried over (grants), or the publication is refused (row policies and the like).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.duckdb_io import identifier
from orchestration.market.errors import PublishError
from orchestration.publish.manifest import PublishedManifest, SyncStatus
from orchestration.publish.marts import Mart
from orchestration.publish.postgres_connection import connected, set_limits
from orchestration.publish.postgres_schema import (
    change_reader,
    identity,
    our_tables,
    parse_comment,
    read_comment,
    refuse_foreign,
    text_literal,
    write_comment,
)
from orchestration.publish.postgres_swap import swap_sql

# Another publication into the same schema may take this long.
OTHER_PUBLISHER_SECONDS = 600
BATCH_ROWS = 100_000


@dataclass(frozen=True)
class Publication:
    """How a publication ended.

    Attributes:
        waited: whether the swap waited until no reader was between two reads of the old tables; else one that stayed
            in a transaction for longer than `PATIENCE_SECONDS` may see both versions in it.
        kept: old schemas that could not be dropped, each with the reason.
    """

    waited: bool
    kept: tuple[str, ...]


def sync_status(url: str, schema: str, manifest: PublishedManifest) -> SyncStatus:
    """Compare the readers' schema with the published version; a server that cannot be asked is no error here."""

    def ask(connection: Any) -> dict[str, Any] | None:
        with connection.cursor() as cursor:
            return read_comment(cursor, schema)

    try:
        found = connected(url, f"schema {schema} could not be read", ask)
    except PublishError as error:
        return SyncStatus(False, str(error))
    held = found and found["orewatch"]
    if held == identity(manifest):
        return SyncStatus(True, f"schema {schema}, the same version")
    has = "nothing yet" if held is None else f"version {held.get('version')} of {held.get('published_at')}"
    return SyncStatus(False, f"schema {schema}, {has}; the next refresh publishes this version")


def publish_to_postgres(
    url: str, schema: str, reader: str, file: Path, manifest: PublishedManifest, marts: Mapping[str, Mart]
) -> Publication:
    """Replace our tables in the readers' schema by those of one published version.

    Args:
        url: of the database; the role in it must be allowed to create schemas.
        schema: the readers' schema.
        reader: role that may read it; empty: nobody is granted anything.
        file: DuckDB file of the version.
        manifest: of the version.
        marts: what is known of the tables: what they are looked up by, and their comments.

    Raises:
        PublishError: readers keep what they had; the message holds no password.
    """

    def replace(connection: Any) -> Publication:
        with connection.cursor() as cursor:
            set_limits(cursor, OTHER_PUBLISHER_SECONDS)
            cursor.execute("select pg_advisory_xact_lock(hashtext($1))", [f"orewatch {schema}"])
            cursor.fetchall()
            before = refuse_foreign(cursor, schema, manifest)
            cursor.execute("select txid_current()")
            number = cursor.fetchall()[0][0]
            fresh, old = f"{schema}_next_{number}", f"{schema}_old_{number}"
            _load(cursor, fresh, file, manifest)
            # One by one: the driver's `executescript` commits first.
            for statement in _finish_sql(fresh, reader, manifest, marts):
                cursor.execute(statement)
            waited = True
            if before is None:
                cursor.execute(f"alter schema {identifier(fresh)} rename to {identifier(schema)}")
            else:
                cursor.execute(swap_sql(schema, fresh, old, before["tables"].values(), before["reader"]))
                cursor.execute("select current_setting('orewatch.waited')")
                waited = cursor.fetchall()[0][0] == "yes"
                write_comment(cursor, old, before | {"superseded": True})
                change_reader(cursor, schema, before["reader"], reader)
            tables = our_tables(cursor, schema, list(manifest.rows))
            write_comment(cursor, schema, {"orewatch": identity(manifest), "tables": tables, "reader": reader})
            connection.commit()
            return Publication(waited, tuple(_drop_old(connection, cursor, schema)))

    failed = f"PostgreSQL schema {schema} was not replaced by version {manifest.version}"
    return connected(url, f"{failed}, its readers keep what they had", replace)


def _load(cursor: Any, fresh: str, file: Path, manifest: PublishedManifest) -> None:
    """All tables of a version into a schema of their own."""
    import duckdb

    cursor.execute(f"create schema {identifier(fresh)}")
    with duckdb.connect(str(file), read_only=True) as tables:
        for table in manifest.rows:
            batches = tables.table(identifier(table)).to_arrow_reader(BATCH_ROWS)
            cursor.adbc_ingest(table, batches, mode="create", db_schema_name=fresh)


def _finish_sql(fresh: str, reader: str, manifest: PublishedManifest, marts: Mapping[str, Mart]) -> Iterator[str]:
    """Statements that make loaded tables ready for readers: index, comments, statistics, grants."""
    label = "SIMULATED prices. " if manifest.simulated else ""
    for table in manifest.rows:
        place = f"{identifier(fresh)}.{identifier(table)}"
        mart = marts.get(table, Mart())
        if mart.grain:
            # A name that no other version has: a table that somebody has renamed keeps its index.
            index = identifier(f"{table}_{fresh.rpartition('_')[2]}")
            yield f"create index {index} on {place} ({', '.join(map(identifier, mart.grain))})"
        yield f"comment on table {place} is {text_literal(label + mart.description.strip())}"
        for column, description in mart.columns.items():
            yield f"comment on column {place}.{identifier(column)} is {text_literal(description.strip())}"
        yield f"analyze {place}"
    if reader:
        yield f"grant usage on schema {identifier(fresh)} to {identifier(reader)}"
        yield f"grant select on all tables in schema {identifier(fresh)} to {identifier(reader)}"


def _drop_old(connection: Any, cursor: Any, schema: str) -> list[str]:
    """Drop what former swaps have left, each table without waiting; returns what has to stay, with the reason.

    Only what its schema says to be ours and superseded, and without CASCADE: a view that somebody made on one of our
    tables stays, on the version that it was made for.
    """
    prefix = f"{schema}_old_"
    asked = "select nspname, obj_description(oid, 'pg_namespace') from pg_namespace where starts_with(nspname, $1)"
    cursor.execute(f"{asked} order by oid", [prefix])
    found = {name: parse_comment(text) for name, text in cursor.fetchall() if name.removeprefix(prefix).isdecimal()}
    connection.commit()
    kept = []
    for name, facts in found.items():
        if facts is None:
            continue
        if not facts.get("superseded"):
            kept.append(f"{name}: nothing in it says that nobody needs it; drop it if that is so")
            continue
        ours = [f"table {identifier(name)}.{identifier(t)}" for t in our_tables(cursor, name, facts["tables"])]
        connection.commit()
        reasons = [_drop_one(connection, cursor, what) for what in ours]
        if not any(reasons):
            reasons = [_drop_one(connection, cursor, f"schema {identifier(name)}")]
        kept += [f"{name}: {reason}" for reason in dict.fromkeys(filter(None, reasons))]
    return kept


def _drop_one(connection: Any, cursor: Any, what: str) -> str | None:
    """Drop one thing, if nobody uses it; returns why it has to stay."""
    reasons = {"55P03": "somebody is reading it", "2BP01": "objects of yours depend on it"}
    try:
        set_limits(cursor, 0.2)
        cursor.execute(f"drop {what}")
        connection.commit()
        return None
    except Exception as error:
        connection.rollback()
        if (state := str(getattr(error, "sqlstate", None))) not in reasons:
            raise
        return reasons[state]
