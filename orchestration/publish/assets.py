"""The assets that readers see: the published version of the marts, and its copies in PostgreSQL and an object store."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.asset_metadata import OWNERS, links, tag_run
from orchestration.ingest.assets import BARS, FETCHES, REJECTED_BARS
from orchestration.market.errors import PublishError
from orchestration.publish.gate import may_publish
from orchestration.publish.marts import mart_names, marts
from orchestration.settings import Settings
from orchestration.transform.manifest import data_tests

if TYPE_CHECKING:
    from orchestration.ingest.lake import Lake
    from orchestration.publish.versions import PublishedManifest

PUBLISHED = dg.AssetKey(["published", "market"])
POSTGRES = dg.AssetKey(["published", "postgres"])
STORED_LAKE = dg.AssetKey(["stored", "lake"])
STORED_VERSION = dg.AssetKey(["stored", "version"])


def build_publish(settings: Settings) -> dg.AssetsDefinition:
    """The publication step: after every data check, one atomic flip."""
    simulated = "SIMULATED prices. " if settings.simulated else ""

    @dg.asset(
        key=PUBLISHED,
        deps=[dg.AssetKey(name) for name in mart_names()],
        group_name="publish",
        kinds={"duckdb", "parquet"},
        owners=OWNERS,
        tags={"source": settings.source},
        description=f"{simulated}Read-only copy of the marts for BI, replaced as a whole after the audit has passed.",
        metadata=links("docs/bi.md#the-tables", Path(__file__)),
        required_resource_keys={"settings", "warehouse_lock", "progress"},
    )
    def published_market(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from orchestration.duckdb_io import latest_session
        from orchestration.publish.versions import publish

        current: Settings = context.resources.settings
        context.resources.progress(0, 0, "publishing")
        manifest = publish(
            current.paths.warehouse,
            marts(),
            current.paths.published,
            may_publish(current.paths),
            current.source,
            current.simulated,
            build_state=current.paths.build_state,
            memory_gb=current.memory_gb,
            versions_kept=current.keep_versions,
        )
        latest = latest_session(current.paths.warehouse)
        tag_run(context, current, version=manifest.version, latest_session=latest)
        return dg.MaterializeResult(
            metadata={
                "version": manifest.version,
                "latest_session": latest,
                "content_hash": manifest.content_hash,
                "simulated": manifest.simulated,
                "data_tests_passed": len(data_tests()),
                "path": dg.MetadataValue.path(current.paths.published_file),
                "tables": dg.MetadataValue.table(
                    [dg.TableRecord({"table": name, "rows": count}) for name, count in manifest.rows.items()]
                ),
            }
        )

    return published_market


def build_postgres(settings: Settings) -> dg.AssetsDefinition:
    """The copy of the published version in PostgreSQL, in a step of its own.

    A database that is down must not withhold the files, the flags and the brief; the run fails all the same, and the
    next refresh publishes to PostgreSQL alone.
    """
    simulated = "SIMULATED prices. " if settings.simulated else ""

    @dg.asset(
        key=POSTGRES,
        deps=[PUBLISHED],
        group_name="publish",
        kinds={"postgres"},
        owners=OWNERS,
        tags={"source": settings.source},
        description=f"{simulated}The published version in PostgreSQL, schema {settings.postgres_readers_schema};"
        " replaced as a whole in one transaction.",
        metadata=links("docs/bi.md#postgresql", Path(__file__)),
        required_resource_keys={"settings", "warehouse_lock", "progress"},
    )
    def published_postgres(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from orchestration.publish.postgres import publish_to_postgres
        from orchestration.publish.versions import version_file

        current: Settings = context.resources.settings
        context.resources.progress(0, 0, "publishing to PostgreSQL")
        manifest = _published_manifest(current)
        done = publish_to_postgres(
            current.postgres_url.get_secret_value(),
            current.postgres_readers_schema,
            current.postgres_reader,
            version_file(current.paths.published, manifest.version),
            manifest,
            marts(),
        )
        metadata: dict[str, Any] = {
            "version": manifest.version,
            "simulated": manifest.simulated,
            "content_hash": manifest.content_hash,
            "schema": current.postgres_readers_schema,
            "reader": current.postgres_reader or "no role is granted anything: OREWATCH_POSTGRES_READER is not set",
        }
        if not done.waited:
            context.log.warning("readers stayed in their transaction; they may see both versions in it")
            metadata["overtaken"] = "readers that stayed in their transaction; they may see both versions in it"
        if done.kept:
            context.log.warning(f"old schemas could not be dropped: {'; '.join(done.kept)}")
            metadata["old_schemas"] = "; ".join(done.kept)
        return dg.MaterializeResult(metadata=metadata)

    return published_postgres


def build_object_store(settings: Settings) -> list[dg.AssetsDefinition]:
    """The copies of the lake and of the published version in an object store, each in a step of its own.

    As with PostgreSQL, a store that cannot be reached withholds nothing, and the next refresh makes up for it.
    """
    shown: dict[str, Any] = {
        "kinds": {"parquet"},
        "owners": OWNERS,
        "tags": {"source": settings.source},
        "metadata": links("docs/object-store.md", Path(__file__)),
        "required_resource_keys": {"settings", "warehouse_lock", "progress"},
        "group_name": "publish",
    }
    simulated = "SIMULATED prices. " if settings.simulated else ""

    @dg.asset(
        key=STORED_LAKE,
        deps=[BARS, REJECTED_BARS, FETCHES],
        description=f"{simulated}Every file of the lake below {settings.store}, from which an empty home goes on.",
        **shown,
    )
    def stored_lake(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from orchestration.ingest.lake import Lake
        from orchestration.publish.backups import store_lake
        from orchestration.publish.object_store import ObjectStore

        current: Settings = context.resources.settings
        context.resources.progress(0, 0, "sending the lake to the object store")
        store = ObjectStore.at(current.store, current.source)
        sent = store_lake(Lake(current.paths.lake), store, current.paths.store_record)
        return dg.MaterializeResult(metadata={"address": store.address, "files_sent": sent})

    @dg.asset(
        key=STORED_VERSION,
        # The lake first: it shows whether this home keeps the store.
        deps=[PUBLISHED, STORED_LAKE],
        description=f"{simulated}The published version as Parquet files below {settings.store}; `current.json` says"
        " which one is current and is written last.",
        **shown,
    )
    def stored_version(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from orchestration.publish.object_store import ObjectStore
        from orchestration.publish.stored_versions import store_version

        current: Settings = context.resources.settings
        context.resources.progress(0, 0, "sending the version to the object store")
        manifest = _published_manifest(current)
        store = ObjectStore.at(current.store, current.source)
        folder = store_version(current.paths.published, manifest, store, current.paths.store_record)
        return dg.MaterializeResult(
            metadata={
                "version": manifest.version,
                "simulated": manifest.simulated,
                "content_hash": manifest.content_hash,
                "address": f"{store.address}/published/{folder}",
            }
        )

    return [stored_lake, stored_version]


def _published_manifest(settings: Settings) -> "PublishedManifest":
    from orchestration.publish.versions import current_manifest

    manifest = current_manifest(settings.paths.published)
    if manifest is None:
        raise PublishError("nothing has been published yet; materialize published/market, or run orewatch refresh")
    return manifest


def mend_readers(published: Path) -> list[str]:
    """Let readers in where a killed or copied publication left them outside; a line for each thing mended."""
    from orchestration.publish.versions import let_readers_in

    return let_readers_in(published)


def fill_lake(settings: Settings, lake: "Lake") -> int:
    """Fill an empty lake from the object store that the settings name; returns the number of files fetched."""
    from orchestration.publish.backups import take_over
    from orchestration.publish.object_store import ObjectStore

    return take_over(lake, ObjectStore.at(settings.store, settings.source), settings.paths.store_record)


def readers_table(published: Path, table: str, database: str) -> str:
    """What a query has to name to read a table of the version that readers see; `database` is where it is attached."""
    from orchestration.publish.versions import table_sql

    return table_sql(published, table, database)
