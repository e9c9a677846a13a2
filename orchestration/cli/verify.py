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
from orchestration.home import Home
from orchestration.ingest.lake import Lake
from orchestration.ingest.snapshot import snapshot_lake
from orchestration.instance.progress import ProgressReporter, silent_progress
from orchestration.instance.scratch import scratch
from orchestration.market.errors import OrewatchError
from orchestration.publish.manifest import PublishedManifest, current_manifest
from orchestration.publish.marts import mart_grains
from orchestration.publish.versions import copy_version
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

    Raises:
        OrewatchError: nothing is published; what is published was made from something else than what is here now; or
            the rebuild failed.
    """
    grains = mart_grains()
    with scratch(settings.paths.root) as folder:
        copy = inside(settings, folder)
        with warehouse_lock(settings.paths, lambda text: progress(0, 0, text)):
            manifest = _freeze(settings.paths, copy.paths)
        progress(0, 0, "rebuilding every table")
        rebuilt = build_tables(copy, folder, progress, with_tests=True)

        def done(number: int, table: TableComparison) -> None:
            progress(number, len(grains), f"compared {table.table}")
            compared(table)

        tolerance = BETWEEN_ENGINES if settings.engine == "spark" else TOLERANCE
        tables = compare(copy.paths.published_file, rebuilt, grains, tolerance=tolerance, done=done)
        return Verification(manifest.version, tuple(tables))


def _freeze(home: Home, copy: Home) -> PublishedManifest:
    """Link the published version and what it was made from into another home.

    Raises:
        OrewatchError: there is none, or it was made from something else.
    """
    manifest = current_manifest(home.published)
    if manifest is None:
        raise OrewatchError("nothing has been published yet, so there is nothing to verify; run: orewatch refresh")
    lake = Lake(home.lake)
    here = fingerprint(lake, home.reference, DBT_PROJECT_DIR)
    if manifest.fingerprint != here:
        raise OrewatchError(_why_not_comparable(home, manifest, here))
    copy_version(home.published, manifest, copy.published_file.parent)
    copy.reference.mkdir(parents=True)
    for path in home.reference.glob("*.parquet"):
        link(path, copy.reference / path.name)
    # A refresh that found nothing new has logged its requests and built nothing: the version knows none of them.
    (last_fetch,) = rows(copy.published_file, LAST_FETCH)
    snapshot_lake(lake, copy.lake, known_by=None, fetches_by=last_fetch["moment"])
    return manifest


def _why_not_comparable(home: Home, manifest: PublishedManifest, here: str) -> str:
    state = BuildState.load(home.build_state)
    if state.built is None or state.built.fingerprint != here:
        reason = "was made from an older lake, other seeds or other models than are here now"
        remedy = "run: orewatch refresh"
    elif state.audited == here:
        reason = "is older than the tables in the warehouse, which passed the data checks and were not published"
        remedy = "run: orewatch refresh"
    else:
        reason = "is older than the tables in the warehouse, which the data checks did not let pass"
        remedy = "run: orewatch refresh, and see which check stops it"
    return (
        f"published version {manifest.version} of {manifest.published_at} {reason}, so a rebuild would differ for a"
        f" good reason (made from {manifest.fingerprint}, here now {here}); {remedy}"
    )
