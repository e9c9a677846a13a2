"""The tables that readers get, as the dbt manifest describes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.transform.manifest import MANIFEST, mart_ids, read_manifest

# Tag of the columns that say when a run saw something.
RUN_TIME = "run_time"

# What replaces rows of a model where its meta says nothing else: dbt_project/macros/incremental_by_symbol.sql
USUAL_RANGES = ("int_changes.changed_from",)


@dataclass(frozen=True)
class Mart:
    """A table that readers get.

    Attributes:
        grain: the columns of which it has one row per value, which order it; none means all of its columns.
        description: of the table.
        columns: description of each column.
        run_times: columns that say when a run saw something (tag `run_time`): no part of the content.
        changed_ranges: columns, as `table.column`, that say from which session on a build has replaced rows; see
            `transform.changed_ranges`. None: nothing says it.
    """

    grain: tuple[str, ...] = ()
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    run_times: frozenset[str] = frozenset()
    changed_ranges: tuple[str, ...] = ()


def marts(manifest_path: Path = MANIFEST) -> dict[str, Mart]:
    """The tables that readers get, by name, from the manifest.

    Of several tests `unique_combination_of_columns` the one of most columns is the grain: it says most about what lies
    together.

    Raises:
        SettingsError: the manifest has not been prepared.
    """
    nodes = read_manifest(manifest_path)["nodes"]
    grains: dict[str, tuple[str, ...]] = dict.fromkeys(mart_ids(nodes), ())
    for node in nodes.values():
        test = node.get("test_metadata") or {}
        model = node.get("attached_node")
        if test.get("name") == "unique_combination_of_columns" and model in grains:
            grains[model] = max(grains[model], tuple(test["kwargs"]["combination_of_columns"]), key=len)
    return {
        nodes[id_]["name"]: Mart(
            grain=grain,
            description=nodes[id_]["description"],
            columns={name: column["description"] for name, column in nodes[id_]["columns"].items()},
            run_times=frozenset(
                n for n, column in nodes[id_]["columns"].items() if RUN_TIME in column["config"]["tags"]
            ),
            changed_ranges=_changed_ranges(nodes[id_]["config"]),
        )
        for id_, grain in sorted(grains.items())
    }


def _changed_ranges(config: Mapping[str, Any]) -> tuple[str, ...]:
    """None of a table that is made anew, or has rows that are built every time: they may be of any session."""
    meta = config.get("meta", {})
    if config.get("materialized") != "incremental_by_symbol" or "rebuilt" in meta:
        return ()
    return tuple(meta.get("changed_ranges", USUAL_RANGES))


def mart_names() -> list[str]:
    """The tables that readers get; without what only a publication needs, and imports."""
    nodes = read_manifest()["nodes"]
    return [nodes[id_]["name"] for id_ in sorted(mart_ids(nodes))]


def mart_grains() -> dict[str, tuple[str, ...]]:
    """The columns of which each table that readers get has one row per value."""
    return {name: mart.grain for name, mart in marts().items()}
