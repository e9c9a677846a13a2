"""What docs/bi.md says of BI tools, as far as a client of theirs is on the machine: settings, refresh, permissions.

test_documents.py runs the blocks of that page; tests/torture/test_readers.py reads under a hundred publications.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool, Pool, QueuePool

from orchestration.publish.manifest import PublishedManifest, version_file
from orchestration.publish.marts import Mart
from orchestration.publish.postgres import publish_to_postgres
from orchestration.publish.versions import publish
from tests.postgres_server import PASSWORD, PostgresServer, postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MARTS = {"returns": Mart(("symbol",), "One row per symbol.\n", {"return_1d": "Total return, fraction."})}
# As an existing Superset is told it, under "Engine parameters".
LOCKED = {"read_only": True, "config": {"enable_external_access": "false", "lock_configuration": "true"}}
SECONDS = 300


class Market:
    """A published folder whose one table carries the number of its version."""

    def __init__(self, folder: Path) -> None:
        self.published, self.number = folder / "published", 0
        self._warehouse = folder / "warehouse.duckdb"

    @property
    def file(self) -> Path:
        return self.published / "current/market.duckdb"

    def publish(self) -> PublishedManifest:
        self.number += 1
        with duckdb.connect(str(self._warehouse)) as connection:
            connection.execute(
                "create or replace table returns as select 'SIL' as symbol, date '2026-01-30' as session_date,"
                f" cast({self.number}.25 as double) as return_1d, true as is_large"
            )
        return publish(self._warehouse, MARTS, self.published, f"f{self.number}", "sample", True)


@pytest.fixture
def market(tmp_path: Path) -> Market:
    made = Market(tmp_path)
    made.publish()
    return made


def engine(file: Path, pool: type[Pool]) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(f"duckdb:///{file}", connect_args=LOCKED, poolclass=pool)


def value(reader: sqlalchemy.Engine, sql: str = "select return_1d from returns") -> object:
    with reader.connect() as connection:
        return connection.execute(sqlalchemy.text(sql)).scalar()


def test_a_pool_stays_on_its_version_and_no_pool_does_not(market: Market) -> None:
    """Superset opens every connection with NullPool; what keeps connections has to be told to let go of them."""
    fresh, pooled = engine(market.file, NullPool), engine(market.file, QueuePool)
    assert (value(fresh), value(pooled)) == (1.25, 1.25)
    market.publish()
    assert (value(fresh), value(pooled)) == (2.25, 1.25)
    pooled.dispose()
    assert value(pooled) == 2.25


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("create table mine as select 1 as x", "read-only"),
        ("delete from returns", "read-only"),
        ("copy (select 1) to '{folder}/mine.csv'", "disabled by configuration"),
        ("select count(*) from read_csv('{folder}/theirs.csv')", "disabled by configuration"),
        ("set enable_external_access = true", "locked"),
    ],
)
def test_whoever_may_type_sql_reaches_the_tables_and_nothing_else(
    sql: str, says: str, market: Market, tmp_path: Path
) -> None:
    """Read-only alone keeps the tables; other files of the machine are kept by the two settings beside it."""
    (tmp_path / "theirs.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError, match=says):
        value(engine(market.file, NullPool), sql.format(folder=tmp_path))
    assert not (tmp_path / "mine.csv").exists()


def test_read_only_in_the_address(market: Market) -> None:
    """For tools that take nothing but a URI."""
    reader = sqlalchemy.create_engine(f"duckdb:///{market.file}?access_mode=READ_ONLY", poolclass=NullPool)
    assert value(reader) == 1.25
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError, match="read-only"):
        value(reader, "delete from returns")


def test_views_of_the_link_follow_it(market: Market) -> None:
    """Init SQL of a tool that keeps one connection: each query opens the file that the link means then."""
    with duckdb.connect() as kept:
        kept.execute(
            f"create view returns as select * from read_parquet('{market.published}/current/returns.parquet')"  # noqa: S608
        )
        sql = "select return_1d from returns"
        assert kept.execute(sql).fetchall() == [(1.25,)]
        market.publish()
        assert kept.execute(sql).fetchall() == [(2.25,)]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        running.create_role("analyst")
        yield running


def run(arguments: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def load(server: PostgresServer, market: Market) -> None:
    manifest = market.publish()
    file = version_file(market.published, manifest.version)
    publish_to_postgres(server.url(), "orewatch_sample", "analyst", file, manifest, MARTS)


def test_psql_as_the_reader(server: PostgresServer, market: Market) -> None:
    """An open session sees the next version; nothing can be written."""
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("psql is not installed (Debian: apt-get install postgresql-client)")
    load(server, market)
    where = [psql, "-X", "-A", "-t", "-h", "127.0.0.1", "-p", str(server.port), "-U", "analyst", "-d", "postgres"]

    def ask(sql: str) -> subprocess.CompletedProcess[str]:
        return run([*where, "-v", "ON_ERROR_STOP=1", "-c", sql], PGPASSWORD=PASSWORD)

    read = ask("select symbol, return_1d, is_large from orewatch_sample.returns")
    assert (read.returncode, read.stdout) == (0, "SIL|2.25|t\n"), read.stderr
    # What a tool shows beside the column.
    described = ask("select col_description('orewatch_sample.returns'::regclass, 3)")
    assert described.stdout == "Total return, fraction.\n"
    for sql in ("delete from orewatch_sample.returns", "create table orewatch_sample.mine (x int)"):
        refused = ask(sql)
        assert refused.returncode != 0
        assert "permission denied" in refused.stderr
    load(server, market)
    assert ask("select return_1d from orewatch_sample.returns").stdout == "3.25\n"
    # Superset's URI: its queries name tables without a schema.
    address = f"{server.url('analyst')}?options=-csearch_path%3Dorewatch_sample"
    assert run([psql, "-X", "-A", "-t", address, "-c", "select return_1d from returns"]).stdout == "3.25\n"


def test_r_reads_postgresql(server: PostgresServer, market: Market) -> None:
    rscript = shutil.which("Rscript")
    if rscript is None or run([rscript, "-e", "library(DBI); library(RPostgreSQL)"]).returncode:
        pytest.skip("R's RPostgreSQL is not installed (Debian: apt-get install r-cran-rpostgresql)")
    load(server, market)
    script = (
        "suppressMessages(library(RPostgreSQL)); a <- commandArgs(TRUE);"
        " c <- dbConnect(PostgreSQL(), host = '127.0.0.1', port = as.integer(a[1]), dbname = 'postgres',"
        " user = 'analyst', password = Sys.getenv('READER'));"
        " cat(dbGetQuery(c, 'select return_1d from orewatch_sample.returns')$return_1d)"
    )
    read = run([rscript, "-e", script, str(server.port)], READER=PASSWORD)
    assert (read.returncode, read.stdout) == (0, "2.25"), read.stderr


# A program for a client's own engine reads the file, tries to write, and says both as JSON: [value, "read-only"].
R_DUCKDB = """
suppressMessages({library(DBI); library(duckdb)})
c <- dbConnect(duckdb(), commandArgs(TRUE)[1], read_only = TRUE)
v <- dbGetQuery(c, "select return_1d from returns")$return_1d
e <- tryCatch({dbExecute(c, "delete from returns"); "written"}, error = function(e) conditionMessage(e))
cat(sprintf('[%s, "%s"]', v, if (grepl("read-only", e)) "read-only" else "written"))
dbDisconnect(c, shutdown = TRUE)
"""
NODE_DUCKDB = """
const { DuckDBInstance } = require("@duckdb/node-api");
(async () => {
  const instance = await DuckDBInstance.create(process.argv[1], { access_mode: "READ_ONLY" });
  const connection = await instance.connect();
  const [[value]] = (await connection.runAndReadAll("select return_1d from returns")).getRowsJS();
  let said = "written";
  try { await connection.run("delete from returns"); } catch (error) { said = String(error.message); }
  console.log(JSON.stringify([value, said.includes("read-only") ? "read-only" : said]));
  connection.closeSync();
  instance.closeSync();
})();
"""


@pytest.mark.parametrize("client", ["R", "Node.js"])
def test_other_clients_of_duckdb(client: str, market: Market) -> None:
    """None of them is needed here; where one is installed, its engine reads the file and cannot write to it."""
    if client == "R":
        program = shutil.which("Rscript")
        if program is None or run([program, "-e", "library(duckdb)"]).returncode:
            pytest.skip("R's duckdb is not installed (CRAN; Debian has no package)")
        command = [program, "-e", R_DUCKDB]
    else:
        program = shutil.which("node")
        if program is None or run([program, "--eval", 'require("@duckdb/node-api")']).returncode:
            pytest.skip("Node's @duckdb/node-api is not installed (npm install @duckdb/node-api)")
        command = [program, "--eval", NODE_DUCKDB]
    market.publish()
    read = run([*command, str(market.file)])
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout) == [2.25, "read-only"]
