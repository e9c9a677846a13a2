"""The SQL of the models, as dbt compiles it, without dbt: fast enough for dozens of small histories."""

import json
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import duckdb

from orchestration.settings import DBT_PROJECT_DIR
from orchestration.storage.warehouse import literal


class CompiledModels:
    """Every model, or one and what it is made from, compiled once for homes in any folder.

    Args:
        folder: an empty one.
        select: the last model that is wanted, or several with " +" between; none: all.
        source: what every row says of its prices.
    """

    def __init__(self, folder: Path, select: str = "", source: str = "files") -> None:
        self.compiled_for = folder / "home"
        subprocess.run(
            [
                *(Path(sys.executable).parent / "dbt", "--quiet", "compile"),
                *(("--select", f"+{select}") if select else ()),
                *("--project-dir", DBT_PROJECT_DIR, "--profiles-dir", DBT_PROJECT_DIR),
                *("--target-path", folder / "target", "--log-path", folder / "logs"),
            ],
            env={
                **os.environ,
                "OREWATCH_SOURCE": source,
                "OREWATCH_ROOT": str(self.compiled_for),
                "OREWATCH_WAREHOUSE": str(folder / "warehouse.duckdb"),
            },
            check=True,
            stdout=subprocess.DEVNULL,
        )
        manifest = json.loads((folder / "target" / "manifest.json").read_text("utf-8"))
        models = {id_: node for id_, node in manifest["nodes"].items() if node["resource_type"] == "model"}
        order = TopologicalSorter({id_: node["depends_on"]["nodes"] for id_, node in models.items()}).static_order()
        compiled = {path.stem: path for path in (folder / "target" / "compiled").rglob("models/**/*.sql")}
        names = [models[id_]["name"] for id_ in order if id_ in models]
        self.statements = {name: compiled[name].read_text("utf-8") for name in names if name in compiled}

    def build(self, root: Path, warehouse: Path) -> None:
        """Build the models from `root`/lake and `root`/control into a new DuckDB file."""
        with duckdb.connect() as connection:
            connection.execute(f"attach {literal(warehouse)} as warehouse")
            for name, sql in self.statements.items():
                on_root = sql.replace(str(self.compiled_for), str(root))
                connection.execute(f"create table warehouse.main.{name} as {on_root}")
