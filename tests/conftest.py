"""Shared fixtures. The dbt manifest is prepared once if it is missing or older than the models."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.settings import DBT_PROJECT_DIR

MANIFEST = DBT_PROJECT_DIR / "target" / "manifest.json"

os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
# A developer's own settings must not leak into the tests.
for name in [n for n in os.environ if n.startswith("OREWATCH_") and not n.startswith("OREWATCH_REAL")]:
    if name not in ("OREWATCH_YAHOO_REPLIES",):
        del os.environ[name]


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
        dbt = Path(sys.executable).parent / "dbt"
        subprocess.run(
            [dbt, "--quiet", "parse", "--project-dir", DBT_PROJECT_DIR, "--profiles-dir", DBT_PROJECT_DIR], check=True
        )
