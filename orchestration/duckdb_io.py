"""Read-only queries on the warehouse and on published versions, for checks and reports."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb


@contextmanager
def reading(path: Path, attached: Mapping[str, Path] | None = None) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A read-only connection to a DuckDB file, with others beside it under the names given.

    No query can reach a file outside of the folders of these files, or change that: views read the lake there, and the
    parts of large tables.
    """
    import duckdb

    connection = duckdb.connect(str(path), read_only=True)
    try:
        for name, other in (attached or {}).items():
            connection.execute(f"attach {literal(other)} as {name} (read_only)")
        # Views name files by where they are, not by the link `current`.
        files = [place for file in (path, *(attached or {}).values()) for place in (file, file.resolve())]
        folders = ", ".join(literal(file.parent) for file in files)
        connection.execute(f"set allowed_directories = [{folders}]")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        yield connection
    finally:
        connection.close()


def literal(path: Path) -> str:
    """A path as an SQL string literal; ATTACH takes no parameters."""
    return "'" + str(path).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as an SQL identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def rows(
    path: Path,
    sql: str,
    parameters: list[Any] | dict[str, Any] | None = None,
    attached: Mapping[str, Path] | None = None,
) -> list[dict[str, Any]]:
    """The rows of one query as dictionaries.

    `parameters` are the values of its question marks, or of its names after a dollar sign; `attached` are other DuckDB
    files that it reads, by the name that it calls them.
    """
    with reading(path, attached) as connection:
        return query(connection, sql, parameters)


def query(
    connection: "duckdb.DuckDBPyConnection", sql: str, parameters: list[Any] | dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows of one of several queries, on one connection: opening a file takes longer than most of them."""
    result = connection.execute(sql, parameters or [])
    names = [column[0] for column in result.description]
    return [dict(zip(names, values, strict=True)) for values in result.fetchall()]


def latest_session(path: Path) -> str:
    """The latest session of any bar, as a date; none without bars."""
    (found,) = rows(path, "select max(session_date) as latest from daily_bars")
    return str(found["latest"] or "none")


def table_facts(path: Path) -> dict[str, dict[str, Any]]:
    """Row count and, where there is one, the latest session of every table: Dagster metadata by table name."""
    with reading(path) as connection:
        facts = {}
        for (name,) in connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'main'"
        ).fetchall():
            table = connection.table(identifier(name))
            known: dict[str, Any] = {"dagster/row_count": int(table.count("*").fetchall()[0][0])}
            if "session_date" in table.columns:
                latest = table.max("session_date").fetchall()[0][0]
                known["latest_session"] = str(latest) if latest else "none"
            facts[name] = known
        return facts
