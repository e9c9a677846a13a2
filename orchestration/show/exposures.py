"""The exposures of dbt: what reads the tables and is no asset of this project, at the end of the lineage."""

import dagster as dg

from orchestration.asset_metadata import OWNERS, links
from orchestration.home import Home
from orchestration.settings import DBT_PROJECT_DIR
from orchestration.transform.manifest import read_manifest


def build_exposures(home: Home) -> list[dg.AssetSpec]:
    """One external asset per exposure; what its meta names as an asset of ours is left out."""
    manifest = read_manifest()
    simulated = "SIMULATED prices. " if home.simulated else ""
    return [
        dg.AssetSpec(
            dg.AssetKey(["exposures", exposure["name"]]),
            deps=[dg.AssetKey(manifest["nodes"][id_]["name"]) for id_ in exposure["depends_on"]["nodes"]],
            group_name="publish",
            kinds={exposure["type"]},
            owners=OWNERS,
            tags={"source": home.source},
            description=simulated + exposure["description"],
            metadata=links(
                exposure["meta"].get("document", "docs/bi.md"), DBT_PROJECT_DIR / exposure["original_file_path"]
            ),
        )
        for exposure in manifest["exposures"].values()
        if "asset_key" not in exposure["meta"].get("dagster", {})
    ]
