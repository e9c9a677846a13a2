"""Published tables in PostgreSQL: the whole version or the one before it, nothing between.

A publication is one transaction: all tables are loaded into a schema of their own (COPY of Arrow batches), granted to
the reader role, described and analysed; then that schema takes the name of the readers' schema. A publication that
fails or is killed leaves nothing behind, and readers their version. The old schema is dropped in a transaction of its
own, because a reader may still be reading it.

The URL holds a password: no error of this module quotes it.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from orchestration.market.errors import PublishError
from orchestration.storage.publish import Mart, PublishedManifest
from orchestration.storage.warehouse import identifier

T = TypeVar("T")

CONNECT_SECONDS = 10
# Readers that hold a table are waited for this long before they are overtaken.
PATIENCE_SECONDS = 30
# Less than PostgreSQL's deadlock_timeout of a second: no reader may become the victim of a deadlock with us.
LOCK_SECONDS = 0.5
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
    """Replace the readers' schema by one published version.

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
            cursor.execute(f"set local lock_timeout = '{OTHER_PUBLISHER_SECONDS}s'")
            cursor.execute("select pg_advisory_xact_lock(hashtext($1))", [f"orewatch {schema}"])
            cursor.fetchall()
            _refuse_foreign(cursor, schema, manifest)
            fresh = f"{schema}_next"
            _load(cursor, fresh, file, manifest)
            # One by one: the driver's `executescript` commits first.
            for statement in _finish(fresh, reader, manifest, marts):
                cursor.execute(statement)
            cursor.execute(_swap(schema, fresh, len(manifest.rows)))
            cursor.execute("select current_setting('orewatch.waited')")
            waited = cursor.fetchall()[0][0] == "yes"
            connection.commit()
            return Publication(waited, tuple(_drop_old(connection, cursor, schema)))

    failed = (
        f"PostgreSQL schema {schema} was not replaced by version {manifest.version}, its readers keep what they had"
    )
    return _connected(url, failed, replace)


def _load(cursor: Any, fresh: str, file: Path, manifest: PublishedManifest) -> None:
    """All tables of a version into a schema of their own."""
    import duckdb

    cursor.execute(f"drop schema if exists {identifier(fresh)} cascade")
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


def _identity(cursor: Any, schema: str) -> dict[str, Any] | None:
    """The comment of a schema of ours.

    Raises:
        PublishError: there is a schema of this name that Orewatch did not make.
    """
    cursor.execute(
        "select coalesce(obj_description(oid, 'pg_namespace'), '') from pg_namespace where nspname = $1", [schema]
    )
    found = cursor.fetchall()
    if not found:
        return None
    try:
        said = json.loads(found[0][0])
        if isinstance(said, dict) and "orewatch" in said:
            return said["orewatch"]
    except ValueError:
        pass
    raise PublishError(
        f"PostgreSQL has a schema {schema} that Orewatch did not make; choose another name: OREWATCH_POSTGRES_SCHEMA"
    )


def _refuse_foreign(cursor: Any, schema: str, manifest: PublishedManifest) -> None:
    said = _identity(cursor, schema)
    if said is not None and said.get("source") != manifest.source:
        raise PublishError(
            f"PostgreSQL schema {schema} holds prices of the source {said.get('source')}, not of {manifest.source};"
            " choose another name: OREWATCH_POSTGRES_SCHEMA"
        )


def _finish(
    fresh: str,
    reader: str,
    manifest: PublishedManifest,
    marts: Mapping[str, Mart],
) -> Iterator[str]:
    """Statements that make loaded tables ready for readers: index, comments, statistics, grants."""
    yield f"comment on schema {identifier(fresh)} is {_text(json.dumps({'orewatch': _says(manifest)}))}"
    label = "SIMULATED prices. " if manifest.simulated else ""
    for table in manifest.rows:
        place = f"{identifier(fresh)}.{identifier(table)}"
        mart = marts.get(table, Mart())
        if mart.grain:
            yield f"create index on {place} ({', '.join(map(identifier, mart.grain))})"
        yield f"comment on table {place} is {_text(label + mart.description.strip())}"
        for column, description in mart.columns.items():
            yield f"comment on column {place}.{identifier(column)} is {_text(description.strip())}"
        yield f"analyze {place}"
    if reader:
        yield f"grant usage on schema {identifier(fresh)} to {identifier(reader)}"
        yield f"grant select on all tables in schema {identifier(fresh)} to {identifier(reader)}"


def _swap(schema: str, fresh: str, tables: int) -> str:
    """A block that lets the fresh schema take the name of the readers' schema.

    A rename alone is atomic for each name, not for a statement that looks up several: it could find one table in the
    old schema and the next in the new. Therefore all old tables are locked first, which waits for readers in the middle
    of something and lets those that come queue for a moment. The locks are tried for, and given back, within
    `LOCK_SECONDS`, again and again for `PATIENCE_SECONDS`; a session that sits on its transaction for longer is
    overtaken.
    """
    each = max(10, int(LOCK_SECONDS * 1000 / max(1, tables)))
    return f"""
do $swap$
declare
    deadline timestamptz := clock_timestamp() + interval '{PATIENCE_SECONDS} seconds';
    pause double precision := 0.02;
    place regclass;
begin
    perform set_config('orewatch.waited', 'yes', false);
    if exists (select from pg_namespace where nspname = {_text(schema)}) then
        perform set_config('lock_timeout', '{each}ms', true);
        loop
            begin
                for place in
                    select oid from pg_class
                    where relnamespace = {_place(schema)} and relkind = 'r' and pg_has_role(relowner, 'member')
                    order by relname
                loop
                    execute format('lock table %s in access exclusive mode', place);
                end loop;
                exit;
            exception when lock_not_available or deadlock_detected then
                if clock_timestamp() > deadline then
                    perform set_config('orewatch.waited', 'no', false);
                    exit;
                end if;
            end;
            perform pg_sleep(pause);
            pause := least(pause * 2, 0.5);
        end loop;
        execute format('alter schema {identifier(schema)} rename to %I', {_text(schema + "_old_")} || txid_current());
    end if;
    alter schema {identifier(fresh)} rename to {identifier(schema)};
end
$swap$
"""  # noqa: S608 (a block takes no parameters; the names are validated settings)


def _drop_old(connection: Any, cursor: Any, schema: str) -> list[str]:
    """Drop what former swaps have left, each without waiting; returns what has to stay, with the reason.

    Without CASCADE: a view that somebody made on our tables stays, on the version that it was made for.
    """
    prefix = f"{schema}_old_"
    cursor.execute("select nspname from pg_namespace where starts_with(nspname, $1) order by oid", [prefix])
    schemas = [name for (name,) in cursor.fetchall() if re.fullmatch(r"\d+", name.removeprefix(prefix))]
    connection.commit()
    kept = []
    for name in schemas:
        try:
            cursor.execute("set local lock_timeout = '200ms'")
            cursor.execute("select tablename from pg_tables where schemaname = $1", [name])
            tables = [f"{identifier(name)}.{identifier(table)}" for (table,) in cursor.fetchall()]
            if tables:
                cursor.execute(f"drop table {', '.join(tables)}")
            cursor.execute(f"drop schema {identifier(name)}")
            connection.commit()
        except Exception as error:
            connection.rollback()
            state = getattr(error, "sqlstate", None)
            reason = {"55P03": "somebody is reading it", "2BP01": "objects of yours depend on it"}.get(str(state))
            if reason is None:
                raise
            kept.append(f"{name}: {reason}")
    return kept


def _connected(url: str, failed: str, work: Callable[[Any], T]) -> T:
    """What `work` returns, given a connection in a transaction; what goes wrong is one line without secrets.

    Raises:
        PublishError: anything went wrong.
    """
    import adbc_driver_postgresql.dbapi as postgres

    try:
        with postgres.connect(_with_time_limits(url)) as connection:
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


def _text(value: str) -> str:
    """A string literal that means the same whatever the server thinks of backslashes."""
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _place(schema: str) -> str:
    """The schema as an object of the catalogue."""
    return f"{_text(identifier(schema))}::regnamespace"
