"""The command as a person meets it: help, one-line errors, waiting, what a killed run leaves behind."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestration.alerts import retention
from orchestration.cli.main import app
from orchestration.cli.status import print_status
from orchestration.instance.instance import opened_instance
from orchestration.instance.runs import fail_dead_runs
from orchestration.publish.manifest import current_manifest
from orchestration.resources import warehouse_lock
from orchestration.settings import Settings
from tests.jobs import refresh_and_read, small_seeds, write_seeds

pytestmark = pytest.mark.integration

OREWATCH = Path(sys.executable).parent / "orewatch"


def environment(home: Path, **variables: str) -> dict[str, str]:
    return {**os.environ, "OREWATCH_HOME": str(home), "COLUMNS": "100", **variables}


def orewatch(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OREWATCH, *arguments], env=environment(home, **variables), capture_output=True, text=True, timeout=300
    )


def two_funds(folder: Path) -> str:
    """Seeds of a small market, one level in it."""
    level = "slv_100,SLV,100,100,psychological,2026-01-01,\n"
    return str(small_seeds(folder / "seeds", "SIL", "SLV", levels=level))


def test_help_names_the_commands(tmp_path: Path) -> None:
    run = orewatch(tmp_path, "--help")
    assert run.returncode == 0
    for command in ("refresh", "status", "verify-claims", "alerts", "dev"):
        assert command in run.stdout
    assert "--symbols" in orewatch(tmp_path, "refresh", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (("refresh",), {"OREWATCH_SOURCE": "bloomberg"}, "OREWATCH_SOURCE=bloomberg"),
        (("refresh",), {"OREWATCH_SOURCE": "files"}, "OREWATCH_FILES is not set"),
        (("alerts",), {"OREWATCH_ALERTS": "json://127.0.0.1"}, "OREWATCH_ALERTS: word 1 is neither a channel"),
        (("refresh", "--symbols", "SIL,NOPE"), {}, "symbols: 'NOPE' is unknown; allowed: SI=F"),
        (("refresh", "--start", "30.01.2026"), {}, "start: '30.01.2026' is not allowed; allowed: a date as YYYY-MM-DD"),
        (("refresh", "--end", "2026-01-30"), {}, "end: given without a start"),
        (
            ("refresh", "--start", "2026-01-25", "--end", "2026-01-20"),
            {},
            "end: '2026-01-20' is before start '2026-01-25'",
        ),
        (("refresh", "--start", "2027-01-01"), {}, "start: '2027-01-01' lies in the future"),
        (("refresh", "--full", "--start", "2026-01-05"), {}, "full: given with a start"),
    ],
)
def test_a_wrong_setting_is_one_line_on_standard_error(
    arguments: tuple[str, ...], variables: dict[str, str], says: str, tmp_path: Path
) -> None:
    run = CliRunner().invoke(app, arguments, env={"OREWATCH_HOME": str(tmp_path), "COLUMNS": "100", **variables})
    assert run.exit_code == 2
    assert run.stdout == ""
    assert len(run.stderr.strip().splitlines()) == 1
    assert run.stderr.startswith("error: ")
    assert says in run.stderr


@pytest.mark.parametrize("command", ["refresh", "dev"])
@pytest.mark.parametrize(
    ("place", "config", "says"),
    [
        ("file", "", "is no folder"),
        ("file/below", "", "is no folder"),
        ("folder", "run_launcher: [\n", "while parsing a flow node"),
        ("folder", "- a list\n", "Dagster cannot open its instance there"),
        ("folder", "nonsense: 1\n", 'unexpected config entry "nonsense"'),
        ("folder", "storage:\n  mysql:\n    mysql_url: mysql://127.0.0.1/x\n", "Couldn't import module dagster_mysql"),
        ("folder", "storage: {postgres: {postgres_url: {env: NOT_SET}}}\n", "NOT_SET"),
        ("folder", "storage: {postgres: {postgres_url: postgresql://u:s3cret@127.0.0.1:9/x}}\n", "Dagster cannot open"),
        ("folder", None, "dagster.yaml: is a folder"),
    ],
)
def test_an_instance_that_cannot_be_opened_is_one_line(
    command: str, place: str, config: str | None, says: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / place
    if place == "folder":
        home.mkdir()
        if config is None:
            (home / "dagster.yaml").mkdir()
        else:
            (home / "dagster.yaml").write_text(config, "utf-8")
    variables = {"OREWATCH_HOME": str(tmp_path / "home"), "DAGSTER_HOME": str(home), "COLUMNS": "100"}
    run = CliRunner().invoke(app, [command], env=variables)
    assert run.exit_code == 2, run.output
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith(f"error: {home}")
    assert says in line
    assert "s3cret" not in line
    assert "let DAGSTER_HOME name another folder" in line


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("status", "Nothing has been published yet"),
        ("verify-claims", "Nothing has been published yet"),
        ("brief", "nothing has been published yet"),
        ("alerts", "No channel is set"),
    ],
)
def test_what_only_reads_needs_no_drop_folder(command: str, says: str, tmp_path: Path) -> None:
    variables = {"OREWATCH_HOME": str(tmp_path), "OREWATCH_SOURCE": "files", "OREWATCH_FILES": str(tmp_path / "gone")}
    run = CliRunner().invoke(app, [command], env=variables)
    assert says in run.output


def test_a_bad_seed_is_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path / "seeds")
    levels = seeds / "price_levels.csv"
    levels.write_text(levels.read_text("utf-8").replace("silver_54_56_zone,SI=F,54,56", "silver_54_56_zone,SI=F,56,54"))
    run = orewatch(tmp_path / "home", "refresh", OREWATCH_SEEDS=str(seeds))
    assert run.returncode == 2
    assert run.stderr == (
        "error: price_levels.csv, row 5, column upper: 54 is below lower 56; allowed: upper >= lower\n"
    )
    assert not (tmp_path / "home" / "sample").exists()


def test_what_cannot_be_removed_is_said_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = Settings(home=tmp_path / "home", seeds=Path(two_funds(tmp_path)))

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "index.db")

    monkeypatch.setattr(retention, "_remove_runs", denied)
    success, said = refresh_and_read(settings)
    assert success
    line = "old runs could not be removed ([Errno 13] Permission denied: 'index.db'); the next refresh tries again"
    assert said.count(line) == 1
    with opened_instance(settings.paths) as instance:
        logged = [entry.user_message for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]
    # The web UI and the schedule have no other place for it.
    assert logged.count(line) == 1


def test_status_of_a_watchlist(sample_home: Path) -> None:
    screen = io.StringIO()
    print_status(Settings(home=sample_home), Console(file=screen, width=120), "core")
    assert "SILJ" in screen.getvalue()
    assert "WPM" not in screen.getvalue()


@pytest.mark.slow
def test_refresh_twice_and_status(tmp_path: Path) -> None:
    """The second refresh waits for the lock, finds nothing new, and shows the same flags."""
    seeds = two_funds(tmp_path)
    first = orewatch(tmp_path, "refresh", OREWATCH_SEEDS=seeds)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "SIMULATED" in first.stdout.splitlines()[0]
    assert "Published version 1" in first.stdout
    assert "slv_100" in first.stdout
    assert first.stderr == ""
    assert "noted; to have them sent, set OREWATCH_ALERTS" in first.stdout

    settings = Settings(home=tmp_path)
    with warehouse_lock(settings.paths, print):
        waiting = subprocess.Popen(
            [OREWATCH, "refresh"],
            env=environment(tmp_path, OREWATCH_SEEDS=seeds),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 300
        said = ""
        assert waiting.stdout is not None
        while "waiting for it to finish" not in said and time.monotonic() < deadline:
            said += waiting.stdout.readline()
            assert waiting.poll() is None, said
        assert "another refresh is running; waiting for it to finish" in said
        assert waiting.poll() is None
    output, errors = waiting.communicate(timeout=300)
    assert waiting.returncode == 0, output + errors
    assert "Nothing new: published version 1 stands" in output
    assert "0 bars stored" in output
    assert "slv_100" in output

    status = orewatch(tmp_path, "status", OREWATCH_SEEDS=seeds)
    assert status.returncode == 0
    assert "SIMULATED coverage" in status.stdout
    assert "SLV" in status.stdout
    nobody = orewatch(tmp_path, "status", "--watchlist", "mine", OREWATCH_SEEDS=seeds)
    assert nobody.returncode == 2
    assert "--watchlist=mine: no instrument is on it" in nobody.stderr
    assert "No channel is set" in orewatch(tmp_path, "alerts", OREWATCH_SEEDS=seeds).stdout


@pytest.mark.slow
def test_a_killed_refresh_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = two_funds(tmp_path)
    settings = Settings(home=tmp_path)
    running = subprocess.Popen(
        [OREWATCH, "refresh"],
        env=environment(tmp_path, OREWATCH_SEEDS=seeds),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not (settings.paths.lake / "bars").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.kill()
    running.wait(timeout=120)
    assert current_manifest(settings.paths.published) is None
    healed = orewatch(tmp_path, "refresh", OREWATCH_SEEDS=seeds)
    assert healed.returncode == 0, healed.stdout + healed.stderr
    assert "Published version 1" in healed.stdout
    monkeypatch.setenv("DAGSTER_HOME", str(settings.paths.dagster))
    with dg.DagsterInstance.get() as instance:
        built, fetched = (run.tags for run in instance.get_runs(limit=2))
        ours = {"user": "command line", "source": "sample", "simulated": "true"}
        said = {"part": "build and check", "build": "whole", "version": "1", "latest_session": "2026-01-30"}
        assert built.items() >= (ours | said).items()
        assert fetched.items() >= (ours | {"part": "fetch", "asked_for": "what is due"}).items()
        assert int(fetched["new_bars"]) >= 0
        statuses = [run.status for run in instance.get_runs()]
        assert statuses.count(dg.DagsterRunStatus.SUCCESS) == 2
        assert set(statuses) <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
        assert fail_dead_runs(instance, settings.paths) == []
