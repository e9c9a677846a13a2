"""Dagster's event log with connections that stay open: the same events in the same files."""

import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage

from orchestration.instance.event_log import CONNECTIONS, EventLog
from orchestration.instance.instance import INSTANCE_CONFIG, MOVED, prepare_instance
from orchestration.settings import PROJECT_ROOT, Settings


@dg.multi_asset(
    specs=[dg.AssetSpec("silver"), dg.AssetSpec("gold")],
    check_specs=[dg.AssetCheckSpec("shines", asset="gold")],
)
def metals() -> Any:
    yield dg.MaterializeResult("silver", metadata={"rows": 3})
    yield dg.MaterializeResult("gold")
    yield dg.AssetCheckResult(asset_key="gold", check_name="shines", passed=False, severity=dg.AssetCheckSeverity.WARN)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return prepare_instance(Settings(home=tmp_path).paths)


def files_of(home: Path) -> str:
    return str(home / "history" / "runs")


def entry(run_id: str, number: int) -> EventLogEntry:
    return EventLogEntry(
        error_info=None, level=20, user_message=f"{number}", run_id=run_id, timestamp=1.7e9 + number, job_name="refresh"
    )


def test_a_run_reads_the_same_with_dagsters_own_storage(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        run_id = dg.materialize([metals], instance=instance).run_id
        ours = instance.all_logs(run_id)
        assert isinstance(instance.event_log_storage, EventLog)
    theirs = SqliteEventLogStorage(files_of(home))
    assert list(theirs.get_logs_for_run(run_id)) == list(ours)
    assert {key.to_user_string() for key in theirs.all_asset_keys()} == {"silver", "gold"}
    check = theirs.get_asset_check_execution_history(dg.AssetCheckKey(dg.AssetKey("gold"), "shines"), limit=1)[0]
    assert check.status.value == "FAILED"
    assert check.event is not None
    evaluation = check.event.dagster_event.asset_check_evaluation_data
    gold = theirs.get_latest_materialization_events([dg.AssetKey("gold")])[dg.AssetKey("gold")]
    assert gold is not None
    assert evaluation.target_materialization_data.run_id == run_id


def test_nothing_that_a_run_has_stored_waits_for_the_process_to_end(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        run_id = dg.materialize([metals], instance=instance).run_id
        # Without the write-ahead log: what a power cut would leave.
        moved = home / "alone"
        moved.mkdir()
        for name in (f"{run_id}.db", "index.db"):
            (moved / name).write_bytes((Path(files_of(home)) / name).read_bytes())
        theirs = SqliteEventLogStorage(str(moved))
        assert list(theirs.get_logs_for_run(run_id)) == list(instance.all_logs(run_id))
        assert len(theirs.all_asset_keys()) == 2


def test_a_killed_process_loses_no_event(tmp_path: Path) -> None:
    code = f"""
        import os, signal
        from orchestration.instance.event_log import EventLog
        from tests.unit.test_event_log import entry
        log = EventLog({str(tmp_path)!r})
        for number in range(50):
            log.store_event(entry("killed", number))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=PROJECT_ROOT, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    found = SqliteEventLogStorage(str(tmp_path)).get_logs_for_run("killed")
    assert [event.user_message for event in found] == [f"{number}" for number in range(50)]


def test_whoever_watches_a_run_sees_its_events_while_the_connection_is_open(tmp_path: Path) -> None:
    log, watcher = EventLog(str(tmp_path)), SqliteEventLogStorage(str(tmp_path))
    log.store_event(entry("watched", 0))
    seen: list[str] = []
    arrived = threading.Event()

    def note(event: EventLogEntry, _: str) -> None:
        seen.append(event.user_message)
        arrived.set()

    watcher.watch("watched", None, note)
    try:
        log.store_event(entry("watched", 1))
        assert arrived.wait(timeout=120)
    finally:
        watcher.dispose()
        log.dispose()
    assert seen[:2] == ["0", "1"]


def test_few_connections_stay_open(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path))
    for number in range(3 * CONNECTIONS):
        log.store_event(entry(f"run{number}", number))
    # SQLite keeps a write-ahead log beside every database that somebody has open.
    assert 0 < len(list(tmp_path.glob("*-wal"))) <= CONNECTIONS
    assert [event.user_message for event in log.get_logs_for_run("run0")] == ["0"]
    log.dispose()
    assert not list(tmp_path.glob("*-wal"))


def test_a_changed_configuration_stays(tmp_path: Path, home: Path) -> None:
    config = home / "dagster.yaml"
    assert config.read_bytes() == INSTANCE_CONFIG.read_bytes()
    config.write_text("telemetry:\n  enabled: false\n")
    assert prepare_instance(Settings(home=tmp_path).paths) == home
    assert config.read_text() == "telemetry:\n  enabled: false\n"


# Earlier ones said less, and of the runs that died what follows.
MONITORING = """# A run whose process died is marked as failed instead of running forever.
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
"""
NEW = ("# Looks of", "# What a run prints")


@pytest.mark.parametrize(
    "without", [(*NEW, "# Dagster's own log", "# A first visit"), (*NEW, "# A first visit"), NEW], ids=len
)
def test_an_earlier_configuration_of_ours_is_replaced(tmp_path: Path, home: Path, without: tuple[str, ...]) -> None:
    ours = earlier = INSTANCE_CONFIG.read_text()
    for part in without:
        # Up to the line or the empty line that follows it.
        begin = earlier.index(part)
        end = earlier.index("\n\n", begin) if "\n\n" in earlier[begin:] else len(earlier)
        earlier = earlier[: begin - 1] + earlier[end:]
    begin, end = earlier.index("# A run whose process died"), earlier.index("  retry_on_asset_or_op_failure: false\n")
    earlier = earlier[:begin] + MONITORING + earlier[end:].partition("\n")[2]
    for module, now in MOVED.items():
        earlier = earlier.replace(now, module).replace(f"{now.replace('.', '/')}.py", f"{module.replace('.', '/')}.py")
    (home / "dagster.yaml").write_text(earlier)
    prepare_instance(Settings(home=tmp_path).paths)
    assert (home / "dagster.yaml").read_text() == ours


def test_a_configuration_of_somebody_else_names_our_classes_where_they_are_now(tmp_path: Path, home: Path) -> None:
    own = INSTANCE_CONFIG.read_text().replace("max_retries: 1", "max_retries: 2")
    earlier = own
    for module, now in MOVED.items():
        earlier = earlier.replace(f"module: {now}", f"module: {module}")
    assert earlier != own
    (home / "dagster.yaml").write_text(earlier)
    prepare_instance(Settings(home=tmp_path).paths)
    assert (home / "dagster.yaml").read_text() == own
