"""The asset that readers see: the published version of the marts."""

import dagster as dg

from orchestration.assets.models import mart_names
from orchestration.settings import DBT_PROJECT_DIR, Settings

PUBLISHED = dg.AssetKey(["published", "market"])


def build_publish(settings: Settings) -> dg.AssetsDefinition:
    """The publication step: after every data check, one atomic flip."""
    marts = mart_names()
    simulated = "SIMULATED prices. " if settings.simulated else ""

    @dg.asset(
        key=PUBLISHED,
        deps=[dg.AssetKey(name) for name in marts],
        group_name="publish",
        kinds={"duckdb", "parquet"},
        owners=["team:orewatch"],
        tags={"source": settings.source},
        description=f"{simulated}Read-only copy of the marts for BI, replaced as a whole after the audit has passed.",
        required_resource_keys={"settings", "warehouse_lock", "progress"},
    )
    def published_market(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from orchestration.storage.fingerprint import fingerprint
        from orchestration.storage.lake import Lake
        from orchestration.storage.publish import publish

        current: Settings = context.resources.settings
        context.resources.progress(0, 0, "publishing")
        manifest = publish(
            current.warehouse_path,
            marts,
            current.published_dir,
            fingerprint(Lake(current.lake_dir), current.control_dir, DBT_PROJECT_DIR),
            current.source,
            current.simulated,
        )
        return dg.MaterializeResult(
            metadata={
                "version": manifest.version,
                "simulated": manifest.simulated,
                "path": dg.MetadataValue.path(current.published_dir / "current" / "market.duckdb"),
                "tables": dg.MetadataValue.table(
                    [dg.TableRecord({"table": name, "rows": count}) for name, count in manifest.rows.items()]
                ),
            }
        )

    return published_market
