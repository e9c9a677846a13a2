"""Readers while refreshes publish: no failed read, no torn read, and the new version at the next open.

The short form is part of the suite. The long one (`-m torture`) publishes a hundred times under eight readers,
refreshes the whole simulated market under them, and opens the file with the DuckDB clients of several years.
"""

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import SecretStr

from orchestration.alerts.data_alerts import cause
from orchestration.publish.manifest import version_file
from orchestration.publish.marts import Mart, mart_grains
from orchestration.publish.postgres import publish_to_postgres
from orchestration.publish.versions import publish
from orchestration.settings import PROJECT_ROOT, Settings
from tests.jobs import run_job
from tests.postgres_server import PostgresServer, postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FIRST_DAY = dt.date(2000, 1, 1)
START_SECONDS = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        running.create_role("analyst")
        yield running


class Readers:
    """Reader processes around a folder of control files.

    Args:
        folder: of the control files.
        tables: what is read.
    """

    def __init__(self, folder: Path, tables: Sequence[str]) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "tables").write_text(" ".join(tables))

    def announce(self, what: str, day: dt.date) -> None:
        """Whoever opens `what` from now on must find this version or a later one."""
        temporary = self.folder / "announcing"
        temporary.write_text(str(day))
        temporary.replace(self.folder / f"announced-{what}")

    @contextmanager
    def reading(self, clients: Sequence[tuple[str, str]]) -> Iterator[list[dict[str, Any]]]:
        """Readers of (kind, target) while the block lasts; their figures stand in the list afterwards."""
        figures: list[dict[str, Any]] = []
        names = [f"{number}-{kind}" for number, (kind, _) in enumerate(clients)]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.torture.reader", kind, target, str(self.folder), name], env=environment
            )
            for name, (kind, target) in zip(names, clients, strict=True)
        ]
        try:
            self._until(processes, lambda: all((self.folder / f"{name}.ready").exists() for name in names))
            yield figures
            (self.folder / "stop").touch()
            for process in processes:
                assert process.wait(START_SECONDS) == 0
            figures.extend(json.loads((self.folder / f"{name}.json").read_text()) for name in names)
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait(10)

    @staticmethod
    def _until(processes: list[subprocess.Popen], true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not true():
            assert all(process.poll() is None for process in processes), "a reader ended"
            assert time.monotonic() < deadline, "the readers did not start"
            time.sleep(0.05)


def hold(figures: list[dict[str, Any]], least_reads: int, least_versions: int) -> None:
    """Print the figures and refuse any read that failed, was torn or lagged."""
    print("\nclient      reads  failed  torn  lagging  versions seen  slowest read, s")
    for f in figures:
        print(
            f"{f['kind']:10} {f['reads']:6} {f['failed']:7} {f['torn']:5} {f['lagging']:8}"
            f" {f['versions']:14} {f['slowest']:16.2f}"
        )
    assert [f["why"] for f in figures if f["why"]] == []
    assert all(f["failed"] == f["torn"] == f["lagging"] == 0 for f in figures)
    assert min(f["reads"] for f in figures) >= least_reads
    assert min(f["versions"] for f in figures) >= least_versions


def build(warehouse: Path, tables: Sequence[str], version: int, rows: int) -> dt.date:
    """A warehouse whose every row says which version it is of."""
    day = FIRST_DAY + dt.timedelta(days=version)
    with duckdb.connect(str(warehouse)) as connection:
        for number, table in enumerate(tables):
            connection.execute(
                f"create or replace table \"{table}\" as select i as id, date '{day}' as session_date,"  # noqa: S608
                f" random() as x from range({rows + number}) as t(i)"
            )
    return day


def publish_many(
    server: PostgresServer, folder: Path, readers: Readers, tables: Sequence[str], versions: range, rows: int
) -> None:
    # Tables of different lengths: the longer ones are views of parts.
    marts = dict.fromkeys(tables, Mart(("session_date", "id")))
    for version in versions:
        day = build(folder / "warehouse.duckdb", tables, version, rows)
        manifest = publish(
            *(folder / "warehouse.duckdb", marts, folder / "published", str(version), "files", False),
            large_rows=rows + 1,
        )
        assert len(manifest.partitions) == len(tables) - 2
        readers.announce("files", day)
        file = version_file(folder / "published", manifest.version)
        done = publish_to_postgres(server.url(), "orewatch", "analyst", file, manifest, marts)
        assert done.waited
        readers.announce("postgres", day)


def clients(server: PostgresServer, published: Path, schema: str, of_each: int) -> list[tuple[str, str]]:
    file = str(published / "current" / "market.duckdb")
    targets = {
        "duckdb": file,
        "sqlalchemy": file,
        "parquet": file,
        "postgres": f"{server.url('analyst')}#{schema}",
    }
    return list(targets.items()) * of_each


def test_readers_are_undisturbed(server: PostgresServer, tmp_path: Path) -> None:
    """The short form: a reader of each kind, eight versions."""
    tables = ["daily_bars", "returns", "trend", "level_events", "market_summary"]
    readers = Readers(tmp_path / "control", tables)
    publish_many(server, tmp_path, readers, tables, range(1), rows=1000)
    with readers.reading(clients(server, tmp_path / "published", "orewatch", 1)) as figures:
        publish_many(server, tmp_path, readers, tables, range(1, 9), rows=1000)
    hold(figures, least_reads=4, least_versions=2)


@pytest.mark.torture
def test_a_hundred_publications_under_eight_readers(server: PostgresServer, tmp_path: Path) -> None:
    tables = list(mart_grains())
    readers = Readers(tmp_path / "control", tables)
    publish_many(server, tmp_path, readers, tables, range(1), rows=2_000)
    with readers.reading(clients(server, tmp_path / "published", "orewatch", 2)) as figures:
        publish_many(server, tmp_path, readers, tables, range(1, 101), rows=2_000)
    hold(figures, least_reads=100, least_versions=20)


@pytest.mark.torture
def test_whole_refreshes_under_eight_readers(server: PostgresServer, tmp_path: Path) -> None:
    """The real job, from the fetch to PostgreSQL; every refresh brings a further session of the simulated market."""
    tables = ["daily_bars", "returns", "trend", "volatility", "sector_daily"]
    readers = Readers(tmp_path / "control", tables)
    days = [dt.date(2026, 2, day) for day in (2, 3, 4, 5)]

    def refresh(day: dt.date) -> None:
        settings = Settings(
            home=tmp_path / "home", as_of=day, postgres_url=SecretStr(server.url()), postgres_reader="analyst"
        )
        result = run_job(settings)
        assert result.success, [cause(event) for event in result.all_events if event.is_step_failure]
        readers.announce("files", day)
        readers.announce("postgres", day)

    refresh(days[0])
    published = tmp_path / "home" / "sample" / "published"
    with readers.reading(clients(server, published, "orewatch_sample", 2)) as figures:
        for day in days[1:]:
            refresh(day)
    hold(figures, least_reads=50, least_versions=len(days) - 1)


OLD_CLIENT = """
import duckdb, sys
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    names = "select table_name from information_schema.tables order by 1"
    tables = [name for (name,) in connection.execute(names).fetchall()]
    sums = [connection.execute(f'select count(*), sum(x), max(session_date) from "{t}"').fetchall() for t in tables]
    try:
        connection.execute("create table mine (x int)")
    except Exception:
        pass
    else:
        raise SystemExit("it could be written to")
print(duckdb.__version__, tables, sums)
"""


@pytest.mark.torture
@pytest.mark.parametrize("release", ["1.0.0", "1.2.2", "1.4.4", "1.5.6", "2.0.0"])
def test_every_duckdb_since_1_0_opens_the_file(release: str, tmp_path: Path) -> None:
    tables = list(mart_grains())
    build(tmp_path / "warehouse.duckdb", tables, 1, 5000)
    marts = dict.fromkeys(tables, Mart(("session_date", "id")))
    manifest = publish(
        *(tmp_path / "warehouse.duckdb", marts, tmp_path / "published", "f", "files", False), large_rows=5001
    )
    assert len(manifest.partitions) == len(tables) - 2
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target"]
    client = subprocess.run(
        [*install, str(tmp_path / "client"), f"duckdb=={release}"], capture_output=True, text=True, timeout=600
    )
    if client.returncode:
        pytest.skip(f"duckdb {release} cannot be installed here: {client.stderr.strip().splitlines()[-1]}")
    file = tmp_path / "published" / "current" / "market.duckdb"
    said = [
        subprocess.run(
            [sys.executable, "-c", OLD_CLIENT, str(file)],
            env={**os.environ, **path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        for path in ({"PYTHONPATH": str(tmp_path / "client")}, {})
    ]
    assert said[0].returncode == 0, said[0].stderr
    assert said[0].stdout.startswith(f"{release} ")
    # The same tables and rows as the client that wrote it.
    assert said[0].stdout.partition(" ")[2] == said[1].stdout.partition(" ")[2]
