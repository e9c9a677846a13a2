"""The exposures of dbt: what reads the tables and is no asset of this project, at the end of the lineage."""

import dagster as dg

from orchestration.asset_metadata import PUBLISH_GROUP, about
from orchestration.settings import DBT_PROJECT_DIR
from orchestration.transform.manifest import read_manifest


def build_exposures() -> list[dg.AssetSpec]:
    """One external asset per exposure; what its meta names as an asset of ours is left out."""
    manifest = read_manifest()
    return [
        dg.AssetSpec(
            dg.AssetKey(["exposures", exposure["name"]]),
            deps=[dg.AssetKey(manifest["nodes"][id_]["name"]) for id_ in exposure["depends_on"]["nodes"]],
            group_name=PUBLISH_GROUP,
            kinds={exposure["type"]},
            description=exposure["description"],
            metadata=about(
                exposure["meta"].get("document", "docs/bi.md"), DBT_PROJECT_DIR / exposure["original_file_path"]
            ),
        )
        for exposure in manifest["exposures"].values()
        if "asset_key" not in exposure["meta"].get("dagster", {})
    ]
