"""The copies of the published version: what the code location, a refresh and the status ask of each.

A further one is its settings, a module that writes it, and an entry of `COPIES`. Each is a step of its own: a server
that is down withholds neither files nor flags nor brief; the run fails all the same, and the next refresh makes up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.asset_metadata import OWNERS, links
from orchestration.home import Home
from orchestration.ingest.assets import BARS, FETCHES, REJECTED_BARS
from orchestration.instance.progress import ProgressReporter
from orchestration.market.errors import PublishError
from orchestration.publish.assets import PUBLISHED
from orchestration.publish.marts import marts
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.publish.manifest import PublishedManifest, SyncStatus

POSTGRES = dg.AssetKey(["published", "postgres"])
STORED_LAKE = dg.AssetKey(["stored", "lake"])
STORED_VERSION = dg.AssetKey(["stored", "version"])


def _postgres(settings: Settings) -> list[dg.AssetsDefinition]:
    @dg.asset(
        key=POSTGRES,
        deps=[PUBLISHED],
        kinds={"postgres"},
        description=f"{_label(settings)}The published version in PostgreSQL, schema"
        f" {settings.postgres_readers_schema}; replaced as a whole in one transaction.",
        **_shown(settings, "docs/bi.md#postgresql"),
    )
    def published_postgres(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        progress: dg.ResourceParam[ProgressReporter],
        warehouse_lock: dg.ResourceParam[None],  # noqa: ARG001
    ) -> dg.MaterializeResult:
        from orchestration.publish.manifest import version_file
        from orchestration.publish.postgres import publish_to_postgres

        progress(0, 0, "publishing to PostgreSQL")
        manifest = _manifest(settings.paths)
        schema, reader = settings.postgres_readers_schema, settings.postgres_reader
        file = version_file(settings.paths.published, manifest.version)
        done = publish_to_postgres(settings.postgres_url.get_secret_value(), schema, reader, file, manifest, marts())
        metadata = {
            **_facts(manifest),
            "schema": schema,
            "reader": reader or "no role is granted anything: OREWATCH_POSTGRES_READER is not set",
        }
        if not done.waited:
            context.log.warning("readers stayed in their transaction; they may see both versions in it")
            metadata["overtaken"] = "readers that stayed in their transaction; they may see both versions in it"
        if done.kept:
            context.log.warning(f"old schemas could not be dropped: {'; '.join(done.kept)}")
            metadata["old_schemas"] = "; ".join(done.kept)
        return dg.MaterializeResult(metadata=metadata)

    return [published_postgres]


def _postgres_status(settings: Settings, manifest: "PublishedManifest") -> "SyncStatus":
    from orchestration.publish.postgres import sync_status

    return sync_status(settings.postgres_url.get_secret_value(), settings.postgres_readers_schema, manifest)


def _object_store(settings: Settings) -> list[dg.AssetsDefinition]:
    shown = {"kinds": {"parquet"}, **_shown(settings, "docs/object-store.md")}

    @dg.asset(
        key=STORED_LAKE,
        deps=[BARS, REJECTED_BARS, FETCHES],
        description=f"{_label(settings)}Every file of the lake below {settings.store}, from which an empty home goes"
        " on.",
        **shown,
    )
    def stored_lake(
        settings: dg.ResourceParam[Settings],
        progress: dg.ResourceParam[ProgressReporter],
        warehouse_lock: dg.ResourceParam[None],  # noqa: ARG001
    ) -> dg.MaterializeResult:
        from orchestration.ingest.lake import Lake
        from orchestration.publish.backups import store_lake
        from orchestration.publish.object_store import ObjectStore

        progress(0, 0, "sending the lake to the object store")
        store = ObjectStore.at(settings.store, settings.source)
        sent = store_lake(Lake(settings.paths.lake), store, settings.paths.store_record)
        return dg.MaterializeResult(metadata={"address": store.address, "files_sent": sent})

    @dg.asset(
        key=STORED_VERSION,
        # The lake first: it shows whether this home keeps the store.
        deps=[PUBLISHED, STORED_LAKE],
        description=f"{_label(settings)}The published version as Parquet files below {settings.store}; `current.json`"
        " says which one is current and is written last.",
        **shown,
    )
    def stored_version(
        settings: dg.ResourceParam[Settings],
        progress: dg.ResourceParam[ProgressReporter],
        warehouse_lock: dg.ResourceParam[None],  # noqa: ARG001
    ) -> dg.MaterializeResult:
        from orchestration.publish.object_store import ObjectStore
        from orchestration.publish.stored_versions import store_version

        progress(0, 0, "sending the version to the object store")
        manifest = _manifest(settings.paths)
        store = ObjectStore.at(settings.store, settings.source)
        folder = store_version(settings.paths.published, manifest, store, settings.paths.store_record)
        return dg.MaterializeResult(metadata={**_facts(manifest), "address": f"{store.address}/published/{folder}"})

    return [stored_lake, stored_version]


def _object_store_status(settings: Settings, manifest: "PublishedManifest") -> "SyncStatus":
    from orchestration.publish.stored_versions import sync_status

    return sync_status(settings.store, settings.source, settings.paths, manifest)


@dataclass(frozen=True)
class Copy:
    """Where readers find the published version besides the files.

    Attributes:
        name: in a sentence.
        title: in front of a line.
        keys: of its assets.
        is_wanted: whether the settings name it.
        build: its assets.
        sync_status: what it has, against the published version.
    """

    name: str
    title: str
    keys: tuple[dg.AssetKey, ...]
    is_wanted: Callable[[Settings], bool]
    build: Callable[[Settings], list[dg.AssetsDefinition]]
    sync_status: Callable[[Settings, "PublishedManifest"], "SyncStatus"]


COPIES = (
    Copy(
        name="PostgreSQL",
        title="PostgreSQL",
        keys=(POSTGRES,),
        is_wanted=lambda settings: bool(settings.postgres_url.get_secret_value()),
        build=_postgres,
        sync_status=_postgres_status,
    ),
    Copy(
        name="the object store",
        title="Object store",
        keys=(STORED_LAKE, STORED_VERSION),
        is_wanted=lambda settings: bool(settings.store),
        build=_object_store,
        sync_status=_object_store_status,
    ),
)
# Steps that copy what readers of the files have already.
COPY_STEPS = {key.to_python_identifier() for copy in COPIES for key in copy.keys}


def copies(settings: Settings) -> list[Copy]:
    """Those that the settings name."""
    return [copy for copy in COPIES if copy.is_wanted(settings)]


def copies_behind(settings: Settings) -> list[Copy]:
    """Those that are not what readers of the files see.

    A place that cannot be asked is behind: the step says what is wrong, in a run that everybody sees.
    """
    from orchestration.publish.manifest import current_manifest

    manifest = current_manifest(settings.paths.published)
    if manifest is None:
        return []
    found = {copy: copy.sync_status(settings, manifest) for copy in copies(settings)}
    return [copy for copy, status in found.items() if not status.is_current or status.has_more_to_send]


def _label(settings: Settings) -> str:
    return "SIMULATED prices. " if settings.simulated else ""


def _shown(settings: Settings, document: str) -> dict[str, Any]:
    return {
        "group_name": "publish",
        "owners": OWNERS,
        "tags": {"source": settings.source},
        "metadata": links(document, Path(__file__)),
    }


def _manifest(home: Home) -> "PublishedManifest":
    from orchestration.publish.manifest import current_manifest

    manifest = current_manifest(home.published)
    if manifest is None:
        raise PublishError("nothing has been published yet; materialize published/market, or run orewatch refresh")
    return manifest


def _facts(manifest: "PublishedManifest") -> dict[str, Any]:
    return {
        "version": manifest.version,
        "simulated": manifest.simulated,
        "content_hash": manifest.content_hash,
    }
