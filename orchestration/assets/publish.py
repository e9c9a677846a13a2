"""The asset that readers see: the published version of the marts."""

import dagster as dg

from orchestration.assets.models import mart_grains
from orchestration.market.errors import PublishError
from orchestration.settings import Settings

PUBLISHED = dg.AssetKey(["published", "market"])


def build_publish(settings: Settings) -> dg.AssetsDefinition:
    """The publication step: after every data check, one atomic flip."""
    marts = mart_grains()
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
        from orchestration.storage.publish import publish

        current: Settings = context.resources.settings
        context.resources.progress(0, 0, "publishing")
        manifest = publish(
            current.warehouse_path,
            marts,
            current.published_dir,
            audited_fingerprint(current),
            current.source,
            current.simulated,
        )
        return dg.MaterializeResult(
            metadata={
                "version": manifest.version,
                "simulated": manifest.simulated,
                "path": dg.MetadataValue.path(current.published_file),
                "tables": dg.MetadataValue.table(
                    [dg.TableRecord({"table": name, "rows": count}) for name, count in manifest.rows.items()]
                ),
            }
        )

    return published_market


def audited_fingerprint(settings: Settings) -> str:
    """What the tables of the warehouse were built from, if the data checks let exactly this build pass.

    It goes into the published manifest as it is. If newer bars have arrived since, the version is honest about its age:
    the next refresh finds another fingerprint and builds again.

    Raises:
        PublishError: there is no such build.
    """
    from orchestration.storage.records import read_record

    built = read_record(settings.build_record)
    if built is None or built != read_record(settings.audit_record):
        raise PublishError(
            "the tables have not been built and audited since the last fetch; materialize all, or run orewatch refresh"
        )
    return built
