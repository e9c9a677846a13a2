"""`orewatch verify` and `orewatch as-of`: what they say, what they leave behind, and what they must not touch."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from orchestration.cli.as_of import build_as_of, parse_moment
from orchestration.cli.main import app
from orchestration.cli.rebuild_report import run_as_of, run_verify
from orchestration.cli.then_and_now import explain_event, explain_session
from orchestration.cli.verify import verify
from orchestration.ingest.lake import Lake
from orchestration.instance.scratch import scratch
from orchestration.market.errors import OrewatchError
from orchestration.market.fetch_plan import PlanRules
from orchestration.publish.manifest import current_manifest
from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.sources.files import FilesSource
from tests.histories import NOW, SESSIONS
from tests.jobs import ClockedSettings, evaluations, published, run_job, small_seeds

pytestmark = pytest.mark.integration

SESSION = SESSIONS[-5]


def prices(low: float) -> pd.DataFrame:
    """Closes above the zone 54 to 56; the low of one session is as given."""
    data = pd.DataFrame(
        {
            "Date": [day.isoformat() for day in SESSIONS],
            "Open": 58.0,
            "High": 59.0,
            "Low": 57.5,
            "Close": [58.0 + (i % 5) * 0.1 for i in range(len(SESSIONS))],
        }
    )
    data.loc[data["Date"] == SESSION.isoformat(), "Low"] = low
    return data


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> tuple[ClockedSettings, dt.datetime]:
    """A home whose vendor took a false low back, and a moment at which the false one was believed."""
    folder = tmp_path_factory.mktemp("corrected")
    (folder / "drop").mkdir()
    rules = "daily,all,,return_1d,1,0.05,\nvendor,all,,price_correction,1,0.005,\n"
    settings = ClockedSettings(
        source="files",
        home=folder / "ho'me",
        files=folder / "drop",
        seeds=small_seeds(folder / "seeds", "AAA", levels=f"zone,AAA,54,56,support,{SESSIONS[0]},\n", rules=rules),
        moment=NOW,
    )
    prices(55.75).to_csv(folder / "drop" / "AAA.csv", index=False)
    first = run_job(settings)
    assert first.success
    assert evaluations(first)["no_large_corrections"].passed
    moment = dt.datetime.now(dt.UTC)
    prices(57.25).to_csv(folder / "drop" / "AAA.csv", index=False)
    second = run_job(settings)
    assert second.success
    check = evaluations(second)["no_large_corrections"]
    assert not check.passed
    (offender,) = check.metadata["offenders"].records  # type: ignore[union-attr]
    assert (offender.data["symbol"], offender.data["session"], offender.data["field"]) == ("AAA", str(SESSION), "low")
    assert (offender.data["old_value"], offender.data["new_value"]) == (55.75, 57.25)
    return settings, moment


def event_of(settings: Settings, file: Path) -> list[tuple]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(
            "select event_id, event, low from level_events where level_id = 'zone' and session_date = ?", [SESSION]
        ).fetchall()


def test_a_past_alert_is_explained(
    corrected: tuple[ClockedSettings, dt.datetime], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    rebuilt_in_process: None,
) -> None:  # fmt: skip
    settings, moment = corrected
    before = current_manifest(settings.paths.published)
    folder = tmp_path / "then"
    manifest = build_as_of(settings, moment, folder)
    assert (manifest.as_of, manifest.version, manifest.seeds) == (moment.isoformat(), 0, str(settings.seeds))
    assert {p.name for p in folder.iterdir()} >= {"market.duckdb", "manifest.json", "daily_bars.parquet"}
    ((event_id, event, low),) = event_of(settings, folder / "market.duckdb")
    assert (event, low) == ("pierce_rejected", 55.75)
    assert event_of(settings, settings.paths.published_file) == []

    facts = explain_event(settings.paths, folder, event_id)
    assert facts[0].then is not None
    assert facts[0].now is None
    bar = next(fact for fact in facts if fact.what.startswith("bar"))
    assert bar.changed == ("low",)
    assert [fact.what for fact in explain_session(settings.paths, folder, "AAA", SESSION)][-1] == facts[0].what

    run_as_of(settings, moment, folder, event_id, None)
    shown = capsys.readouterr().out
    for text in ("today's", "no longer so now", "55.75 -> 57.25 (+2.69%), correction", str(folder)):
        assert text in shown
    # Readers see what they saw.
    assert current_manifest(settings.paths.published) == before
    assert not list(settings.paths.root.glob(".scratch-*"))
    with pytest.raises(OrewatchError, match="event abc: neither"):
        explain_event(settings.paths, folder, "abc")


def test_as_of_refuses_what_cannot_be(corrected: tuple[ClockedSettings, dt.datetime], tmp_path: Path) -> None:
    settings, moment = corrected
    with pytest.raises(OrewatchError, match="lies in the future"):
        build_as_of(settings, dt.datetime.now(dt.UTC) + dt.timedelta(days=1), tmp_path / "a")
    with pytest.raises(OrewatchError, match="the oldest bar was stored at"):
        build_as_of(settings, parse_moment("2001-01-01"), tmp_path / "a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OrewatchError, match="holds other files"):
        build_as_of(settings, moment, tmp_path / "mine")
    with pytest.raises(OrewatchError, match="among the published versions"):
        build_as_of(settings, moment, settings.paths.published / "versions" / "9")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-06-24", "2026-06-24T23:59:59.999999+00:00"),
        ("2026-06-24T20:30", "2026-06-24T20:30:00+00:00"),
        ("2026-06-24T20:30-04:00", "2026-06-25T00:30:00+00:00"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert parse_moment(text).isoformat() == moment


def test_a_correction_is_told_once_and_status_shows_it(
    corrected: tuple[ClockedSettings, dt.datetime], capsys: pytest.CaptureFixture[str]
) -> None:
    from orchestration.cli.status import print_status

    settings, _ = corrected
    (row,) = published(settings, "select * from price_revisions")
    assert (row["field"], row["reason"], row["is_large"], row["basis_factor"]) == ("low", "correction", True, 1.0)
    assert row["corrected_by"] == pytest.approx(57.25 / 55.75 - 1)
    print_status(settings)
    assert "Corrections" in capsys.readouterr().out
    again = run_job(settings)
    assert again.success
    assert evaluations(again)["no_large_corrections"].passed
    assert len(published(settings, "select 1 from price_revisions where is_large")) == 1


@pytest.mark.slow
def test_verify_rebuilds_with_dbt(corrected: tuple[ClockedSettings, dt.datetime]) -> None:
    settings, _ = corrected
    assert run_verify(settings)


def test_verify_finds_every_kind_of_difference(
    corrected: tuple[ClockedSettings, dt.datetime], capsys: pytest.CaptureFixture[str], rebuilt_in_process: None
) -> None:
    settings, _ = corrected
    assert run_verify(settings)
    # Asked again, nothing new: the log of fetches has grown, the tables and their fingerprint have not.
    lake = Lake(settings.paths.lake)
    from orchestration.ingest.run import ingest
    from orchestration.market.universe import load_universe

    assert settings.files is not None
    ingest(load_universe(settings.seeds), FilesSource(settings.files), "files", lake, NOW, PlanRules(None))
    free = []

    def refreshing(done: int, total: int, line: str) -> None:
        if line.startswith("rebuilt"):  # somebody else may refresh meanwhile
            with FileLock(settings.paths.lock, timeout=0):
                free.append(line)

    found = verify(settings, refreshing)
    assert found.equal
    assert len(free) > 30
    assert len(found.tables) == len(current_manifest(settings.paths.published).rows)  # type: ignore[union-attr]

    file = settings.paths.published_file.resolve()
    kept = file.read_bytes()
    try:
        with duckdb.connect(str(file)) as connection:
            connection.execute("update daily_bars set close = close * (1 + 1e-9) where session_date = ?", [SESSION])
            connection.execute("update daily_bars set open = open * (1 + 1e-14)")
            connection.execute("update returns set return_1d = null where session_date = ?", [SESSION])
            connection.execute("delete from trend where session_date = ?", [SESSION])
        capsys.readouterr()
        assert not run_verify(settings)
        shown = capsys.readouterr().out
    finally:
        file.write_bytes(kept)
    assert f"daily_bars AAA {SESSION}: close is 5" in shown
    assert f"returns AAA {SESSION}: return_1d is None, rebuilt" in shown
    assert f"trend AAA {SESSION}: only in the rebuild" in shown
    assert "is not what a full rebuild gives" in shown
    assert "open is" not in shown
    assert not list(settings.paths.root.glob(".scratch-*"))


def test_a_version_older_than_the_lake_is_not_compared(
    tmp_path: Path, corrected: tuple[ClockedSettings, dt.datetime]
) -> None:
    settings, _ = corrected
    other = settings.model_copy(update={"home": tmp_path})
    with pytest.raises(OrewatchError, match="nothing has been published yet"):
        verify(other)
    seeds = {p.name: p.read_text() for p in settings.seeds.glob("*.csv")}
    lake_file = settings.paths.lake / "bars" / "99990101T000000-0000.parquet"
    lake_file.write_bytes((settings.paths.lake / "bars" / "schema.parquet").read_bytes())
    try:
        with pytest.raises(OrewatchError, match=r"made from an older lake.*run: orewatch refresh"):
            verify(settings)
    finally:
        lake_file.unlink()
    assert seeds == {p.name: p.read_text() for p in settings.seeds.glob("*.csv")}


def command(settings: ClockedSettings, *arguments: str) -> tuple[list[str], dict[str, str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OREWATCH_")}
    return [sys.executable, "-m", "orchestration.cli.main", *arguments], {
        **environment,
        **settings.given_environment(),
        "PYTHONPATH": str(PROJECT_ROOT),
    }


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_verification_leaves_nothing_for_long(
    sign: signal.Signals, corrected: tuple[ClockedSettings, dt.datetime]
) -> None:
    settings, _ = corrected
    asked, environment = command(settings, "verify")
    environment.pop("OREWATCH_MOMENT", None)
    running = subprocess.Popen(
        asked, env=environment, cwd=settings.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 300
        while not (work := list(settings.paths.root.glob(".scratch-*/files/dbt"))) and time.monotonic() < deadline:
            assert running.poll() is None
            time.sleep(0.05)
        assert work
    finally:
        running.send_signal(sign)
        code = running.wait(timeout=300)
    if sign is signal.SIGTERM:
        assert code == 128 + sign
        assert not list(settings.paths.root.glob(".scratch-*"))
    # What a kill leaves belongs to dbt until dbt has ended; then the next command removes it.
    deadline = time.monotonic() + 300
    while list(settings.paths.root.glob(".scratch-*")) and time.monotonic() < deadline:
        with scratch(settings.paths.root):
            pass
        time.sleep(0.2)
    assert not list(settings.paths.root.glob(".scratch-*"))


def test_options_of_the_command_line() -> None:
    runner = CliRunner()
    for arguments in (
        ["2026-13-01"],
        ["2026-01-05", "--symbol", "AAA"],
        ["2026-01-05", "--event", "a", "--symbol", "A"],
    ):
        result = runner.invoke(app, ["as-of", *arguments])
        assert result.exit_code == 2
        assert "allowed:" in result.stderr
