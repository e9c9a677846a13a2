"""What an operator has set for a dbt of his own, or for anything else, does not reach ours."""

import re
from pathlib import Path

import pytest
from dbt.cli import params
from dbt.env_vars import KNOWN_ENGINE_ENV_VARS

from orchestration.settings import DBT_PROJECT_DIR, PROJECT_ROOT, Settings
from orchestration.transform.dbt import HANDED_ON, DbtRunner

OURS = {
    "DBT_PROJECT_DIR": str(DBT_PROJECT_DIR),
    "DBT_PROFILES_DIR": str(DBT_PROJECT_DIR),
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
}
# What somebody had set when this was written; dbt itself knows the rest.
SEEN = ("DBT_QUIET", "DBT_LOG_LEVEL", "DBT_EMPTY", "DBT_TARGET", "DBT_PROFILE", "DBT_DEFER", "DBT_RESOURCE_TYPES")


def dbt_environment(target: Path, settings: Settings | None = None) -> dict[str, str]:
    return DbtRunner(target, settings and settings.dbt_environment()).environment


def dbts_own_names() -> set[str]:
    """Every variable that dbt reads, under its old name and its new one."""
    return {name for var in KNOWN_ENGINE_ENV_VARS for name in (var.name, var.old_name) if name}


def test_dbt_reads_none_of_its_variables_but_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = dbts_own_names()
    assert set(SEEN) <= names
    assert len(params.KNOWN_ENV_VARS) > 50
    for name in {*names, "DBT_A_NEW_ONE", "DBT_ENGINE_A_NEW_ONE"}:
        monkeypatch.setenv(name, "of an operator")
    given = dbt_environment(tmp_path, Settings())
    assert {name: value for name, value in given.items() if name.startswith("DBT_")} == {
        **OURS,
        "DBT_TARGET_PATH": str(tmp_path),
        "DBT_LOG_PATH": str(tmp_path),
    }
    assert "of an operator" not in given.values()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "DAGSTER_HOME",
            "DAGSTER_DBT_CLI",
            "PYTHONWARNINGS",
            "PYTHONOPTIMIZE",
            "PYTHONSAFEPATH",
            "COLUMNS",
            "NO_COLOR",
        ),
        *("OREWATCH_ALERTS", "OREWATCH_POSTGRES_URL", "AWS_SECRET_ACCESS_KEY", "ANYTHING"),
    ],
)
def test_what_no_list_names_stays_outside(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    monkeypatch.setenv(name, "x")
    assert name not in dbt_environment(tmp_path, settings)
    assert name not in dbt_environment(tmp_path)


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "LC_ALL", "TZ", "TMPDIR", "JAVA_HOME", "SPARK_LOCAL_DIRS", "PYTHONPATH"]
)
def test_what_a_process_needs_is_handed_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    assert dbt_environment(tmp_path, Settings())[name] == "x"


def test_settings_win_over_what_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OREWATCH_WAREHOUSE", "elsewhere")
    settings = Settings(home=tmp_path)
    assert dbt_environment(tmp_path, settings)["OREWATCH_WAREHOUSE"] == str(settings.paths.warehouse)
    # Without settings, as `make manifest` and `make docs` call it, the project's own variables count.
    assert dbt_environment(tmp_path)["OREWATCH_WAREHOUSE"] == "elsewhere"


def test_whatever_the_project_reads_is_given(tmp_path: Path) -> None:
    files = [
        path for path in DBT_PROJECT_DIR.rglob("*") if path.suffix in (".yml", ".sql") and "target" not in path.parts
    ]
    read = {name for path in files for name in re.findall(r"env_var\('(\w+)'", path.read_text("utf-8"))}
    assert "OREWATCH_WAREHOUSE" in read
    assert read <= set(Settings(home=tmp_path).dbt_environment())
    assert read <= HANDED_ON


def test_nobody_calls_dbt_in_another_way() -> None:
    """No file of ours names the program or its runner but the one that says how it is called."""
    called = re.compile(
        r"""(?:parent|BIN) / "dbt"|bin/dbt|\(BIN\)/dbt|dbtRunner\(|\*\*os\.environ[^}]*dbt_environment|DbtCliResource"""
    )
    folders = ("orchestration", "tests", "benchmarks", "dashboard", "deploy")
    files = [PROJECT_ROOT / "Makefile", *(path for folder in folders for path in (PROJECT_ROOT / folder).rglob("*.py"))]
    callers = {path.relative_to(PROJECT_ROOT).as_posix() for path in files if called.search(path.read_text("utf-8"))}
    this = Path(__file__).relative_to(PROJECT_ROOT).as_posix()
    # In the environment that it is given; a command that stands in a document.
    others = {"tests/forked_dbt.py", "tests/integration/test_documents.py"}
    assert callers - others == {"orchestration/transform/dbt.py", this}
