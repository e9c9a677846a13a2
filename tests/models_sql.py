"""The SQL of the models without dbt, built from any lake: fast enough for dozens of small histories."""

from collections.abc import Callable
from pathlib import Path

import duckdb

from orchestration.duckdb_io import literal
from tests.compiled_dbt import compiled_nodes, make


def build_models(
    root: Path,
    warehouse: Path,
    *last: str,
    source: str = "files",
    threads: int = 1,
    done: Callable[[str], None] = lambda _: None,
) -> None:
    """Build models from `root`/lake and `root`/control into a new DuckDB file.

    Args:
        root: the folder of a source in a home.
        warehouse: where the tables go.
        last: the models that are wanted, built with what they are made from; none: all.
        source: what every row says of its prices.
        threads: of DuckDB.
        done: told the name of each model that is built.
    """
    models = {node.unique_id: node for node in compiled_nodes() if node.kind == "model"}
    wanted = {id_ for id_, node in models.items() if not last or node.name in last}
    for id_ in reversed(models):
        if id_ in wanted:
            wanted |= {parent for parent in models[id_].parents if parent in models}
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.execute(f"attach {literal(warehouse)} as warehouse")
        connection.execute("use warehouse")
        for id_, node in models.items():
            if id_ in wanted:
                make(connection, node, root, source)
                done(node.name)
