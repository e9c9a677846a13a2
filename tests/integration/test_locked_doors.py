"""What comes from outside stays data, secrets stay secret, and nobody but this machine is served."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from orchestration.duckdb_io import reading
from orchestration.settings import Settings
from tests.bad_prices import history
from tests.jobs import INSTRUMENTS_HEADER, published, small_seeds
from tests.listening import LOOPBACK, children, listening
from tests.receivers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.slow]

OREWATCH = Path(sys.executable).parent / "orewatch"

# SQL, shell, templates, format strings, terminal and web markup, a path.
NASTY = "O'Hara [/bold] {0} {{ 7 * 7 }} %s $(id) \"; drop table daily_bars; -- <script>alert(1)</script>| ../../x"
PASSWORD = "S3cr3tOfTheTest"  # noqa: S105


def orewatch(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", **variables}
    return subprocess.run([OREWATCH, *arguments], env=environment, capture_output=True, text=True, timeout=300)


def traces(folder: Path, secret: str) -> list[str]:
    """Files below a folder that hold the secret."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [str(path) for path in files if secret.encode() in path.read_bytes()]


@pytest.fixture(scope="module")
def refreshed(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Settings, subprocess.CompletedProcess[str], dict[str, str]]:
    home = tmp_path_factory.mktemp("home") / 'a\'home "of" Größe; x'
    drop = tmp_path_factory.mktemp("drop")
    seeds = small_seeds(
        tmp_path_factory.mktemp("seeds"),
        "AAA",
        levels=f'line,AAA,40,40,resistance,2020-01-01,"{NASTY.replace(chr(34), chr(34) * 2)}"\n',
    )
    quoted = '"' + NASTY.replace('"', '""') + '"'
    (seeds / "instruments.csv").write_text(
        INSTRUMENTS_HEADER
        + "".join(f"{s},{s},{quoted},etf,silver,senior,XNYS,USD,0.01,,,\n" for s in ("AAA", "BBB", "^C.D=E_F-G"))
    )
    for seed, symbol in enumerate(("AAA", "^C.D=E_F-G")):
        history(seed).to_csv(drop / f"{symbol}.csv", index=False)
    (drop / "BBB.csv").write_text("[/],[red],{0},$(id)\n1,2,3,4\n")
    variables = {
        "OREWATCH_SOURCE": "files",
        "OREWATCH_FILES": str(drop),
        "OREWATCH_HOME": str(home),
        "OREWATCH_SEEDS": str(seeds),
        # Nobody listens there.
        "OREWATCH_ALERTS": f"desk=json://user:{PASSWORD}@127.0.0.1:9/{PASSWORD}?token={PASSWORD}",
        "OREWATCH_ALERT_TIMEOUT_SECONDS": "45",
    }
    settings = Settings(source="files", files=drop, home=home, seeds=seeds)
    return settings, orewatch("refresh", **variables), variables


Refreshed = tuple[Settings, subprocess.CompletedProcess[str], dict[str, str]]


def test_names_notes_and_files_stay_data(refreshed: Refreshed) -> None:
    settings, run, variables = refreshed
    assert run.returncode == 0, run.stdout + run.stderr
    assert "BBB" in run.stdout
    assert "no column Date among [/], [red], {0}, $(id)" in " ".join(run.stdout.split())
    named = published(settings, "select symbol, name from instruments order by symbol")
    assert [row["name"] for row in named] == [NASTY] * 3
    assert published(settings, "select distinct symbol from daily_bars order by symbol") == [
        {"symbol": "AAA"},
        {"symbol": "^C.D=E_F-G"},
    ]
    pages = list((settings.paths.root / "briefs").iterdir())
    assert {page.suffix for page in pages} == {".html", ".md"}
    for page in pages:
        text = page.read_text("utf-8")
        assert "O" in text
        assert "<script>alert" not in text
    assert orewatch("status", **variables).returncode == 0
    # Nothing was written beside the home.
    assert [path.name for path in settings.home.parent.iterdir()] == [settings.home.name]


def test_a_channels_password_is_nowhere(refreshed: Refreshed) -> None:
    settings, run, variables = refreshed
    assert "connection refused" in run.stdout
    told = orewatch("alerts", **variables)
    assert "desk" in told.stdout
    assert PASSWORD not in run.stdout + run.stderr + told.stdout + told.stderr
    assert (settings.paths.root / "dagster").is_dir()
    assert traces(settings.home, PASSWORD) == []


def test_a_proxys_password_is_nowhere(tmp_path: Path) -> None:
    proxy = f"http://user:{PASSWORD}@127.0.0.1:9"
    run = orewatch(
        "refresh",
        OREWATCH_SOURCE="yahoo",
        OREWATCH_HOME=str(tmp_path / "home"),
        OREWATCH_SEEDS=str(small_seeds(tmp_path / "seeds", "AAA")),
        OREWATCH_YAHOO_ATTEMPTS="1",
        OREWATCH_YAHOO_BACKOFF_SECONDS="0",
        OREWATCH_YAHOO_TIMEOUT_SECONDS="60",
        **dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "ALL_PROXY"), proxy),
    )
    assert run.returncode == 1
    assert "could not be reached" in run.stdout
    assert PASSWORD not in run.stdout + run.stderr
    assert traces(tmp_path / "home", PASSWORD) == []


def test_published_files_are_for_reading(refreshed: Refreshed) -> None:
    settings, _, _ = refreshed
    files = [path for path in (settings.paths.published / "current").iterdir() if path.is_file()]
    assert len(files) > 10
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o444}
    with duckdb.connect(str(settings.paths.published_file), read_only=True) as connection:
        assert connection.execute("select count(*) from daily_bars").fetchall()[0][0] > 0
        with pytest.raises(duckdb.Error):
            connection.execute("delete from daily_bars")
    if os.geteuid() != 0:
        with pytest.raises(duckdb.Error):
            duckdb.connect(str(settings.paths.published_file))


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_text('/etc/hostname')",
        "copy (select 1) to '{outside}/out.csv'",
        "attach '{outside}/other.duckdb' as other",
        "select * from read_csv('{inside}/../../../../../../../../../etc/hostname')",
        "set enable_external_access = true",
        "set allowed_directories = ['/']",
        "create table daily_bars_2 as select 1",
        "install httpfs",
    ],
)
def test_a_query_of_ours_reaches_nothing_else(refreshed: Refreshed, tmp_path: Path, statement: str) -> None:
    settings, _, _ = refreshed
    inside = str(settings.paths.root).replace("'", "''")
    with reading(settings.paths.warehouse, {"published": settings.paths.published_file}) as connection:
        assert connection.execute("select count(*) from stg_admitted_bars").fetchall()[0][0] > 0
        assert connection.execute("select count(*) from published.daily_bars").fetchall()[0][0] > 0
        with pytest.raises(duckdb.Error):
            connection.execute(statement.format(outside=tmp_path, inside=inside))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")
def test_the_web_ui_is_for_this_machine_only(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [OREWATCH, "dev", "--port", str(port)],
        env={**os.environ, "OREWATCH_HOME": str(tmp_path / "home"), "OREWATCH_SOURCE": "sample"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 300
        served = f"0100007F:{port:04X}"
        while served not in (found := listening(list(children(process.pid)))):
            assert process.poll() is None
            assert time.monotonic() < until, found
            time.sleep(0.5)
        # Whatever else the processes say to each other, too.
        assert all(address.startswith(LOOPBACK) for address in found), found
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
