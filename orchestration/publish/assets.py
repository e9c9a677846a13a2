"""The asset that readers see: the published version of the marts. Its copies: `publish.copies`."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.asset_metadata import PUBLISH_GROUP, about, tag_run
from orchestration.instance.progress import ProgressReporter
from orchestration.publish.gate import may_publish
from orchestration.publish.marts import mart_names, marts
from orchestration.settings import Settings
from orchestration.transform.manifest import data_tests

if TYPE_CHECKING:
    from orchestration.ingest.lake import Lake

PUBLISHED = dg.AssetKey(["published", "market"])


def build_publish() -> dg.AssetsDefinition:
    """The publication step: after every data check, one atomic flip."""

    @dg.asset(
        key=PUBLISHED,
        deps=[dg.AssetKey(name) for name in mart_names()],
        group_name=PUBLISH_GROUP,
        kinds={"duckdb", "parquet"},
        description="Read-only copy of the marts for BI, replaced as a whole after the audit has passed.",
        metadata=about("docs/bi.md#the-tables", Path(__file__)),
    )
    def published_market(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        warehouse_lock: dg.ResourceParam[None],  # noqa: ARG001  (held while the step runs)
        progress: dg.ResourceParam[ProgressReporter],
    ) -> dg.MaterializeResult:
        from orchestration.duckdb_io import latest_session
        from orchestration.publish.versions import publish

        home = settings.paths
        progress(0, 0, "publishing")
        manifest = publish(
            home.warehouse,
            marts(),
            home.published,
            may_publish(home),
            settings.source,
            settings.simulated,
            build_state=home.build_state,
            memory_gb=settings.memory_gb,
            versions_kept=settings.keep_versions,
        )
        latest = latest_session(home.warehouse)
        tag_run(context, settings.paths, version=manifest.version, latest_session=latest)
        return dg.MaterializeResult(
            metadata={
                "version": manifest.version,
                "latest_session": latest,
                "content_hash": manifest.content_hash,
                "simulated": manifest.simulated,
                "data_tests_passed": len(data_tests()),
                "path": dg.MetadataValue.path(home.published_file),
                "tables": dg.MetadataValue.table(
                    [dg.TableRecord({"table": name, "rows": count}) for name, count in manifest.rows.items()]
                ),
            }
        )

    return published_market


def mend_readers(published: Path) -> list[str]:
    """Let readers in where a killed or copied publication left them outside; a line for each thing mended."""
    from orchestration.publish.current import let_readers_in

    return let_readers_in(published)


def fill_lake(settings: Settings, lake: "Lake") -> int:
    """Fill an empty lake from the object store that the settings name; returns the number of files fetched."""
    from orchestration.publish.backups import take_over
    from orchestration.publish.object_store import ObjectStore

    return take_over(lake, ObjectStore.at(settings.store, settings.source), settings.paths.store_record)


def readers_table(published: Path, table: str, database: str) -> str:
    """What a query has to name to read a table of the version that readers see; `database` is where it is attached."""
    from orchestration.publish.manifest import table_sql

    return table_sql(published, table, database)
