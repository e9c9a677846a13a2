"""dbt's unit tests: models on a few rows that are written down beside them."""

import subprocess
from pathlib import Path

import pytest

from orchestration.settings import Settings
from orchestration.transform.dbt import DbtRunner
from tests.homes import clone

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_unit_tests_of_the_models(sample_home: Path, tmp_path: Path) -> None:
    # dbt asks the tables of a warehouse for the types of their columns.
    settings = Settings(home=clone(sample_home, tmp_path / "home"))
    dbt = DbtRunner(tmp_path / "target", settings.dbt_environment())
    run = dbt.run("test", "--select", "test_type:unit", stdout=subprocess.PIPE, text=True)
    assert run.returncode == 0, run.stdout
    assert "ERROR=0" in run.stdout
