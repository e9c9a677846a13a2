"""The tables that readers get, as the dbt manifest describes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.transform.manifest import MANIFEST, mart_ids, read_manifest

if TYPE_CHECKING:
    from orchestration.publish.versions import Mart

# Tag of the columns that say when a run saw something.
RUN_TIME = "run_time"


def marts(manifest_path: Path = MANIFEST) -> "dict[str, Mart]":
    """The tables that readers get, by name, from the manifest.

    A table with several `grain` tests has the grain of most columns, which says most about what lies together.

    Raises:
        SettingsError: the manifest has not been prepared.
    """
    from orchestration.publish.versions import Mart

    nodes = read_manifest(manifest_path)["nodes"]
    grains: dict[str, tuple[str, ...]] = dict.fromkeys(mart_ids(nodes), ())
    for node in nodes.values():
        test = node.get("test_metadata") or {}
        model = node.get("attached_node")
        if test.get("name") == "grain" and model in grains:
            grains[model] = max(grains[model], tuple(test["kwargs"]["columns"]), key=len)
    return {
        nodes[id_]["name"]: Mart(
            grain=grain,
            description=nodes[id_]["description"],
            columns={name: column["description"] for name, column in nodes[id_]["columns"].items()},
            run_times=frozenset(
                n for n, column in nodes[id_]["columns"].items() if RUN_TIME in column["config"]["tags"]
            ),
            changes=_changes(nodes[id_]),
        )
        for id_, grain in sorted(grains.items())
    }


def _changes(node: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of tables of changes that say from which session on builds replace rows of a model.

    The strategy `changed_rows` does what its macro does (macros/incremental.sql); of everything else nothing is known.
    """
    from orchestration.transform.changed_ranges import KNOWN, RANKED_ON

    config = node.get("config") or {}
    meta = config.get("meta") or {}
    if (config.get("materialized"), config.get("incremental_strategy")) != ("incremental", "changed_rows"):
        return ()
    if meta.get("changed_by", "session_date") != "session_date" or "rebuilt" in meta:
        return ()
    said = [f"{meta.get('changes', 'int_changes')}.{meta.get('changed_from', 'changed_from')}"]
    if config.get("unique_key") or config.get("post-hook"):
        # Rows with the keys of those that were built go too, or more follows, on whichever session: known of ranks.
        if not any(id_.endswith(".int_ranked_changes") for id_ in node["depends_on"]["nodes"]):
            return ()
        said.append(RANKED_ON)
    return tuple(said) if set(said) <= set(KNOWN) else ()


def mart_names() -> list[str]:
    """The tables that readers get; without what only a publication needs, and imports."""
    nodes = read_manifest()["nodes"]
    return [nodes[id_]["name"] for id_ in sorted(mart_ids(nodes))]


def mart_grains() -> dict[str, tuple[str, ...]]:
    """The columns of which each table that readers get has one row per value."""
    return {name: mart.grain for name, mart in marts().items()}
