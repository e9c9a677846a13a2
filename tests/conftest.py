"""Shared fixtures. The dbt manifest is prepared once if it is missing or older than the models."""

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.settings import DBT_PROJECT_DIR, Settings
from tests.homes import made_once

MANIFEST = DBT_PROJECT_DIR / "target" / "manifest.json"

os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
# What a small market makes Spark compile runs once: the first of the two compilers is enough, with room for all of it.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC")
# A developer's own settings must not leak into the tests.
for name in [n for n in os.environ if n.startswith("OREWATCH_") and not n.startswith("OREWATCH_REAL")]:
    if name not in ("OREWATCH_YAHOO_REPLIES",):
        del os.environ[name]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadscope`, scopes are ours."""
    if config.getoption("dist") != "loadscope":
        return None
    from tests.scheduling import ByWhatIsShared

    return ByWhatIsShared(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest begin first."""
    from tests.scheduling import turn

    items.sort(key=lambda item: turn(item.path))


def _newest_model() -> float:
    parts = (p for d in ("models", "macros", "tests") for p in (DBT_PROJECT_DIR / d).rglob("*") if p.is_file())
    return max(p.stat().st_mtime for p in parts)


@pytest.fixture(autouse=True)
def _environment_of_its_own() -> Iterator[None]:
    """What a command sets for its process, such as DAGSTER_HOME, ends with the test that ran it."""
    os.environ.pop("DAGSTER_HOME", None)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def _manifest() -> None:
    if not MANIFEST.exists() or MANIFEST.stat().st_mtime < _newest_model():
        from orchestration.transform.dbt import DbtRunner

        DbtRunner(MANIFEST.parent).run("--quiet", "parse").check_returncode()


@pytest.fixture
def rebuilt_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`orewatch verify` and `orewatch as-of` build their tables without dbt."""
    from tests.jobs import rebuild

    for module in ("verify", "as_of"):
        monkeypatch.setattr(f"orchestration.cli.{module}.build_tables", rebuild)


@pytest.fixture(scope="session")
def sample_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated market of 30 January 2026, refreshed once; not to be changed: `tests.homes.clone` gives a copy."""

    def refreshed(folder: Path) -> None:
        from tests.jobs import run_job

        assert run_job(Settings(home=folder)).success

    return made_once(tmp_path_factory, "sample", refreshed)


@pytest.fixture(scope="session")
def later_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same market as it stood on 6 March 2026, its tables published; not to be changed."""

    def published(folder: Path) -> None:
        from tests.jobs import publish_tables

        publish_tables(Settings(home=folder, as_of=dt.date(2026, 3, 6)))

    return made_once(tmp_path_factory, "later", published)
