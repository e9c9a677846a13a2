"""What in PostgreSQL is ours: the comment of a schema names our tables and their oids, and nothing else is touched."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestration.duckdb_io import identifier
from orchestration.market.errors import PublishError
from orchestration.publish.manifest import PublishedManifest

_CHOOSE = "choose another name: OREWATCH_POSTGRES_SCHEMA"


def identity(manifest: PublishedManifest) -> dict[str, Any]:
    """By what a version is known in a schema that holds it."""
    return {
        "source": manifest.source,
        "version": manifest.version,
        "published_at": manifest.published_at,
        "fingerprint": manifest.fingerprint,
        "content_hash": manifest.content_hash,
    }


def write_comment(cursor: Any, schema: str, facts: Mapping[str, Any]) -> None:
    """Say that a schema is ours, and what is in it."""
    cursor.execute(f"comment on schema {identifier(schema)} is {text_literal(json.dumps(facts))}")


def parse_comment(text: str | None) -> dict[str, Any] | None:
    """What the comment of a schema of ours says; None if it is none of ours."""
    try:
        facts = json.loads(text or "")
    except ValueError:
        return None
    return facts if isinstance(facts, dict) and "orewatch" in facts else None


def read_comment(cursor: Any, schema: str) -> dict[str, Any] | None:
    """The comment of a schema of ours; None if there is no such schema.

    Raises:
        PublishError: there is a schema of this name that Orewatch did not make.
    """
    cursor.execute(
        "select coalesce(obj_description(oid, 'pg_namespace'), '') from pg_namespace where nspname = $1", [schema]
    )
    found = cursor.fetchall()
    if not found:
        return None
    facts = parse_comment(found[0][0])
    if facts is None:
        raise PublishError(f"PostgreSQL has a schema {schema} that Orewatch did not make; {_CHOOSE}")
    return facts


def refuse_foreign(cursor: Any, schema: str, manifest: PublishedManifest) -> dict[str, Any] | None:
    """The comment of the readers' schema, with those of our tables that are in it; None if there is no such schema.

    Raises:
        PublishError: the schema, or something in the place of a table, is not ours.
    """
    facts = read_comment(cursor, schema)
    if facts is None:
        return None
    if (source := facts["orewatch"].get("source")) != manifest.source:
        raise PublishError(
            f"PostgreSQL schema {schema} holds prices of the source {source}, not of {manifest.source}; {_CHOOSE}"
        )
    # An earlier version of this program did not name its tables.
    facts = {"tables": list(manifest.rows), "reader": ""} | facts
    facts["tables"] = our_tables(cursor, schema, facts["tables"])
    cursor.execute(
        "select pg_describe_object('pg_class'::regclass, oid, 0) from pg_class"  # noqa: S608
        f" where relnamespace = {place(schema)} and relname = any ({_names(manifest.rows)})"
        f" and not {is_one_of(facts['tables'].values())} order by relname"
    )
    if found := [what for (what,) in cursor.fetchall()]:
        raise PublishError(
            f"PostgreSQL schema {schema} holds something that is not Orewatch's in the place of its tables:"
            f" {', '.join(found)}; rename it, move it to another schema, or drop it"
        )
    return facts


def our_tables(cursor: Any, schema: str, tables: Mapping[str, int] | Sequence[str]) -> dict[str, int]:
    """Our tables that are in a schema, with their oids.

    Args:
        cursor: of the connection.
        schema: that has a comment of ours.
        tables: what its comment says: names and oids. A table of another oid is somebody's, whatever its name. An
            earlier version of this program noted the names alone, so they have to do.
    """
    cursor.execute(
        "select relname, oid::bigint from pg_class"  # noqa: S608
        f" where relnamespace = {place(schema)} and relkind = 'r' and relname = any ({_names(tables)})"
        " and pg_has_role(relowner, 'member') order by relname"
    )
    return {n: oid for n, oid in cursor.fetchall() if not isinstance(tables, Mapping) or tables[n] == oid}


def change_reader(cursor: Any, schema: str, before: str, reader: str) -> None:
    """Let the new reader into the schema and the one before out; on new tables only the new one has been granted."""
    if before and before != reader:
        cursor.execute("select 1 from pg_roles where rolname = $1", [before])
        if cursor.fetchall():
            cursor.execute(f"revoke usage on schema {identifier(schema)} from {identifier(before)}")
    if reader:
        cursor.execute(f"grant usage on schema {identifier(schema)} to {identifier(reader)}")


def text_literal(value: str) -> str:
    """A string literal that means the same whatever the server thinks of backslashes."""
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def place(schema: str) -> str:
    """The schema as an object of the catalogue."""
    return f"{text_literal(identifier(schema))}::regnamespace"


def _names(names: Iterable[str]) -> str:
    """An array of names."""
    return f"array[{', '.join(map(text_literal, names))}]::name[]"


def is_one_of(tables: Iterable[int]) -> str:
    """A condition on rows of pg_class."""
    return f"oid = any (array[{', '.join(map(str, tables))}]::oid[])"
