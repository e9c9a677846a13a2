"""dbt that has read the models beforehand: it opens nothing, outlives nobody, and leaves nothing out."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.alerts.data_alerts import cause
from orchestration.cli.rebuild import build_tables, inside
from orchestration.duckdb_io import rows
from orchestration.instance.scratch import process_exists, scratch
from orchestration.publish.manifest import current_manifest
from orchestration.settings import PROJECT_ROOT, Settings
from orchestration.transform import dbt as dbt_process
from orchestration.transform.build_state import BuildState
from orchestration.transform.dbt import DbtRunner, main
from orchestration.transform.manifest import data_tests
from orchestration.transform.run_results import RUN_RESULTS
from tests.compiled_dbt import CompiledDbt, Finished, compiled_nodes
from tests.homes import clone
from tests.jobs import published, refresh_and_read, run_job, small_seeds

pytestmark = pytest.mark.integration


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DbtRunner]:
    # A command that needs the models and no prices.
    monkeypatch.setattr(dbt_process, "BUILD", ("ls", "--select", "daily_bars", "--resource-type", "model"))
    settings = Settings(home=tmp_path)
    ready = DbtRunner(settings.paths.dbt, settings.dbt_environment(), prepare=True)
    yield ready
    ready.close()


def pid(ready: DbtRunner) -> int:
    assert ready._prepared is not None
    return ready._prepared.pid


@pytest.mark.slow
def test_it_answers_with_events_and_opens_no_database(ready: DbtRunner, tmp_path: Path) -> None:
    prepared = pid(ready)
    process = ready.build()
    out, _ = process.communicate(timeout=300)
    assert process.pid == prepared
    assert process.returncode == 0, out
    assert any(json.loads(line)["info"]["msg"].endswith("marts.prices.daily_bars") for line in out.splitlines())
    assert not Settings(home=tmp_path).paths.warehouse.exists()
    # What is asked for once more starts from scratch.
    again = ready.build()
    assert again.pid != prepared
    again.kill()
    again.communicate()


def test_models_that_were_edited_meanwhile_are_read_again(ready: DbtRunner, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_what_was_prepared_for_nothing_is_ended(ready: DbtRunner) -> None:
    prepared = pid(ready)
    ready.close()
    assert not process_exists(prepared)


@pytest.mark.slow
def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from orchestration.transform.dbt import DbtRunner
print(DbtRunner(Path({str(tmp_path)!r}), prepare=True)._prepared.pid, flush=True)
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


class HalfHearted(CompiledDbt):
    """A dbt that ends well and leaves something out, as one does that heeds a variable of an operator.

    Args:
        settings: name the home.
        runs: says of a node whether it runs.
        silent: whether it tells nothing of what it does.
    """

    def __init__(self, settings: Settings, runs: Callable[[str], bool], silent: bool = False) -> None:
        super().__init__(settings)
        self.runs, self.silent = runs, silent

    def build(self, arguments: Sequence[str] = ()) -> Any:
        process = super().build(arguments)
        file = self.target / RUN_RESULTS
        found = json.loads(file.read_text())
        found["results"] = [result for result in found["results"] if self.runs(result["unique_id"])]
        if found["results"]:
            file.write_text(json.dumps(found))
        else:
            file.unlink()
        told = [] if self.silent else process.stdout.getvalue().splitlines(keepends=True)
        told = [line for line in told if self.runs(json.loads(line)["data"]["node_info"]["unique_id"])]
        return Finished(b"".join(told), 0)


@pytest.mark.parametrize(
    ("runs", "silent", "said"),
    [
        (lambda _: False, False, "{nodes} of the models and tests: "),  # DBT_SELECT=nothing
        (lambda _: True, True, "{nodes} of the models and tests: "),  # DBT_QUIET: nobody hears of it
        (lambda id_: id_.startswith("model."), False, "{tests} of the models and tests: accepted_range_"),
        (
            lambda id_: ".unique_combination_of_columns_returns_" not in id_,
            False,
            "1 of the models and tests: unique_combination_of_columns_returns_symbol__session",
        ),
        (lambda id_: not id_.endswith(".returns"), False, "1 of the models and tests: returns;"),
    ],
)
def test_a_build_that_leaves_something_out_is_a_failure_that_names_it(
    runs: Callable[[str], bool], silent: bool, said: str, sample_home: Path, tmp_path: Path
) -> None:
    settings = Settings(home=clone(sample_home, tmp_path / "home"))
    dbt = HalfHearted(settings, runs, silent)
    result = run_job(settings, {"dbt": dg.ResourceDefinition.hardcoded_resource(dbt)})
    assert not result.success
    (failure,) = [e for e in result.all_events if e.is_step_failure and e.step_key == "dbt_models"]
    told = cause(failure)
    said = said.format(nodes=len(compiled_nodes()), tests=len(data_tests()))
    assert told.startswith(f"dbt ended without an error, and did not run {said}")
    assert "readers keep the last published version" in told
    state = BuildState.load(settings.paths.build_state)
    assert state.blocked is not None
    assert state.blocked.reason in told
    assert state.built is None
    manifest = current_manifest(settings.paths.published)
    assert manifest is not None
    assert manifest.version == 1


# Each of them has frozen readers, stopped a refresh without naming itself, or let it publish what no test had seen.
OF_AN_OPERATOR = {
    "DBT_QUIET": "1",
    "DBT_LOG_LEVEL": "error",
    "DBT_EMPTY": "true",
    "DBT_TARGET": "prod",
    "DBT_PROFILE": "jaffle_shop",
    "DBT_DEFER": "true",
    "DBT_STATE": "/nowhere",
    "DBT_RESOURCE_TYPES": "model",
    "DBT_EXCLUDE_RESOURCE_TYPES": "test",
    "DBT_INDIRECT_SELECTION": "empty",
    "DBT_FAIL_FAST": "true",
    "DBT_WARN_ERROR": "true",
    "DBT_PROJECT_DIR": "/nowhere",
    "DBT_PROFILES_DIR": "/nowhere",
    "DBT_ENGINE_QUIET": "1",
    "DBT_ENGINE_TARGET": "prod",
}


@pytest.mark.slow
def test_variables_of_an_operator_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh, its verification and the manifest, in an environment in which none of them would work."""
    for name, value in OF_AN_OPERATOR.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    # A dbt of the user's own, too.
    (tmp_path / ".dbt").mkdir()
    (tmp_path / ".dbt" / "profiles.yml").write_text("config: {fail_fast: true, quiet: true}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings(home=tmp_path / "home", seeds=small_seeds(tmp_path / "seeds", "SIL", "SLV"))
    success, said = refresh_and_read(settings, real_dbt=True)
    assert success, said
    built = BuildState.load(settings.paths.build_state).built
    assert built is not None
    assert built.tests == data_tests()
    assert len(data_tests()) > 100
    (bars,) = published(settings, "select count(*) as n from daily_bars")
    assert bars["n"] > 1000
    with scratch(settings.paths.root) as folder:
        inside_scratch = inside(settings, folder)
        shutil.copytree(settings.paths.lake, inside_scratch.paths.lake, symlinks=True)
        shutil.copytree(settings.paths.reference, inside_scratch.paths.reference)
        tables = build_tables(inside_scratch, folder)
        assert rows(tables, "select count(*) as n from daily_bars") == [bars]
    assert main(["--quiet", "--no-write-json", "ls", "--select", "daily_bars"]) == 0
