"""The tables that readers get, as the dbt manifest describes them."""

from pathlib import Path
from typing import TYPE_CHECKING

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
            changes=tuple(nodes[id_]["config"].get("meta", {}).get("changed_ranges", ())),
        )
        for id_, grain in sorted(grains.items())
    }


def mart_names() -> list[str]:
    """The tables that readers get; without what only a publication needs, and imports."""
    nodes = read_manifest()["nodes"]
    return [nodes[id_]["name"] for id_ in sorted(mart_ids(nodes))]


def mart_grains() -> dict[str, tuple[str, ...]]:
    """The columns of which each table that readers get has one row per value."""
    return {name: mart.grain for name, mart in marts().items()}
