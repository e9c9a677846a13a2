"""A whole build in batches of instruments holds what one of all of them holds, in every table, to the last bit."""

import itertools
import os
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.large import dbt_run
from benchmarks.simulated_market import write_market
from orchestration.dbt_process import prepare_target
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.storage.content import table_hash
from orchestration.storage.warehouse import identifier, reading

pytestmark = pytest.mark.integration

INSTRUMENTS, YEARS, BARS_PER_BATCH = 12, 2, 1500


def build(settings: Settings, target: Path, *arguments: str) -> str:
    """Run dbt on everything; returns its log."""
    prepare_target(target)
    environment = {**os.environ, **settings.dbt_environment()}
    subprocess.run([*dbt_run(target, whole=True), *arguments], env=environment, check=True)
    return (target / "dbt.log").read_text("utf-8")


def test_batches_hold_what_one_build_holds(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", source="sample")
    write_market(settings, INSTRUMENTS, YEARS)
    assert "symbol between" not in build(settings, tmp_path / "whole")
    whole = tmp_path / "whole.duckdb"
    settings.warehouse_path.rename(whole)

    log = build(settings, tmp_path / "batched", "--vars", f"bars_per_batch: {BARS_PER_BATCH}")
    batches = set(re.findall(r"symbol between '([^']+)' and '([^']+)'", log))
    assert len(batches) > 3
    ordered = sorted(batches)
    assert all(first <= last for first, last in ordered)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ordered))

    taking_part = {
        path.stem
        for path in (DBT_PROJECT_DIR / "models").rglob("*.sql")
        if re.search(r"of_batch\(|series_to_compare\(", path.read_text("utf-8"))
    }
    assert len(taking_part) > 15
    assert set(re.findall(r'insert into "warehouse"\."main"\."(\w+?)(?:__dbt_tmp)?" by name', log)) == taking_part

    with reading(whole) as one, reading(settings.warehouse_path) as other:
        names, others = (
            [name for (name,) in connection.execute("select table_name from duckdb_tables() order by 1").fetchall()]
            for connection in (one, other)
        )
        assert names == others
        assert len(names) > 40
        different = [
            name
            for name in names
            if table_hash(one.table(identifier(name))) != table_hash(other.table(identifier(name)))
        ]
        assert not different
        assert one.table("returns").count("*").fetchall()[0][0] > 5000
