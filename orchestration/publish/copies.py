"""The copies of the published version: what the code location, a refresh and the status ask of each.

A further one is its settings, a module that writes it, and an entry of `COPIES`. Each is a step of its own: a server
that is down withholds neither files nor flags nor brief; the run fails all the same, and the next refresh makes up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.asset_metadata import PUBLISH_GROUP, about
from orchestration.ingest.assets import BARS, FETCHES, REJECTED_BARS
from orchestration.instance.progress import ProgressReporter
from orchestration.market.errors import PublishError
from orchestration.publish.assets import PUBLISHED
from orchestration.publish.marts import marts
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.publish.manifest import PublishedManifest, SyncStatus


@dataclass(frozen=True)
class CopyStep:
    """One asset of a copy; `send` gives its metadata, and may warn. The description names settings in braces."""

    key: dg.AssetKey
    deps: Sequence[dg.AssetKey]
    kind: str
    document: str
    description: str
    task: str
    send: Callable[[Settings, Callable[[str], None]], dict[str, Any]]

    def build(self, settings: Settings) -> dg.AssetsDefinition:
        """The asset."""

        @dg.asset(
            key=self.key,
            deps=self.deps,
            group_name=PUBLISH_GROUP,
            kinds={self.kind},
            description=self.description.format(settings=settings),
            metadata=about(self.document, Path(__file__)),
        )
        def copied(
            context: dg.AssetExecutionContext,
            settings: dg.ResourceParam[Settings],
            progress: dg.ResourceParam[ProgressReporter],
            warehouse_lock: dg.ResourceParam[None],  # noqa: ARG001
        ) -> dg.MaterializeResult:
            progress(0, 0, self.task)
            return dg.MaterializeResult(metadata=self.send(settings, context.log.warning))

        return copied


@dataclass(frozen=True)
class Copy:
    """Where readers find the published version besides the files; `title` stands in front of a line."""

    name: str
    title: str
    is_wanted: Callable[[Settings], bool]
    sync_status: Callable[[Settings, "PublishedManifest"], "SyncStatus"]
    steps: tuple[CopyStep, ...]


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
    found = [(copy, copy.sync_status(settings, manifest)) for copy in copies(settings)]
    return [copy for copy, status in found if not status.is_current or status.has_more_to_send]


def _manifest(published: Path) -> tuple["PublishedManifest", dict[str, Any]]:
    """The manifest of the version to copy, and what the web UI shows of it."""
    from orchestration.publish.manifest import current_manifest

    manifest = current_manifest(published)
    if manifest is None:
        raise PublishError("nothing has been published yet; materialize published/market, or run orewatch refresh")
    names = ("version", "simulated", "content_hash")
    return manifest, {name: getattr(manifest, name) for name in names}


def _send_to_postgres(settings: Settings, warn: Callable[[str], None]) -> dict[str, Any]:
    from orchestration.publish.manifest import version_file
    from orchestration.publish.postgres import publish_to_postgres

    manifest, metadata = _manifest(settings.paths.published)
    url, schema, reader = settings.postgres_url, settings.postgres_readers_schema, settings.postgres_reader
    file = version_file(settings.paths.published, manifest.version)
    done = publish_to_postgres(url.get_secret_value(), schema, reader, file, manifest, marts())
    metadata["schema"] = schema
    metadata["reader"] = reader or "no role is granted anything: OREWATCH_POSTGRES_READER is not set"
    if not done.waited:
        metadata["overtaken"] = "readers that stayed in their transaction; they may see both versions in it"
        warn("readers stayed in their transaction; they may see both versions in it")
    if done.kept:
        metadata["old_schemas"] = "; ".join(done.kept)
        warn(f"old schemas could not be dropped: {metadata['old_schemas']}")
    return metadata


def _postgres_status(settings: Settings, manifest: "PublishedManifest") -> "SyncStatus":
    from orchestration.publish.postgres import sync_status

    return sync_status(settings.postgres_url.get_secret_value(), settings.postgres_readers_schema, manifest)


def _send_lake(settings: Settings, _: Callable[[str], None]) -> dict[str, Any]:
    from orchestration.ingest.lake import Lake
    from orchestration.publish.backups import store_lake
    from orchestration.publish.object_store import ObjectStore

    store = ObjectStore.at(settings.store, settings.source)
    sent = store_lake(Lake(settings.paths.lake), store, settings.paths.store_record)
    return {"address": store.address, "files_sent": sent}


def _send_version(settings: Settings, _: Callable[[str], None]) -> dict[str, Any]:
    from orchestration.publish.object_store import ObjectStore
    from orchestration.publish.stored_versions import store_version

    manifest, metadata = _manifest(settings.paths.published)
    store = ObjectStore.at(settings.store, settings.source)
    folder = store_version(settings.paths.published, manifest, store, settings.paths.store_record)
    return metadata | {"address": f"{store.address}/published/{folder}"}


def _store_status(settings: Settings, manifest: "PublishedManifest") -> "SyncStatus":
    from orchestration.publish.stored_versions import sync_status

    return sync_status(settings.store, settings.source, settings.paths, manifest)


_POSTGRES = CopyStep(
    key=dg.AssetKey(["published", "postgres"]),
    deps=(PUBLISHED,),
    kind="postgres",
    document="docs/bi.md#postgresql",
    description="The published version in PostgreSQL, schema {settings.postgres_readers_schema}; replaced as a whole in"
    " one transaction.",
    task="publishing to PostgreSQL",
    send=_send_to_postgres,
)
_LAKE = CopyStep(
    key=dg.AssetKey(["stored", "lake"]),
    deps=(BARS, REJECTED_BARS, FETCHES),
    kind="parquet",
    document="docs/object-store.md",
    description="Every file of the lake below {settings.store}, from which an empty home goes on.",
    task="sending the lake to the object store",
    send=_send_lake,
)
_VERSION = CopyStep(
    key=dg.AssetKey(["stored", "version"]),
    # The lake first: it shows whether this home keeps the store.
    deps=(PUBLISHED, _LAKE.key),
    kind="parquet",
    document="docs/object-store.md",
    description="The published version as Parquet files below {settings.store}; `current.json` says which one is"
    " current and is written last.",
    task="sending the version to the object store",
    send=_send_version,
)
COPIES = (
    Copy("PostgreSQL", "PostgreSQL", lambda s: bool(s.postgres_url.get_secret_value()), _postgres_status, (_POSTGRES,)),
    Copy("the object store", "Object store", lambda s: bool(s.store), _store_status, (_LAKE, _VERSION)),
)
# Steps that copy what readers of the files have already.
COPY_STEPS = {step.key.to_python_identifier() for copy in COPIES for step in copy.steps}
