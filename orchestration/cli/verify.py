"""`orewatch verify`: whether the published tables are what a full rebuild from the lake gives.

Everything that the published version was made from is linked into a scratch folder within a moment, under the refresh
lock; the rebuild and the comparison need nobody's permission and disturb nobody. See docs/decisions/0013.
"""

from collections.abc import Callable
from dataclasses import dataclass

from orchestration.cli.compare import BETWEEN_ENGINES, TOLERANCE, TableComparison, compare
from orchestration.cli.rebuild import build_tables, inside
from orchestration.duckdb_io import rows
from orchestration.files import link
from orchestration.ingest.lake import Lake
from orchestration.ingest.snapshot import snapshot_lake
from orchestration.instance.progress import ProgressReporter, silent_progress
from orchestration.instance.scratch import scratch
from orchestration.market.errors import OrewatchError
from orchestration.publish.marts import mart_grains
from orchestration.publish.versions import PublishedManifest, copy_version, current_manifest
from orchestration.resources import warehouse_lock
from orchestration.settings import DBT_PROJECT_DIR, Settings
from orchestration.transform.build_state import BuildState
from orchestration.transform.fingerprint import fingerprint

LAST_FETCH = "select max(last_fetch_at) as moment from data_coverage"


@dataclass(frozen=True)
class Verification:
    """A published version beside its rebuild.

    Attributes:
        version: the published version.
        tables: what was found, table by table; `left` is what readers see, `right` the rebuild.
    """

    version: int
    tables: tuple[TableComparison, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return all(table.equal for table in self.tables)


def verify(
    settings: Settings,
    progress: ProgressReporter = silent_progress,
    compared: Callable[[TableComparison], None] = lambda _: None,
) -> Verification:
    """Rebuild everything that the published version was made from, and compare.

    Args:
        settings: which source, and where it lives.
        progress: told how far it is.
        compared: told what was found in each table.

    Raises:
        OrewatchError: nothing is published; what is published was made from something else than what is here now; or
            the rebuild failed.
    """
    grains = mart_grains()
    with scratch(settings.paths.root) as folder:
        copy = inside(settings, folder)
        with warehouse_lock(settings, lambda text: progress(0, 0, text)):
            manifest = _freeze(settings, copy)
        progress(0, 0, "rebuilding every table")
        rebuilt = build_tables(copy, folder, progress)

        def done(number: int, table: TableComparison) -> None:
            progress(number, len(grains), f"compared {table.table}")
            compared(table)

        tolerance = BETWEEN_ENGINES if settings.engine == "spark" else TOLERANCE
        tables = compare(copy.paths.published_file, rebuilt, grains, tolerance=tolerance, done=done)
        return Verification(manifest.version, tuple(tables))


def _freeze(settings: Settings, copy: Settings) -> PublishedManifest:
    """Link the published version and what it was made from into another home.

    Raises:
        OrewatchError: there is none, or it was made from something else.
    """
    manifest = current_manifest(settings.paths.published)
    if manifest is None:
        raise OrewatchError("nothing has been published yet, so there is nothing to verify; run: orewatch refresh")
    lake = Lake(settings.paths.lake)
    here = fingerprint(lake, settings.paths.reference, DBT_PROJECT_DIR)
    if manifest.fingerprint != here:
        raise OrewatchError(_why_not_comparable(settings, manifest, here))
    copy_version(settings.paths.published, manifest, copy.paths.published_file.parent)
    copy.paths.reference.mkdir(parents=True)
    for path in settings.paths.reference.glob("*.parquet"):
        link(path, copy.paths.reference / path.name)
    # A refresh that found nothing new has logged its requests and built nothing: the version knows none of them.
    (last_fetch,) = rows(copy.paths.published_file, LAST_FETCH)
    snapshot_lake(lake, copy.paths.lake, known_by=None, fetches_by=last_fetch["moment"])
    return manifest


def _why_not_comparable(settings: Settings, manifest: PublishedManifest, here: str) -> str:
    state = BuildState.load(settings.paths.build_state)
    if state.built is None or state.built.fingerprint != here:
        reason = "was made from an older lake, other seeds or other models than are here now"
        advice = "run: orewatch refresh"
    elif state.audited == here:
        reason = "is older than the tables in the warehouse, which passed the data checks and were not published"
        advice = "run: orewatch refresh"
    else:
        reason = "is older than the tables in the warehouse, which the data checks did not let pass"
        advice = "run: orewatch refresh, and see which check stops it"
    return (
        f"published version {manifest.version} of {manifest.published_at} {reason}, so a rebuild would differ for a"
        f" good reason (made from {manifest.fingerprint}, here now {here}); {advice}"
    )
