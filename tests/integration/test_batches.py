"""A build in batches of instruments holds what one of all of them holds, in every table, to the last bit."""

import itertools
import re
import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.increments import Market
from benchmarks.large import cost, dbt_run
from benchmarks.simulated_market import write_market
from orchestration.duckdb_io import identifier, reading
from orchestration.market.universe import load_universe
from orchestration.publish.content_hash import table_hash
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.transform.dbt import DbtRunner
from orchestration.transform.manifest import read_manifest
from tests.models_sql import build_models

pytestmark = [pytest.mark.integration, pytest.mark.slow]

INSTRUMENTS, YEARS, BARS_PER_BATCH = 12, 2, 1500


def build(settings: Settings, target: Path, *arguments: str, whole: bool = True) -> str:
    """Run dbt on everything; returns its log."""
    cost(DbtRunner(target, settings.dbt_environment()).start, *dbt_run(whole), *arguments)
    return (target / "dbt.log").read_text("utf-8")


def batches_of(log: str) -> list[tuple[str, str]]:
    """First and last symbol of the batches that were built, in order."""
    return sorted(set(re.findall(r"first_symbol = '([^']+)';\s+set variable last_symbol = '([^']+)'", log)))


def built_in_batches(log: str) -> set[str]:
    """The tables that got rows of a second batch."""
    insert = r"""last_symbol = '[^']+';\s+insert into "?(?:\w+"?\."?)*?(\w+?)(?:__dbt_tmp\w*)?" by name"""
    return set(re.findall(insert, log))


def models_in_batches() -> set[str]:
    """Those that are built instrument by instrument."""
    nodes = [node for node in read_manifest()["nodes"].values() if node["resource_type"] == "model"]
    return {
        node["name"]
        for node in nodes
        if node["config"]["materialized"] == "incremental_by_symbol"
        and "rebuilt" not in node["config"]["meta"]
        and node["config"]["meta"].get("in_batches", True)
    }


def different_tables(one_file: Path, other_file: Path) -> list[str]:
    """Names of the tables that are not the same to the last bit; both files have the same ones."""
    with reading(one_file) as one, reading(other_file) as other:
        names, others = (
            [name for (name,) in connection.execute("select table_name from duckdb_tables() order by 1").fetchall()]
            for connection in (one, other)
        )
        assert names == others
        assert len(names) > 40
        assert one.table("returns").count("*").fetchall()[0][0] > 5000
        return [
            name
            for name in names
            if table_hash(one.table(identifier(name))) != table_hash(other.table(identifier(name)))
        ]


def test_batches_hold_what_one_build_holds(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", source="sample")
    write_market(settings, INSTRUMENTS, YEARS)
    whole = tmp_path / "whole.duckdb"
    build_models(settings.paths.root, whole, source=settings.source)

    log = build(settings, tmp_path / "batched", "--vars", f"bars_per_batch: {BARS_PER_BATCH}")
    batches = batches_of(log)
    assert len(batches) > 3
    assert all(first <= last for first, last in batches)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(batches))
    assert len(models_in_batches()) > 15
    assert built_in_batches(log) == models_in_batches()
    assert not different_tables(whole, settings.paths.warehouse)


@pytest.mark.parametrize("everybody", [True, False])
def test_news_in_batches_holds_what_is_built_at_once(everybody: bool, tmp_path: Path) -> None:
    market = Market(tmp_path / "home", len(load_universe(DBT_PROJECT_DIR / "seeds").instruments), YEARS)
    settings = market.settings
    build_models(settings.paths.root, settings.paths.warehouse, source=settings.source)
    before, at_once = tmp_path / "before.duckdb", tmp_path / "at_once.duckdb"
    shutil.copy(settings.paths.warehouse, before)
    # A session of everybody, or of nobody; and bars of what miners are compared with, long ago: most of the comparisons
    # change, also of instruments with no bar of their own.
    if everybody:
        market.next_session()
    for symbol in ("GLD", "SLV"):
        fund = market.lake.newest_bars([symbol]).slice(100, 1)
        market.deliver(
            fund.set_column(fund.schema.get_field_index("close"), "close", pc.add(fund["close"], pa.scalar(0.01)))
        )

    assert not batches_of(build(settings, tmp_path / "target", whole=False))
    settings.paths.warehouse.rename(at_once)
    before.rename(settings.paths.warehouse)
    log = build(
        settings, tmp_path / "batched", "--vars", f"bars_per_batch: {BARS_PER_BATCH if everybody else 300}", whole=False
    )
    assert len(batches_of(log)) > 3
    assert {"sector_relative", "int_move_scores", "returns"} <= built_in_batches(log) <= models_in_batches()
    assert not different_tables(at_once, settings.paths.warehouse)
    # Data tests look at the rows that were built, each in the way of its own.
    cost(DbtRunner(tmp_path / "tested", settings.dbt_environment()).start, "test", "--select", "test_type:data")


def test_a_model_that_was_edited_asks_for_a_full_refresh(tmp_path: Path) -> None:
    """Instead of storing NULL from now on in a column that its SQL no longer has."""
    market = Market(tmp_path / "home", 12, YEARS)
    settings = market.settings
    build_models(settings.paths.root, settings.paths.warehouse, source=settings.source)
    with duckdb.connect(str(settings.paths.warehouse)) as connection:
        connection.execute("alter table int_ewma add column gone double")
    market.next_session()
    with pytest.raises(SystemExit, match=r"(?s)int_ewma.*out of sync.*full_refresh"):
        build(settings, tmp_path / "target", whole=False)
