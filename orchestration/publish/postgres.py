"""Published tables in PostgreSQL: the whole version or the one before it, nothing between.

A publication is one transaction: all tables are loaded into a schema of their own (COPY of Arrow batches), granted to
the reader role, described and analysed; then they take the places of the old ones in the readers' schema. A publication
that fails or is killed leaves nothing behind, and readers their version. The old tables, in a schema of their own then,
are dropped in transactions of their own, because a reader may still be reading them.

Others may have objects in the readers' schema, grants on our tables, and limits on our role. What is ours is said by
the comment of a schema, which names our tables and their oids; nothing else is moved or dropped. What others have put
on our tables is carried over (grants), or the publication is refused (row policies and the like).

The URL holds a password: no error of this module quotes it.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from orchestration.duckdb_io import identifier
from orchestration.market.errors import PublishError
from orchestration.publish.versions import Mart, PublishedManifest

T = TypeVar("T")

CONNECT_SECONDS = 10
# Readers that hold a table are waited for this long before they are overtaken.
PATIENCE_SECONDS = 30
# Less than PostgreSQL's deadlock_timeout of a second: no reader may become the victim of a deadlock with us.
LOCK_SECONDS = 0.5
# Another publication into the same schema may take this long.
OTHER_PUBLISHER_SECONDS = 600
# Whatever the role has. A statement copies a table of millions of rows; between two of them the next one is read.
STATEMENT_SECONDS = 3600
IDLE_SECONDS = 600
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


@dataclass(frozen=True)
class Standing:
    """What PostgreSQL has against what it ought to have.

    Attributes:
        is_current: whether readers there see exactly the version that readers of files see.
        text: in words.
    """

    is_current: bool
    text: str


def standing(url: str, schema: str, manifest: PublishedManifest) -> Standing:
    """Compare the readers' schema with the published version; a server that cannot be asked is no error here."""

    def ask(connection: Any) -> dict[str, Any] | None:
        with connection.cursor() as cursor:
            return _identity(cursor, schema)

    try:
        said = _connected(url, f"schema {schema} could not be read", ask)
    except PublishError as error:
        return Standing(False, str(error))
    if said == _says(manifest):
        return Standing(True, f"schema {schema}, the same version")
    has = "nothing yet" if said is None else f"version {said.get('version')} of {said.get('published_at')}"
    return Standing(False, f"schema {schema}, {has}; the next refresh publishes this version")


def publish_to_postgres(
    url: str,
    schema: str,
    reader: str,
    file: Path,
    manifest: PublishedManifest,
    marts: Mapping[str, Mart],
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
            _set_limits(cursor, OTHER_PUBLISHER_SECONDS)
            cursor.execute("select pg_advisory_xact_lock(hashtext($1))", [f"orewatch {schema}"])
            cursor.fetchall()
            before = _refuse_foreign(cursor, schema, manifest)
            cursor.execute("select txid_current()")
            number = cursor.fetchall()[0][0]
            fresh, old = f"{schema}_next_{number}", f"{schema}_old_{number}"
            _load(cursor, fresh, file, manifest)
            # One by one: the driver's `executescript` commits first.
            for statement in _finish(fresh, reader, manifest, marts):
                cursor.execute(statement)
            waited = True
            if before is None:
                cursor.execute(f"alter schema {identifier(fresh)} rename to {identifier(schema)}")
            else:
                cursor.execute(_swap(schema, fresh, old, before["tables"].values(), before["reader"]))
                cursor.execute("select current_setting('orewatch.waited')")
                waited = cursor.fetchall()[0][0] == "yes"
                _describe(cursor, old, before | {"superseded": True})
                _change_reader(cursor, schema, before["reader"], reader)
            tables = _ours(cursor, schema, list(manifest.rows))
            _describe(cursor, schema, {"orewatch": _says(manifest), "tables": tables, "reader": reader})
            connection.commit()
            return Publication(waited, tuple(_drop_old(connection, cursor, schema)))

    failed = (
        f"PostgreSQL schema {schema} was not replaced by version {manifest.version}, its readers keep what they had"
    )
    return _connected(url, failed, replace)


def _load(cursor: Any, fresh: str, file: Path, manifest: PublishedManifest) -> None:
    """All tables of a version into a schema of their own."""
    import duckdb

    cursor.execute(f"create schema {identifier(fresh)}")
    with duckdb.connect(str(file), read_only=True) as tables:
        for table in manifest.rows:
            batches = tables.table(identifier(table)).to_arrow_reader(BATCH_ROWS)
            cursor.adbc_ingest(table, batches, mode="create", db_schema_name=fresh)


def _says(manifest: PublishedManifest) -> dict[str, Any]:
    return {
        "source": manifest.source,
        "version": manifest.version,
        "published_at": manifest.published_at,
        "fingerprint": manifest.fingerprint,
        "content_hash": manifest.content_hash,
    }


def _set_limits(cursor: Any, lock_seconds: float) -> None:
    """Our limits for this transaction, in the place of those that somebody has set for the role or the database.

    It has to be the first statement of the transaction.
    """
    # Under a stricter level we would not see what others have done to the tables since we began.
    cursor.execute("set transaction isolation level read committed, read write")
    limits = {
        "lock_timeout": lock_seconds,
        "statement_timeout": STATEMENT_SECONDS,
        "idle_in_transaction_session_timeout": IDLE_SECONDS,
        "transaction_timeout": 0,
    }
    # The driver writes text in UTF-8, whatever the server takes it for.
    ours = {name: int(seconds * 1000) for name, seconds in limits.items()} | {"client_encoding": "UTF8"}
    values = ", ".join(f"('{name}', '{value}')" for name, value in ours.items())
    # Not every server has all of them.
    cursor.execute(
        f"select set_config(name, value, true) from (values {values}) as ours (name, value)"  # noqa: S608
        " inner join pg_settings using (name)"
    )
    cursor.fetchall()


def _describe(cursor: Any, schema: str, said: Mapping[str, Any]) -> None:
    cursor.execute(f"comment on schema {identifier(schema)} is {_text(json.dumps(said))}")


def _comment(text: str | None) -> dict[str, Any] | None:
    """What the comment of a schema of ours says; None if it is none of ours."""
    try:
        said = json.loads(text or "")
    except ValueError:
        return None
    return said if isinstance(said, dict) and "orewatch" in said else None


def _identity(cursor: Any, schema: str) -> dict[str, Any] | None:
    """The version that a schema of ours holds; see `_said`."""
    said = _said(cursor, schema)
    return said and said["orewatch"]


def _said(cursor: Any, schema: str) -> dict[str, Any] | None:
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
    said = _comment(found[0][0])
    if said is None:
        raise PublishError(
            f"PostgreSQL has a schema {schema} that Orewatch did not make;"
            " choose another name: OREWATCH_POSTGRES_SCHEMA"
        )
    return said


def _refuse_foreign(cursor: Any, schema: str, manifest: PublishedManifest) -> dict[str, Any] | None:
    """The comment of the readers' schema, with those of our tables that are in it; None if there is no such schema.

    Raises:
        PublishError: the schema, or something in the place of a table, is not ours.
    """
    said = _said(cursor, schema)
    if said is None:
        return None
    if (source := said["orewatch"].get("source")) != manifest.source:
        raise PublishError(
            f"PostgreSQL schema {schema} holds prices of the source {source}, not of {manifest.source};"
            " choose another name: OREWATCH_POSTGRES_SCHEMA"
        )
    # An earlier version of this program did not name its tables.
    said = {"tables": list(manifest.rows), "reader": ""} | said
    said["tables"] = _ours(cursor, schema, said["tables"])
    cursor.execute(
        "select pg_describe_object('pg_class'::regclass, oid, 0) from pg_class"  # noqa: S608
        f" where relnamespace = {_place(schema)} and relname = any ({_names(manifest.rows)})"
        f" and not {_is_one_of(said['tables'].values())} order by relname"
    )
    if found := [what for (what,) in cursor.fetchall()]:
        raise PublishError(
            f"PostgreSQL schema {schema} holds something that is not Orewatch's in the place of its tables:"
            f" {', '.join(found)}; rename it, move it to another schema, or drop it"
        )
    return said


def _ours(cursor: Any, schema: str, tables: Mapping[str, int] | Sequence[str]) -> dict[str, int]:
    """Our tables that are in a schema, with their oids.

    Args:
        cursor: of the connection.
        schema: that has a comment of ours.
        tables: what its comment says: names and oids. A table of another oid is somebody's, whatever its name. An
            earlier version of this program noted the names alone, so they have to do.
    """
    cursor.execute(
        "select relname, oid::bigint from pg_class"  # noqa: S608
        f" where relnamespace = {_place(schema)} and relkind = 'r' and relname = any ({_names(tables)})"
        " and pg_has_role(relowner, 'member') order by relname"
    )
    return {n: oid for n, oid in cursor.fetchall() if not isinstance(tables, Mapping) or tables[n] == oid}


def _change_reader(cursor: Any, schema: str, before: str, reader: str) -> None:
    """Let the new reader into the schema and the one before out; on new tables only the new one has been granted."""
    if before and before != reader:
        cursor.execute("select 1 from pg_roles where rolname = $1", [before])
        if cursor.fetchall():
            cursor.execute(f"revoke usage on schema {identifier(schema)} from {identifier(before)}")
    if reader:
        cursor.execute(f"grant usage on schema {identifier(schema)} to {identifier(reader)}")


def _finish(
    fresh: str,
    reader: str,
    manifest: PublishedManifest,
    marts: Mapping[str, Mart],
) -> Iterator[str]:
    """Statements that make loaded tables ready for readers: index, comments, statistics, grants."""
    label = "SIMULATED prices. " if manifest.simulated else ""
    for table in manifest.rows:
        place = f"{identifier(fresh)}.{identifier(table)}"
        mart = marts.get(table, Mart())
        if mart.grain:
            # A name that no other version has: a table that somebody has renamed keeps its index.
            index = identifier(f"{table}_{fresh.rpartition('_')[2]}")
            yield f"create index {index} on {place} ({', '.join(map(identifier, mart.grain))})"
        yield f"comment on table {place} is {_text(label + mart.description.strip())}"
        for column, description in mart.columns.items():
            yield f"comment on column {place}.{identifier(column)} is {_text(description.strip())}"
        yield f"analyze {place}"
    if reader:
        yield f"grant usage on schema {identifier(fresh)} to {identifier(reader)}"
        yield f"grant select on all tables in schema {identifier(fresh)} to {identifier(reader)}"


def _swap(schema: str, fresh: str, old: str, tables: Collection[int], reader: str) -> str:
    """A block that moves our tables out of the readers' schema into an old one, and the fresh ones in.

    That is atomic for each name, not for a statement that looks up several: it could find one old table and the next
    new. Therefore all old tables are locked first, which waits for readers in the middle of something and lets those
    that come queue for a moment. The locks are tried for, and given back, within `LOCK_SECONDS`, again and again for
    `PATIENCE_SECONDS`. A session that sits on its transaction for longer is overtaken: whole schemas are renamed, for
    which no table need be locked. Not so if others have something in the schema, which would go with it.

    Args:
        schema: the readers' schema.
        fresh: where the new tables are.
        old: a schema that is not there, for the old tables.
        tables: oids of ours in the readers' schema.
        reader: whom we have granted them; what others were granted, they are granted on the new tables too.
    """
    each = max(10, int(LOCK_SECONDS * 1000 / max(1, len(tables))))
    here, there = _place(schema), _place(fresh)
    # In its place still: somebody may have moved one while the new ones were loaded.
    is_ours = f"relnamespace = {here} and {_is_one_of(tables)}"
    grants = """
        select acl.privilege_type || columns as privilege, acl.is_grantable, what,
            case acl.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end as grantee
        from {}, aclexplode(acls) as acl where acl.grantee <> owner and pg_get_userbyid(acl.grantee) <> {}
    """
    on_tables = f"""(
        select 'table ' || fresh.oid::regclass as what, held.columns, held.acls, ours.relowner as owner
        from (select * from pg_class where {is_ours}) as ours
        inner join pg_class as fresh on ours.relname = fresh.relname and fresh.relnamespace = {there}
        cross join lateral (
            select '' as columns, ours.relacl as acls
            union all
            select format(' (%I)', attname), theirs.attacl
            from pg_attribute as theirs inner join pg_attribute as new using (attname)
            where theirs.attrelid = ours.oid and new.attrelid = fresh.oid
        ) as held
    ) as tables"""  # noqa: S608
    on_schema = f"""(
        select 'schema ' || quote_ident({_text(fresh)}) as what, '' as columns, nspacl as acls, nspowner as owner
        from pg_namespace where oid = {here}
    ) as schemas"""  # noqa: S608
    # What is dropped with a table, and matters to more than its speed.
    carried = f"""(
        select pg_describe_object(classid, objid, objsubid) as what from pg_depend
        where refclassid = 'pg_class'::regclass and refobjid in (select oid from pg_class where {is_ours})
            and deptype = 'a' and classid = any (
                '{{pg_policy,pg_trigger,pg_rewrite,pg_publication_rel}}'::regclass[]
            )
        union
        select 'row level security of table ' || oid::regclass from pg_class
        where {is_ours} and (relrowsecurity or relforcerowsecurity)
        union
        select 'security label of ' || pg_describe_object(classoid, objoid, objsubid) from pg_seclabel
        where classoid = 'pg_class'::regclass and objoid in (select oid from pg_class where {is_ours})
    ) as carried"""  # noqa: S608
    return f"""
do $swap$
declare
    deadline timestamptz := clock_timestamp() + interval '{PATIENCE_SECONDS} seconds';
    pause double precision := 0.02;
    waited boolean := true;
    place regclass;
    granted record;
    carried text;
    others text;
begin
    perform set_config('lock_timeout', '{each}ms', true);
    loop
        begin
            for place in select oid from pg_class where {is_ours} order by relname loop
                execute format('lock table %s in access exclusive mode', place);
            end loop;
            exit;
        exception when lock_not_available or deadlock_detected then
            if clock_timestamp() > deadline then
                waited := false;
                exit;
            end if;
        end;
        perform pg_sleep(pause);
        pause := least(pause * 2, 0.5);
    end loop;
    perform set_config('orewatch.waited', case when waited then 'yes' else 'no' end, false);
    select string_agg(what, ', ' order by what) into carried from {carried};
    if carried is not null then
        raise exception 'the new tables would lose %; take it off (what to have instead of row policies: docs/configuration.md, PostgreSQL)', left(carried, 400);
    end if;
    for granted in {grants.format(on_tables, _text(reader))} loop
        execute format('grant %s on %s to %s', granted.privilege, granted.what, granted.grantee)
            || case when granted.is_grantable then ' with grant option' else '' end;
    end loop;
    if waited then
        create schema {identifier(old)};
        for place in select oid from pg_class where {is_ours} loop
            execute format('alter table %s set schema {identifier(old)}', place);
        end loop;
        for place in select oid from pg_class where relnamespace = {there} and relkind = 'r' loop
            execute format('alter table %s set schema {identifier(schema)}', place);
        end loop;
        drop schema {identifier(fresh)};
        return;
    end if;
    select string_agg(pg_describe_object(classid, objid, objsubid), ', ' order by objid) into others
    from pg_depend
    where refclassid = 'pg_namespace'::regclass and refobjid = {here} and not (
        classid = 'pg_class'::regclass and objid in (select oid from pg_class where {is_ours})
    );
    if others is not null then
        raise exception 'a session has been reading its tables for more than {PATIENCE_SECONDS} seconds, and they cannot be replaced around it, because the schema also holds %; end that session, or move what is yours to another schema', left(others, 200);
    end if;
    for granted in {grants.format(on_schema, _text(reader))} loop
        execute format('grant %s on %s to %s', granted.privilege, granted.what, granted.grantee)
            || case when granted.is_grantable then ' with grant option' else '' end;
    end loop;
    alter schema {identifier(schema)} rename to {identifier(old)};
    alter schema {identifier(fresh)} rename to {identifier(schema)};
end
$swap$
"""  # noqa: E501, S608 (a block takes no parameters; the names are validated settings)


def _drop_old(connection: Any, cursor: Any, schema: str) -> list[str]:
    """Drop what former swaps have left, each table without waiting; returns what has to stay, with the reason.

    Only what its schema says to be ours and superseded, and without CASCADE: a view that somebody made on one of our
    tables stays, on the version that it was made for.
    """
    prefix = f"{schema}_old_"
    cursor.execute(
        "select nspname, obj_description(oid, 'pg_namespace') from pg_namespace"
        " where starts_with(nspname, $1) order by oid",
        [prefix],
    )
    found = {name: _comment(text) for name, text in cursor.fetchall() if name.removeprefix(prefix).isdecimal()}
    connection.commit()
    kept = []
    for name, said in found.items():
        if said is None:
            continue
        if not said.get("superseded"):
            kept.append(f"{name}: nothing in it says that nobody needs it; drop it if that is so")
            continue
        ours = [f"table {identifier(name)}.{identifier(t)}" for t in _ours(cursor, name, said["tables"])]
        connection.commit()
        reasons = [_dropped(connection, cursor, what) for what in ours]
        if not any(reasons):
            reasons = [_dropped(connection, cursor, f"schema {identifier(name)}")]
        kept += [f"{name}: {reason}" for reason in dict.fromkeys(filter(None, reasons))]
    return kept


def _dropped(connection: Any, cursor: Any, what: str) -> str | None:
    """Drop one thing, if nobody uses it; returns why it has to stay."""
    try:
        _set_limits(cursor, 0.2)
        cursor.execute(f"drop {what}")
        connection.commit()
        return None
    except Exception as error:
        connection.rollback()
        state = str(getattr(error, "sqlstate", None))
        reason = {"55P03": "somebody is reading it", "2BP01": "objects of yours depend on it"}.get(state)
        if reason is None:
            raise
        return reason


def _connected(url: str, failed: str, work: Callable[[Any], T]) -> T:
    """What `work` returns, given a connection in a transaction; what goes wrong is one line without secrets.

    Raises:
        PublishError: anything went wrong.
    """
    import adbc_driver_postgresql.dbapi as postgres

    try:
        with postgres.connect(_with_time_limits(url)) as connection, connection.cursor() as cursor:
            # Where this is on, the driver, which asks for the server's types as it connects, knows none of them.
            cursor.execute("select current_setting('quote_all_identifiers')")
            knows_types = cursor.fetchall() == [("off",)]
            connection.commit()
            if knows_types:
                return work(connection)
        with postgres.connect(_unquoted(_with_time_limits(url))) as connection:
            return work(connection)
    except PublishError:
        raise
    except Exception as error:
        why = _in_words(error, url)
    # Outside the handler: the library's error, which may quote the URL, must not travel along as its context.
    raise PublishError(f"{failed}: {why}")


def _in_words(error: Exception, url: str) -> str:
    """An error of the driver in one line, without its query and without any part of the URL that is secret."""
    text = str(error)
    # The server's own words, wherever the driver has put them: before them may stand a whole script.
    found = re.findall(r"(?:ERROR|FATAL|PANIC):\s*(.+)", text)
    line = found[-1] if found else next((p.strip() for p in text.splitlines() if p.strip()), type(error).__name__)
    line = re.sub(r"^[A-Z_]+: (\[libpq\] )?", "", line.split(". SQLSTATE")[0])
    for secret in secrets(url):
        line = line.replace(secret, "***")
    return line


def secrets(url: str) -> list[str]:
    """The URL and every password in it, as written and as meant; longest first."""
    found = {url}
    _, _, rest = url.partition("://")
    credentials = rest.rpartition("@")[0]
    if ":" in credentials:
        found.add(credentials.partition(":")[2])
        found.add(credentials)
    found |= set(re.findall(r"[?&](?:ssl)?password=([^&]*)", url))
    found |= {unquote(secret) for secret in found}
    return sorted(filter(None, found), key=len, reverse=True)


def _with_time_limits(url: str) -> str:
    """The URL with limits for a server that does not answer, unless it has limits of its own."""
    for name, value in (("connect_timeout", CONNECT_SECONDS), ("tcp_user_timeout", 30_000)):
        if f"{name}=" not in url:
            url += f"{'&' if '?' in url else '?'}{name}={value}"
    return url


def _unquoted(url: str) -> str:
    """The URL for a session that writes names as they are; not every pooler takes it, so it is for where it must be."""
    option = "options=-cquote_all_identifiers%3Doff"
    if re.search(r"[?&]options=", url):
        return re.sub(r"([?&])options=", rf"\1{option}%20", url)
    return f"{url}{'&' if '?' in url else '?'}{option}"


def _text(value: str) -> str:
    """A string literal that means the same whatever the server thinks of backslashes."""
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _place(schema: str) -> str:
    """The schema as an object of the catalogue."""
    return f"{_text(identifier(schema))}::regnamespace"


def _names(names: Iterable[str]) -> str:
    """An array of names."""
    return f"array[{', '.join(map(_text, names))}]::name[]"


def _is_one_of(tables: Iterable[int]) -> str:
    """A condition on rows of pg_class."""
    return f"oid = any (array[{', '.join(map(str, tables))}]::oid[])"
