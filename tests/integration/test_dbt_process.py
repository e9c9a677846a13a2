"""dbt that has read the models beforehand: it opens nothing and outlives nobody."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration import dbt_process
from orchestration.dbt_process import ReadyDbt
from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.storage.scratch import process_exists

pytestmark = pytest.mark.integration


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReadyDbt]:
    # A command that needs the models and no prices.
    monkeypatch.setattr(dbt_process, "BUILD", ("ls", "--select", "daily_bars", "--resource-type", "model"))
    ready = ReadyDbt(Settings(home=tmp_path), prepare=True)
    yield ready
    ready.close()


def pid(ready: ReadyDbt) -> int:
    assert ready._process is not None
    return ready._process.pid


@pytest.mark.slow
def test_it_answers_with_events_and_opens_no_database(ready: ReadyDbt) -> None:
    prepared = pid(ready)
    process = ready.build()
    out, _ = process.communicate(timeout=300)
    assert process.pid == prepared
    assert process.returncode == 0, out
    assert any(json.loads(line)["info"]["msg"].endswith("marts.daily_bars") for line in out.splitlines())
    assert not ready.settings.warehouse_path.exists()
    # What is asked for once more starts from scratch.
    again = ready.build()
    assert again.pid != prepared
    again.kill()
    again.communicate()


def test_models_that_were_edited_meanwhile_are_read_again(ready: ReadyDbt, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = pid(ready)
    monkeypatch.setattr(dbt_process, "project_digest", lambda: "edited")
    process = ready.build()
    process.kill()
    process.communicate()
    assert process.pid != prepared
    assert not process_exists(prepared)


def test_the_digest_knows_every_file_that_dbt_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbt_process, "DBT_PROJECT_DIR", tmp_path)
    seen = {dbt_process.project_digest()}
    for name in ("dbt_project.yml", "models/marts/a.sql", "models/marts/a.yml", "macros/m.sql", "tests/generic/t.sql"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("select 1")
        seen.add(dbt_process.project_digest())
        (tmp_path / name).write_text("select 2 as longer")
        seen.add(dbt_process.project_digest())
    (tmp_path / "macros" / "m.sql").unlink()
    seen.add(dbt_process.project_digest())
    assert len(seen) == 12


@pytest.mark.slow
def test_what_was_prepared_for_nothing_is_ended(ready: ReadyDbt) -> None:
    prepared = pid(ready)
    ready.close()
    assert not process_exists(prepared)


@pytest.mark.slow
def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from orchestration.dbt_process import ReadyDbt
from orchestration.settings import Settings
print(ReadyDbt(Settings(home=Path({str(tmp_path)!r})), prepare=True)._process.pid, flush=True)
input()
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT_ROOT, text=True
    )
    assert starter.stdout is not None
    prepared = int(starter.stdout.readline())
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    deadline = time.monotonic() + 300
    while process_exists(prepared) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not process_exists(prepared)
