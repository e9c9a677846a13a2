"""`orewatch as-of`: the tables as they would have been published at a past moment, in a folder of their own.

Known then: the versions of bars that had been observed, and the sessions that had closed. Instruments, levels and rules
are those of the seeds of today (or of OREWATCH_SEEDS), and the formulas are today's: a past alert is explained by what
the vendor changed since, not by what we changed. The manifest says so.
"""

import datetime as dt
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from orchestration.cli.rebuild import build_tables, inside
from orchestration.home import Home
from orchestration.ingest.lake import Lake
from orchestration.ingest.snapshot import first_observation, snapshot_lake
from orchestration.instance.progress import ProgressReporter, silent_progress
from orchestration.instance.scratch import scratch
from orchestration.market.errors import OrewatchError, PublishError
from orchestration.market.universe import Universe, load_universe
from orchestration.publish.content_hash import content_hash
from orchestration.publish.manifest import MANIFEST, PublishedManifest, write_manifest
from orchestration.publish.marts import marts
from orchestration.publish.tables import write_tables
from orchestration.resources import warehouse_lock
from orchestration.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AsOfManifest(PublishedManifest):
    """What such a folder says about itself; `version` is 0, for it is none that readers see.

    Attributes:
        as_of: the moment, UTC, ISO 8601.
        seeds: where instruments, levels and rules were read from: never what they were then.
        seeds_digest: of their content.
    """

    as_of: str
    seeds: str
    seeds_digest: str


def parse_moment(text: str) -> dt.datetime:
    """A moment as people type it, in UTC: a date means its end, a time without a zone is UTC.

    Raises:
        OrewatchError: it is none.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise OrewatchError(
            f"{text}: allowed: a moment as 2026-06-24T20:30, with a zone such as +02:00 or else UTC; or a date, which"
            " means its last moment in UTC"
        ) from None
    if len(text) <= len("2026-06-24"):
        moment = moment.replace(hour=23, minute=59, second=59, microsecond=999999)
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def default_folder(home: Home, moment: dt.datetime) -> Path:
    """Where the tables of a moment go when nobody says otherwise."""
    return home.root / "as_of" / f"{moment:%Y%m%dT%H%M%S}Z"


def build_as_of(
    settings: Settings, moment: dt.datetime, folder: Path, progress: ProgressReporter = silent_progress
) -> AsOfManifest:
    """Build the tables as known at `moment` into `folder`.

    The folder is new, empty, or made by an earlier call, then replaced.

    Raises:
        OrewatchError: the moment lies in the future or before everything that is stored; the folder is something else;
            a seed is wrong; or a model failed.
    """
    _require_free(folder, settings.paths)
    _require_known(settings.paths, moment)
    universe, digest = load_universe(settings.seeds, settings.currency), _digest(settings.seeds)
    with scratch(settings.paths.root) as work:
        copy = inside(settings, work)
        with warehouse_lock(settings.paths, lambda text: progress(0, 0, text)):
            lake, known = Lake(settings.paths.lake), _naive(moment)
            snapshot_lake(lake, copy.paths.lake, known_by=known, fetches_by=known)
        # The simulated market's clock stands still; its bars are stamped with the real one.
        _store_reference(copy.paths, settings.paths, universe, min(moment, settings.now()))
        warehouse = build_tables(copy, work, progress)
        progress(0, 0, "writing the tables")
        built = work.path / "version"
        built.mkdir()
        written = write_tables(warehouse, marts(), built, memory_gb=settings.memory_gb)
        manifest = AsOfManifest(
            version=0,
            fingerprint=hashlib.sha256(f"{moment.isoformat()}|{digest}".encode()).hexdigest()[:32],
            source=settings.source,
            simulated=settings.simulated,
            published_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            rows=written.rows,
            content_hash=content_hash(written.hashes),
            hashes=written.hashes,
            hashed_by=written.hashed_by,
            as_of=moment.isoformat(),
            seeds=str(settings.seeds),
            seeds_digest=digest,
        )
        write_manifest(manifest, built)
        _put(built, folder)
    return manifest


def _require_known(home: Home, moment: dt.datetime) -> None:
    """Refuse a moment at which nothing was known, or that has not come.

    Raises:
        OrewatchError: it is one.
    """
    if moment > dt.datetime.now(dt.UTC):
        raise OrewatchError(f"{_readable(moment)} lies in the future; allowed: a moment that has passed")
    first = first_observation(Lake(home.lake)) if home.lake.is_dir() else None
    if first is None or _naive(moment) < first:
        since = "nothing is stored yet" if first is None else f"the oldest bar was stored at {_readable(first)}"
        raise OrewatchError(f"nothing was known at {_readable(moment)}: {since}; allowed: a moment after that")


def _store_reference(copy: Home, home: Home, universe: Universe, then: dt.datetime) -> None:
    """Write seeds, and the sessions that had closed by then, as the models read them."""
    import pandas as pd

    from orchestration.ingest.reference import reference_tables, still_held, store_reference
    from orchestration.ingest.stored_sessions import read_stored_sessions, unlisted_sessions
    from orchestration.market.calendar import closed_sessions, closed_sessions_of

    calendars = {i.calendar for i in universe.instruments}
    closed = {name: pd.DatetimeIndex(closed_sessions(name, then)["session_date"]) for name in calendars}
    stored = read_stored_sessions(Lake(copy.lake), universe.symbols)
    sessions = closed_sessions_of(calendars, then, unlisted_sessions(stored, universe.instruments, closed))
    bases = Lake(copy.lake).price_bases()
    store_reference(copy.reference, reference_tables(universe, sessions, bases, still_held(home.reference, ())))


def _require_free(folder: Path, home: Home) -> None:
    """Refuse to write over anything that is not ours.

    Raises:
        OrewatchError: the folder holds something else.
    """
    if folder.is_relative_to(home.published):
        raise OrewatchError(f"--to {folder}: lies among the published versions; allowed: a folder somewhere else")
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_symlink() or not folder.is_dir():
        raise OrewatchError(f"--to {folder}: not a folder; allowed: a new name, or one of this command's")
    if any(folder.iterdir()) and not _is_ours(folder):
        raise OrewatchError(f"--to {folder}: holds other files; allowed: a new name, or one of this command's")


def _is_ours(folder: Path) -> bool:
    try:
        return "as_of" in json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return False


def _put(built: Path, folder: Path) -> None:
    """Move a finished folder to its place, in one rename once it is on the same file system."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        arriving = folder.with_name(f".{folder.name}.arriving")
        shutil.rmtree(arriving, ignore_errors=True)
        shutil.move(built, arriving)
        if folder.exists():
            shutil.rmtree(folder)
        arriving.rename(folder)
    except OSError as error:
        raise PublishError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _digest(seeds: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(seeds.glob("*.csv")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def _naive(moment: dt.datetime) -> dt.datetime:
    """UTC without a zone, as moments stand in the lake."""
    return moment.replace(tzinfo=None)


def _readable(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
