"""The tables that Spark has built, in one DuckDB file: what checks, publications and comparisons read.

Spark keeps each table as a folder of Parquet files. Loading them after a build costs a copy, and buys that everything
behind the models is the same for both engines: docs/decisions/0023-spark.md
"""

import shutil
from pathlib import Path

import duckdb

from orchestration.duckdb_io import identifier
from orchestration.market.errors import SettingsError

SCHEMA = "orewatch"


def tables(spark_dir: Path) -> dict[str, Path]:
    """The folder of each table that Spark has built, by name; what stands between two tables of a build is none."""
    return {
        path.name: path for path in sorted((spark_dir / "tables" / f"{SCHEMA}.db").glob("*/")) if "__" not in path.name
    }


def start_over(spark_dir: Path) -> None:
    """Take away all tables, before a full refresh. Spark makes no table where a killed build has left files of one."""
    if spark_dir.exists():
        shutil.rmtree(spark_dir)
    spark_dir.mkdir(parents=True)  # the metastore's log is opened before anything else is made


def load_tables(spark_dir: Path, warehouse: Path) -> list[str]:
    """Put all tables into a DuckDB file, which takes the place of an older one once it is whole.

    Args:
        spark_dir: where Spark keeps them.
        warehouse: the file.

    Returns:
        The names of the tables.

    Raises:
        SettingsError: Spark has built no table there.
    """
    found = tables(spark_dir)
    if not found:
        raise SettingsError(f"Spark has built no table below {spark_dir}; run a refresh with OREWATCH_ENGINE=spark")
    loading = warehouse.with_suffix(".loading")
    loading.unlink(missing_ok=True)
    with duckdb.connect(str(loading)) as connection:
        for name, path in found.items():
            connection.read_parquet(str(path / "*.parquet")).create(identifier(name))
    loading.replace(warehouse)
    return list(found)
