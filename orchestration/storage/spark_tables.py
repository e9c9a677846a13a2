"""The tables that Spark has built, in one DuckDB file: what checks, publications and comparisons read.

Spark keeps each table as a folder of Parquet files. Loading them after a build costs a copy, and buys that everything
behind the models is the same for both engines: docs/decisions/0023-spark.md
"""

from pathlib import Path

import duckdb

from orchestration.market.errors import SettingsError
from orchestration.storage.warehouse import identifier

SCHEMA = "orewatch"


def tables(folder: Path) -> dict[str, Path]:
    """The folder of each table below Spark's `spark.sql.warehouse.dir`, by name; what no build has ended is none."""
    return {path.name: path for path in sorted((folder / f"{SCHEMA}.db").glob("*/")) if "__" not in path.name}


def load_tables(folder: Path, warehouse: Path) -> list[str]:
    """Put all tables into a DuckDB file, which takes the place of an older one once it is whole.

    Args:
        folder: Spark's `spark.sql.warehouse.dir`.
        warehouse: the file.

    Returns:
        The names of the tables.

    Raises:
        SettingsError: Spark has built no table there.
    """
    found = tables(folder)
    if not found:
        raise SettingsError(f"Spark has built no table below {folder}; run a refresh with OREWATCH_ENGINE=spark")
    loading = warehouse.with_suffix(".loading")
    loading.unlink(missing_ok=True)
    with duckdb.connect(str(loading)) as connection:
        for name, path in found.items():
            connection.read_parquet(str(path / "*.parquet")).create(identifier(name))
    loading.replace(warehouse)
    return list(found)
