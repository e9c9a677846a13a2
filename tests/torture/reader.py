"""One reader, in a process of its own: opens, reads every table, closes, and again, until it is told to stop.

Every table carries the number of its version as a day (`session_date`, the latest one). A read is torn if two tables
are of different versions; it lags if it began after a version had been published and found an older one.

    python -m tests.torture.reader KIND TARGET CONTROL NAME
"""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Read = Callable[[], dict[str, str]]

PAUSE_SECONDS = 0.01


def duckdb_client(target: str, tables: list[str]) -> Iterator[dict[str, str]]:
    """DuckDB's Python client; now and then the last connection is still open when the next one is made."""
    import duckdb

    last = None
    for number in _count():
        connection = duckdb.connect(target, read_only=True)
        yield {t: str(connection.execute(f"select max(session_date) from {t}").fetchall()[0][0]) for t in tables}  # noqa: S608
        if last is not None:
            last.close()
        last = connection
        if number % 3:
            last.close()
            last = None


def sqlalchemy_client(target: str, tables: list[str]) -> Iterator[dict[str, str]]:
    """SQLAlchemy with duckdb-engine, a connection per query as dashboards have it."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        f"duckdb:///{target}", connect_args={"read_only": True}, poolclass=sqlalchemy.pool.NullPool
    )
    for _ in _count():
        with engine.connect() as connection:
            yield {
                t: str(connection.execute(sqlalchemy.text(f"select max(session_date) from {t}")).scalar())  # noqa: S608
                for t in tables
            }


def parquet_client(target: str, tables: list[str]) -> Iterator[dict[str, str]]:
    """Parquet files through the link, resolved once for a read."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for _ in _count():
        folder = Path(target).parent.resolve()
        files = {t: folder / f"{t}.parquet" for t in tables}
        yield {
            # A large table is a folder.
            t: str(pc.max(pq.read_table(path if path.exists() else folder / t)["session_date"]).as_py())
            for t, path in files.items()
        }


def postgres_client(target: str, tables: list[str]) -> Iterator[dict[str, str]]:
    """PostgreSQL: one statement over all tables, or a transaction of one for each, on an old session or new."""
    import adbc_driver_postgresql.dbapi as postgres

    url, _, schema = target.rpartition("#")
    one = " union all ".join(f"select '{t}', cast(max(session_date) as text) from {schema}.{t}" for t in tables)  # noqa: S608
    while True:
        with postgres.connect(url) as connection, connection.cursor() as cursor:
            for number in range(20):
                if number % 2:
                    cursor.execute(one)
                    found = dict(cursor.fetchall())
                else:
                    found = {}
                    for t in random.sample(tables, len(tables)):
                        cursor.execute(f"select cast(max(session_date) as text) from {schema}.{t}")  # noqa: S608
                        found[t] = cursor.fetchall()[0][0]
                connection.commit()
                yield found


CLIENTS = {
    "duckdb": duckdb_client,
    "sqlalchemy": sqlalchemy_client,
    "parquet": parquet_client,
    "postgres": postgres_client,
}


def _count() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def main(kind: str, target: str, control: str, name: str) -> None:
    """Read until `<control>/stop` exists; the figures go into `<control>/<name>.json`."""
    folder = Path(control)
    tables = (folder / "tables").read_text().split()
    announced = folder / ("announced-postgres" if kind == "postgres" else "announced-files")
    figures = {"kind": kind, "reads": 0, "failed": 0, "torn": 0, "lagging": 0, "slowest": 0.0, "versions": 0, "why": []}
    seen = set()
    reads = CLIENTS[kind](target, tables)
    (folder / f"{name}.ready").touch()
    while not (folder / "stop").exists():
        least = announced.read_text()
        began = time.monotonic()
        try:
            found = next(reads)
        except Exception as error:
            figures["failed"] += 1
            figures["why"].append(f"{type(error).__name__}: {error}"[:500])
            reads = CLIENTS[kind](target, tables)
            continue
        figures["reads"] += 1
        figures["slowest"] = max(figures["slowest"], time.monotonic() - began)
        seen |= set(found.values())
        if len(set(found.values())) > 1:
            figures["torn"] += 1
            figures["why"].append(f"torn: {found}"[:500])
        elif min(found.values()) < least:
            figures["lagging"] += 1
            figures["why"].append(f"lagging: {min(found.values())} after {least} had been published")
        time.sleep(PAUSE_SECONDS)
    figures["versions"] = len(seen)
    (folder / f"{name}.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
