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
from typing import Any

from orchestration.cli.rebuild import build_tables, inside
from orchestration.duckdb_io import rows
from orchestration.ingest.snapshot import first_observation, snapshot_lake
from orchestration.instance.progress import ProgressReporter, silent_progress
from orchestration.instance.scratch import scratch
from orchestration.market.errors import OrewatchError, PublishError
from orchestration.publish.content_hash import content_hash
from orchestration.publish.manifest import DATABASE, MANIFEST, PublishedManifest, readable_manifest, write_manifest
from orchestration.publish.marts import marts
from orchestration.publish.tables import write_tables
from orchestration.resources import warehouse_lock
from orchestration.settings import Settings

# What explains a past alert, then and now.
EVENT = "select * from level_events where event_id = ?"
EVENTS_OF_SESSION = "select * from level_events where symbol = ? and session_date = ? order by level_id, event"
MOVE = "select * from large_moves where symbol = ? and session_date = ?"
BAR = """
    select open, high, low, close, close_as_traded, volume, dividend, split_ratio, bar_quality, observed_at
    from daily_bars where symbol = ? and session_date = ?
"""
RETURN = "select return_1d from returns where symbol = ? and session_date = ?"
CHANGES = """
    select session_date, field, old_value, new_value, reason, corrected_by, changed_at
    from price_revisions
    where symbol = $symbol and session_date <= $session and changed_at > $moment and reason <> 'rebased'
    order by session_date desc, changed_at, field
"""


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


@dataclass(frozen=True)
class Then:
    """One fact as it was known then beside how it stands now.

    Attributes:
        what: the fact in words.
        then, now: its row; None where there is none.
    """

    what: str
    then: dict[str, Any] | None
    now: dict[str, Any] | None

    @property
    def changed(self) -> tuple[str, ...]:
        """Columns whose values are not the same."""
        if self.then is None or self.now is None:
            return ()
        now = self.now
        return tuple(name for name, value in self.then.items() if value != now.get(name) and name != "observed_at")


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


def default_folder(settings: Settings, moment: dt.datetime) -> Path:
    """Where the tables of a moment go when nobody says otherwise."""
    return settings.paths.root / "as_of" / f"{moment:%Y%m%dT%H%M%S}Z"


def build_as_of(
    settings: Settings, moment: dt.datetime, folder: Path, progress: ProgressReporter = silent_progress
) -> AsOfManifest:
    """Build the tables as known at `moment` into `folder`.

    Args:
        settings: which source, and where it lives.
        moment: UTC.
        folder: new, empty, or made by an earlier call, then replaced.
        progress: told how far it is.

    Raises:
        OrewatchError: the moment lies in the future or before everything that is stored; the folder is something else;
            a seed is wrong; or a model failed.
    """
    import pandas as pd

    from orchestration.ingest.lake import Lake
    from orchestration.ingest.reference import reference_tables, still_held, store_reference
    from orchestration.ingest.stored_sessions import read_stored_sessions, unlisted_sessions
    from orchestration.market.calendar import closed_sessions, closed_sessions_of
    from orchestration.market.universe import load_universe

    _require_free(folder, settings)
    lake = Lake(settings.paths.lake)
    known = moment.replace(tzinfo=None)
    if moment > dt.datetime.now(dt.UTC):
        raise OrewatchError(f"{_readable(moment)} lies in the future; allowed: a moment that has passed")
    first = first_observation(lake) if settings.paths.lake.is_dir() else None
    if first is None or known < first:
        since = "nothing is stored yet" if first is None else f"the oldest bar was stored at {_readable(first)}"
        raise OrewatchError(f"nothing was known at {_readable(moment)}: {since}; allowed: a moment after that")
    universe = load_universe(settings.seeds)
    # The simulated market's clock stands still; its bars are stamped with the real one.
    calendars, then = {i.calendar for i in universe.instruments}, min(moment, settings.now())
    with scratch(settings.paths.root) as work:
        copy = inside(settings, work)
        with warehouse_lock(settings, lambda text: progress(0, 0, text)):
            snapshot_lake(lake, copy.paths.lake, known_by=known, fetches_by=known)
        closed = {name: pd.DatetimeIndex(closed_sessions(name, then)["session_date"]) for name in calendars}
        stored = read_stored_sessions(Lake(copy.paths.lake), universe.symbols)
        sessions = closed_sessions_of(calendars, then, unlisted_sessions(stored, universe.instruments, closed))
        bases = Lake(copy.paths.lake).price_bases()
        store_reference(
            copy.paths.reference, reference_tables(universe, sessions, bases, still_held(settings.paths.reference, ()))
        )
        warehouse = build_tables(copy, work, progress)
        progress(0, 0, "writing the tables")
        built = work.path / "version"
        built.mkdir()
        digest = _digest(settings.seeds)
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


def explain_event(settings: Settings, folder: Path, event_id: str) -> list[Then]:
    """A level event then and now, and what it was made from.

    Raises:
        OrewatchError: there was none of that id then and there is none now.
    """
    then, now = (_first(file, EVENT, event_id) for file in _files(settings, folder))
    found = then or now
    if found is None:
        raise OrewatchError(
            f"event {event_id}: neither the tables of then nor those of now have it; allowed: an event_id of"
            " level_events, or --symbol and --date"
        )
    what = f"{found['event'].replace('_', ' ')} {found['direction']} of {found['level_id']}"
    facts = [Then(f"level event {what}", then, now)]
    return facts + _facts_of_session(settings, folder, found["symbol"], found["session_date"])


def explain_session(settings: Settings, folder: Path, symbol: str, session: dt.date) -> list[Then]:
    """The bar, the return, the large move and every level event of a session, then and now.

    Raises:
        OrewatchError: neither side has a bar of that session.
    """
    facts = _facts_of_session(settings, folder, symbol, session)
    if all(fact.then is None and fact.now is None for fact in facts):
        raise OrewatchError(f"{symbol} {session}: no bar, then or now; allowed: a session of an instrument")
    files = _files(settings, folder)
    then, now = ({row["event_id"]: row for row in _rows(file, EVENTS_OF_SESSION, symbol, session)} for file in files)
    for event_id in [*then, *(id_ for id_ in now if id_ not in then)]:
        row = then.get(event_id) or now[event_id]
        what = f"level event {row['event'].replace('_', ' ')} {row['direction']} of {row['level_id']}"
        facts.append(Then(what, then.get(event_id), now.get(event_id)))
    return facts


def changes_since(settings: Settings, moment: dt.datetime, symbol: str, session: dt.date) -> list[dict[str, Any]]:
    """What the vendor has changed since then in the bars up to a session, newest session first; no re-basing."""
    return rows(
        settings.paths.published_file,
        CHANGES,
        {"symbol": symbol, "session": session, "moment": moment.replace(tzinfo=None)},
    )


def _facts_of_session(settings: Settings, folder: Path, symbol: str, session: dt.date) -> list[Then]:
    then, now = _files(settings, folder)
    asked = (("bar", BAR), ("return", RETURN), ("large move", MOVE))
    facts = [
        Then(f"{what} of {symbol} {session}", _first(then, sql, symbol, session), _first(now, sql, symbol, session))
        for what, sql in asked
    ]
    return [fact for fact in facts if fact.then is not None or fact.now is not None]


def _files(settings: Settings, folder: Path) -> tuple[Path, Path]:
    if readable_manifest(settings.paths.published) is None:
        raise OrewatchError("nothing has been published yet, so there is no now to compare with; run: orewatch refresh")
    return folder / DATABASE, settings.paths.published_file


def _first(file: Path, sql: str, *parameters: Any) -> dict[str, Any] | None:
    return next(iter(_rows(file, sql, *parameters)), None)


def _rows(file: Path, sql: str, *parameters: Any) -> list[dict[str, Any]]:
    return rows(file, sql, list(parameters))


def _require_free(folder: Path, settings: Settings) -> None:
    """Refuse to write over anything that is not ours.

    Raises:
        OrewatchError: the folder holds something else.
    """
    if folder.is_relative_to(settings.paths.published):
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


def _readable(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
