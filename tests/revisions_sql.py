"""The SQL behind price_revisions, as dbt compiles it, on a lake: fast enough for many small histories."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb

from orchestration.market.universe import Universe
from orchestration.settings import DBT_PROJECT_DIR
from orchestration.storage.control import SCHEMAS

# In the order of their dependencies.
MODELS = ("stg_bar_versions", "int_rule_members", "int_revised_bars", "price_revisions")


class RevisionModels:
    """The compiled models."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(
            [
                *(Path(sys.executable).parent / "dbt", "--quiet", "compile", "--select", *MODELS),
                *("--project-dir", DBT_PROJECT_DIR, "--profiles-dir", DBT_PROJECT_DIR),
                *("--target-path", folder / "target", "--log-path", folder / "logs"),
            ],
            env={
                **os.environ,
                "OREWATCH_SOURCE": "files",
                "OREWATCH_ROOT": str(folder),
                "OREWATCH_WAREHOUSE": str(folder / "warehouse.duckdb"),
            },
            check=True,
            stdout=subprocess.DEVNULL,
        )
        compiled = {path.stem: path for path in (folder / "target" / "compiled").rglob("*.sql")}
        self.statements = {name: compiled[name].read_text() for name in MODELS}

    def revisions(self, lake: Path, universe: Universe) -> list[dict[str, Any]]:
        """The rows of price_revisions of a lake."""
        import pyarrow as pa

        with duckdb.connect() as connection:
            connection.execute("attach ':memory:' as warehouse")
            for name, records in (("instruments", universe.instruments), ("move_rules", universe.move_rules)):
                connection.register(
                    f"control_{name}",
                    pa.Table.from_pylist([record.model_dump() for record in records], schema=SCHEMAS[name]),
                )
            for name, sql in self.statements.items():
                for control in ("instruments", "move_rules"):
                    sql = sql.replace(f"read_parquet('{self.folder}/control/{control}.parquet')", f"control_{control}")
                sql = sql.replace(f"{self.folder}/lake", str(lake))
                connection.execute(f"create table warehouse.main.{name} as {sql}")
            result = connection.execute(
                "select * from warehouse.main.price_revisions order by symbol, changed_at, session_date, field"
            )
            names = [column[0] for column in result.description]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
